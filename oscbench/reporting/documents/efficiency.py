"""Whether KoPE learns faster, from less data, or with fewer parameters."""

from __future__ import annotations

from oscbench.analysis.frame import Loaded
from oscbench.reporting.documents import Document
from oscbench.reporting.documents.support.standings import page

_SUITES = ("training_efficiency_digits", "data_efficiency", "data_efficiency_epochs", "parameter_efficiency")
_PAIRS = ("kope:default,softmax:kope-flops", "kope:default,rope:learned")
_WORDS = """Each suite varies one number and compares, seed by seed, the mean over its values: KoPE with softmax at as many FLOPs, and with
RoPE that has the same learned positions.
"""


def document(loaded: Loaded) -> Document:
    """Four suites on digits."""
    return page("efficiency", "Does KoPE learn from less?", _WORDS, loaded, _SUITES, _PAIRS)

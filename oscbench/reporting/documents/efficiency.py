"""Whether KoPE learns faster, from less data, or with fewer parameters."""

from __future__ import annotations

from oscbench.analysis.frame import Loaded
from oscbench.reporting.documents import Document
from oscbench.reporting.documents.support.standings import page

RANK = 120
_SUITES = ("training_efficiency_digits", "data_efficiency", "data_efficiency_epochs", "parameter_efficiency")
_PAIRS = ("kope:default,softmax:kope-flops", "kope:default,rope:learned", "kope:default,rope:values")
_WORDS = """Each suite varies one number (steps, share of the data, width) and compares, seed by seed, the mean over its values, of which a
large difference at the smallest may make the most; tables by value show it. One learning rate for all, searched for nobody. "softmax at
equal FLOPs" has a wider MLP until it spends as many FLOPs as KoPE; it has no rotary positions. "RoPE (learned)" has KoPE's learned
positions beside rotary ones, and "RoPE (values)", where a suite has it, rotates values as KoPE does too.
"""


def document(loaded: Loaded) -> Document:
    """Four suites on digits."""
    return page("efficiency", "Does KoPE learn from less?", _WORDS, loaded, _SUITES, _PAIRS)

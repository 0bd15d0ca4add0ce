"""Subject-verb agreement: accuracy, and how often seeds fail."""

from __future__ import annotations

from oscbench.analysis.frame import Loaded
from oscbench.reporting.documents import Document
from oscbench.reporting.documents.support.standings import page
from oscbench.reporting.documents.support.suites import FAILS

RANK = 80
_SUITES = ("agreement", "agreement_standard")


def document(loaded: Loaded) -> Document:
    """The fixed-query paper's own ground."""
    level = f"{100 * FAILS['agreement'].level:g} %"
    words = (
        f"Does the verb agree with its subject? A seed fails that is right in under {level} of the hard sentences. That no seed of\n"
        "an entry fails here does not show that none would: at other seeds, some of fixed query's and softmax's do ([F2](claims.md#f2),\n"
        "[anchors](anchors.md)). Where some fail, a mean mixes two kinds of runs, and its interval says little.\n"
    )
    return page("agreement", "Does fixed-query attention learn agreement?", words, loaded, _SUITES)

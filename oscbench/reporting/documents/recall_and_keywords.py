"""Associative recall and spoken words."""

from __future__ import annotations

from oscbench.analysis.frame import Loaded
from oscbench.reporting.documents import Document
from oscbench.reporting.documents.support.standings import page
from oscbench.reporting.documents.support.suites import FAILS

RANK = 70
_SUITES = ("recall", "keywords", "keywords_long")


def document(loaded: Loaded) -> Document:
    """What was paired with what, and which word was spoken."""
    level = f"{100 * FAILS['recall'].level:g} %"
    words = (
        "Recall of values by their keys, and words spoken by voices that were not heard in training. A seed of recall fails that is right\n"
        f"in under {level} of the values: where some do, a mean is of two kinds of runs, and its interval says little.\n"
    )
    return page("recall_and_keywords", "Who recalls, and who hears words?", words, loaded, _SUITES)

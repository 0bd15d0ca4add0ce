"""Associative recall and spoken words."""

from __future__ import annotations

from oscbench.analysis.frame import Loaded
from oscbench.reporting.documents import Document
from oscbench.reporting.documents._standings import page, report_of

_SUITES = ("recall", "keywords")


def document(loaded: Loaded) -> Document:
    """What was paired with what, and which word was spoken."""
    words = "Recall of values by their keys, and words spoken by voices that were not heard in training.\n"
    report = report_of(loaded, _SUITES)
    return page("recall_and_keywords", "Who recalls, and who hears words?", words, report)

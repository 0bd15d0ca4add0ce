"""Subject-verb agreement: accuracy, and how often seeds fail."""

from __future__ import annotations

from oscbench.analysis.frame import Loaded
from oscbench.analysis.statistics.failures import Threshold
from oscbench.reporting.documents import Document
from oscbench.reporting.documents._standings import page, report_of

_PUBLISHED = Threshold("accuracy_hard", 0.85)
"""arXiv 2606.12059 calls a seed failed below 85 % of the hard sentences."""


def document(loaded: Loaded) -> Document:
    """The fixed-query paper's own ground."""
    words = "Does the verb agree with its subject? A seed fails that is right in under 85 % of the hard sentences.\n"
    report = report_of(loaded, ("agreement", "agreement_standard"))
    return page(
        "agreement", "Does fixed-query attention learn agreement?", words, report, threshold=_PUBLISHED
    )

"""Language models on bytes of text."""

from __future__ import annotations

from oscbench.analysis.frame import Loaded
from oscbench.reporting.documents import Document
from oscbench.reporting.documents._standings import page, report_of

_SUITES = ("language_small", "tuned_text", "language_long")


def document(loaded: Loaded) -> Document:
    """Small decoders, few steps."""
    words = (
        "Bits a byte of Python source, lower is better; after so few steps an order may still change. Positions decide much of it: each\n"
        "mechanism with every kind of them is on [its own page](positions.md).\n"
    )
    return page(
        "text",
        "Which mechanism models text best?",
        words,
        report_of(loaded, _SUITES),
    )

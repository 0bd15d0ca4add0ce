"""Language models on bytes of text."""

from __future__ import annotations

from oscbench.analysis.frame import Loaded
from oscbench.reporting.documents import Document
from oscbench.reporting.documents._standings import page

_SUITES = ("language_small", "tuned_text", "language_long")


def document(loaded: Loaded) -> Document:
    """Small decoders, few steps."""
    words = (
        "Bits/character of Python source, whose bytes are the characters here; lower is better, and after so few steps an order may still\n"
        "change. Positions decide much of it: each mechanism with every kind of them is on [its own page](positions.md).\n"
    )
    return page("text", "Which mechanism models text best?", words, loaded, _SUITES)

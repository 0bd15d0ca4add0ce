"""Language models on bytes and on words of text."""

from __future__ import annotations

from oscbench.analysis.frame import Loaded
from oscbench.reporting.documents import Document
from oscbench.reporting.documents.support.standings import page

_SUITES = ("language_small", "tuned_text", "language_long", "dimension")


def document(loaded: Loaded) -> Document:
    """Small decoders, few steps."""
    words = (
        "Bits/character of Python source, whose bytes are the characters here, and perplexity of words; lower is better, and after so few\n"
        "steps an order may still change. Positions decide much of it: each mechanism with every kind of them is on\n"
        "[its own page](positions.md).\n"
    )
    return page("text", "Which mechanism models text best?", words, loaded, _SUITES)

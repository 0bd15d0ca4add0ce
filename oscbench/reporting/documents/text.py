"""Language models on bytes and on words of text."""

from __future__ import annotations

from oscbench.analysis.frame import Loaded
from oscbench.reporting.documents import Document
from oscbench.reporting.documents.support.standings import page
from oscbench.reporting.documents.support.suites import report_of
from oscbench.reporting.documents.support.tables import (
    flops_row,
    gains_table,
    measured,
    measured_pairs,
    positions_row,
    scores_table,
)

RANK = 60
_SUITES = ("tuned_text", "language_small", "language_context", "language_long", "dimension")
_LONGER = {f"bits_per_character_at_{times}x": f"{times} × the training length" for times in (1, 2, 4)}
_CONTEXTS = """
## In contexts longer than those of training

The suite's `length` measure: all bytes of windows of once, twice and four times the training length, nothing trained further. Learned
positions reach no farther than they were trained. Means with 95 % t intervals over seeds, each for itself, and differences paired by seed,
of which the first row's were declared and are tested above, the others neither. The row at four times the length made us ask again,
declared and at fresh seeds, of entries that tell places by angles alone: `language_context`, whose floors are scored in such contexts too;
there all are behind an n-gram model.
"""


def document(loaded: Loaded) -> Document:
    """Small decoders, few steps."""
    words = (
        "Bits/character of Python source and of tinyshakespeare, a character being one byte, and perplexity of words; lower is better.\n"
        "The n-gram model counts the whole training text, of which a decoder of 600 steps sees an eighth for Python source: an entry\n"
        "behind it has shown nothing that counting does not know; verdicts are withheld.\n"
        "One untuned learning rate for all but `language_long` and `tuned_text` (run for RoPE and KoPE only);\n"
        "after so few steps an order may still change. Positions decide much of it: each mechanism with every kind of them is on\n"
        "[its own page](positions.md).\n"
    )
    made = page("text", "Which mechanism models text best?", words, loaded, _SUITES)
    return Document(made.text + _longer_contexts(loaded), made.pictures)


def _longer_contexts(loaded: Loaded) -> str:
    """What each mechanism whose positions reach so far has in longer contexts, and the compared pairs; empty without records."""
    report = report_of(loaded, ("language_small",))
    if report is None:
        return ""
    (experiment,) = report.experiments
    reaching = [standing for standing in experiment.standings if measured(standing, _LONGER)]
    shown = scores_table("Context", reaching, _LONGER, [positions_row(reaching), flops_row(reaching)])
    gains = gains_table("Context", measured_pairs(experiment, reaching), _LONGER)
    return f"{_CONTEXTS}\n{shown}\n\n{gains}\n"

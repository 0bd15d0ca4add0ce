"""Who binds words to places: captions against the same with their digits exchanged, retrieval, and pairs that training never showed."""

from __future__ import annotations

from oscbench import words
from oscbench.analysis.experiment import Experiment, Standing
from oscbench.analysis.frame import Loaded, value_of
from oscbench.reporting.documents import Document
from oscbench.reporting.documents._measures import gains_table, measured, positions_row, scores_table
from oscbench.reporting.documents._standings import comparisons_table, report_of

_HEAD = """# Who binds words to places?

Two digits in an image, one relation in a caption ("a three above a seven"); an image tower with the mechanism and a softmax text tower, the
same for all, are trained to find one another's partner. Between a caption and the same with its digits exchanged only a model can choose
that binds digits to their places. Means with 95 % t intervals over seeds, each for itself; a verdict is that of the sign-flip test after
Holm's correction, or of two one-sided tests where it says equivalent. Made from the [reference records](../../results/reference) by
`python -m oscbench.reporting.documents`; no number is typed. Claims on it stand in [claims](claims.md#k8).
"""
_ACCURACY = "accuracy"
_NAMES = {
    "": "Its caption, or the same with its digits exchanged (chance 50 %)",
    "_held_out_pairs": "The same, of two digits that training never showed together",
    "_text_alone": "The same, of no image at all (must be 50 %)",
    "_top_1": "Its caption among all 180 meanings",
    "_top_1_held_out_pairs": "The same, of two digits never together",
    "_pair": "Its two digits, in any places, among all meanings",
    "_pair_held_out_pairs": "The same, of two digits never together",
    "_axis": "Side by side, or one above the other",
    "_text_to_image": "A caption's image among 180",
    "_single_digits": "An image of one digit, which training never showed",
}
MEASURES = {f"{_ACCURACY}{ending}": told for ending, told in _NAMES.items()}


def document(loaded: Loaded) -> Document:
    """What each mechanism has of every measure, what the suite compares, and the compared pairs in every measure."""
    report = report_of(loaded, ("captions",))
    if report is None:
        return Document(_HEAD + "\nIts suite has no records here yet.\n")
    return Document(_HEAD + "".join(_of(experiment) for experiment in report.experiments))


def _of(experiment: Experiment) -> str:
    entries = [standing for standing in experiment.standings if measured(standing, MEASURES)]
    known = {standing.entry: standing for standing in entries}
    pairs = [
        (known[c.pair.treatment], known[c.pair.baseline])
        for c in experiment.comparisons
        if c.pair.treatment in known and c.pair.baseline in known
    ]
    worst = (
        "Caption or exchanged digits: its worst seed",
        *(_worst(one, experiment.unit) for one in entries),
    )
    return (
        f"\n## {experiment.title}\n\n{experiment.description.strip()}\n\n{comparisons_table(experiment.comparisons)}\n\n"
        f"What each answers rightly:\n\n{scores_table('Asked', entries, MEASURES, [positions_row(entries), worst])}\n\n"
        f"Differences, paired by seed, none but the first row tested:\n\n{gains_table('Asked', pairs, MEASURES)}\n"
    )


def _worst(standing: Standing, unit: str) -> str:
    return words.quantity(min(value_of(record, _ACCURACY) for record in standing.finished), unit)

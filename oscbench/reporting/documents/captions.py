"""Who binds words to places: captions against the same with their digits exchanged, retrieval, and pairs that training never showed."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import correlation

from oscbench import words
from oscbench.analysis.choices import is_untrained
from oscbench.analysis.experiment import Experiment, Standing
from oscbench.analysis.floors import is_floor
from oscbench.analysis.frame import Loaded, value_of
from oscbench.analysis.statistics.failures import Threshold, failures
from oscbench.reporting.documents import Document
from oscbench.reporting.documents.support.standings import comparisons_table, in_short, under_title
from oscbench.reporting.documents.support.suites import VERDICTS, description_of, nothing_of, report_of
from oscbench.reporting.documents.support.tables import (
    flags_row,
    flags_told,
    flops_row,
    gains_table,
    measured,
    measured_pairs,
    positions_row,
    scores_table,
)

RANK = 50
_HEAD = f"""# Captions: who binds words to places?

Two digits in an image, one relation in a caption ("a three above a seven"); an image tower with the mechanism and a softmax text tower, the
same for all, are trained to find one another's partner. Between a caption and the same with its digits exchanged only a model can choose
that binds digits to their places. These records have one learning rate for all, searched for nobody; the suite searches it since, and has
not run again, so that how much of a difference is the rate is not known. Seeds may stay near chance: then a mean mixes two
kinds of runs and its interval says little, so a row counts them. After so few steps a result shows when a seed left chance more than how
well it binds in the end: a row correlates result and that time over seeds. Means with 95 % t intervals over seeds, each for itself;
{VERDICTS}
Made from the [reference records](../../results/reference) by `python -m oscbench.reporting.documents`; no number is typed. Claims on it
stand in [claims](claims.md#k8).
"""
_SUITES = ("captions",)
_NEAR = 0.1
"""So near chance a seed has learned to choose nothing; no threshold was declared before the suite ran."""
_PASSED, _FEWEST = 0.75, 3
"""A level between choosing nothing and binding, and so many different steps or results as a correlation takes."""
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
    report = report_of(loaded, _SUITES)
    if report is None:
        return Document(f"{_HEAD}\n{nothing_of(loaded, _SUITES)}")
    asked = [(question.title, question.comparisons) for question in report.questions]
    return Document(
        under_title(_HEAD, in_short(asked)) + "".join(_of(experiment) for experiment in report.experiments)
    )


def _of(experiment: Experiment) -> str:
    entries = [standing for standing in experiment.standings if measured(standing, MEASURES)]
    pairs = measured_pairs(experiment, entries)
    worst = (
        "Caption or exchanged digits: its worst seed",
        *(_worst(one, experiment.unit) for one in entries),
    )
    described = description_of(experiment.suite, experiment.description)
    above: list[Sequence[str]] = [
        positions_row(entries),
        flops_row(entries),
        *flags_row(entries),
        worst,
        [
            f"The same: correlation with the step at which validation passed {100 * _PASSED:g} % (the last one where it never did)",
            *map(_by_passing, entries),
        ],
        *_near_chance(experiment, entries),
    ]
    return (
        f"\n## {experiment.title}\n\n{described}\n\n{comparisons_table(experiment.comparisons)}\n\n"
        f"What each answers rightly:\n\n{scores_table('Asked', entries, MEASURES, above)}{flags_told(entries)}\n\n"
        f"Differences, paired by seed, none but the first row tested:\n\n{gains_table('Asked', pairs, MEASURES)}\n"
    )


def _worst(standing: Standing, unit: str) -> str:
    return words.quantity(min(value_of(record, _ACCURACY) for record in standing.finished), unit)


def _by_passing(standing: Standing) -> str:
    """Correlation over seeds of a result and the step at which validation first passed a level, the last step where it never did."""
    name = f"validation_{_ACCURACY}"
    curves = [record.curves[name] for record in standing.finished if name in record.curves]
    if len(curves) < len(standing.finished):
        return ""
    passed = [
        next((x for x, y in zip(curve.x, curve.y, strict=True) if y >= _PASSED), curve.x[-1])
        for curve in curves
    ]
    results = [value_of(record, _ACCURACY) for record in standing.finished]
    if len(set(passed)) < _FEWEST or len(set(results)) < _FEWEST:
        return words.MISSING
    return words.signed(f"{correlation(passed, results):+.2f}")


def _near_chance(experiment: Experiment, entries: Sequence[Standing]) -> list[list[str]]:
    """A row that counts seeds near the floor of chance, as it ran here; none where it did not."""
    floor = next((s for s in experiment.standings if s.summary and s.entry.mechanism == "chance"), None)
    if floor is None or floor.summary is None or not is_untrained(floor.cells[0]):
        return []
    threshold = Threshold(_ACCURACY, floor.summary.mean + _NEAR)
    told = [f"Caption or exchanged digits: seeds within {100 * _NEAR:g} points of chance"]
    for one in entries:
        found = None if is_floor(one.cells[0]) else failures(one.cells, threshold)
        told.append(f"{len(found.seeds)} of {found.n}" if found else "")
    return [told]

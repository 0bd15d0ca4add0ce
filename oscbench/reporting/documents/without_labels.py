"""What is learned without labels: objects that nobody named, and features by nearest neighbours and a linear probe."""

from __future__ import annotations

from oscbench import words
from oscbench.analysis.experiment import Experiment, Standing
from oscbench.analysis.floors import is_floor
from oscbench.analysis.frame import Loaded
from oscbench.reporting.documents import Document
from oscbench.reporting.documents.support.bound import bound
from oscbench.reporting.documents.support.forest import forest
from oscbench.reporting.documents.support.reached import reached, rows_of
from oscbench.reporting.documents.support.searches import search_of
from oscbench.reporting.documents.support.standings import (
    in_short,
    under_title,
)
from oscbench.reporting.documents.support.suites import (
    VERDICTS,
    few_told,
    nothing_of,
    report_of,
)
from oscbench.reporting.sections.binding import phases_told
from oscbench.reporting.sections.discovery import SCORES

RANK = 45
_HEAD = f"""# Without labels: who finds objects, and whose features are better?

Models see two views of each image and no label: AKOrN is published for objects that such training finds (arXiv 2410.13821), KoPE for
features that are better after it (arXiv 2604.07904). Both train for far longer; these are short runs, and what a floor has without any
training stands beside them. Means with 95 % t intervals over seeds, each for itself; {VERDICTS}
Made from the [reference records](../../results/reference) by `python -m oscbench.reporting.documents`; no number is typed. Claims on it
stand in [claims](claims.md#k12), AKOrN's [there too](claims.md#a1).
"""
_SUITES = ("object_discovery", "self_supervised", "self_supervised_digits")
_MEASURES = {
    name: label if label.startswith("k-") else words.capitalised(label) for name, label in SCORES.items()
}


def document(loaded: Loaded) -> Document:
    """Whether anybody passes the floors, what each suite compares, and what each mechanism reaches in every score."""
    report = report_of(loaded, _SUITES)
    if report is None:
        return Document(f"{_HEAD}\n{nothing_of(loaded, _SUITES)}")
    asked = [(question.title, question.comparisons) for question in report.questions]
    more = [told for e in report.experiments if (told := _against_floors(e))]
    more += [
        f"{e.title}, beside what the suite compares: {sentence}"
        for e in report.experiments
        for sentence in phases_told(e)
    ]
    rows = rows_of(report)
    shown, files = (
        forest("without_labels", "Differences in FG-ARI or k-NN accuracy", rows) if rows else ("", {})
    )
    parts = [_of(experiment, loaded) for experiment in report.experiments]
    head = under_title(_HEAD, in_short(asked, more))
    return Document(f"{head}\n{shown}{''.join(parts)}{few_told(loaded, _SUITES)}", files)


def _against_floors(experiment: Experiment) -> str:
    """The highest mean of those that were trained, and the highest of floors; empty where there are not both."""
    told = [s for s in experiment.standings if s.summary]
    floors, trained = ([s for s in told if is_floor(s.cells[0]) == floor] for floor in (True, False))
    if not floors or not trained:
        return ""
    best, floor = (max(some, key=_mean) for some in (trained, floors))
    best_told, floor_told = (f"{s.name} {words.quantity(_mean(s), experiment.unit)}" for s in (best, floor))
    return f"{experiment.title}, {words.lowered(experiment.metric_label)}: at best {best_told}; of what attends to nothing, {floor_told}"


def _mean(standing: Standing) -> float:
    return standing.summary.mean if standing.summary else float("-inf")


def _of(experiment: Experiment, loaded: Loaded) -> str:
    return f"{reached(experiment, _MEASURES)}{bound(experiment)}{search_of(experiment, loaded)}"

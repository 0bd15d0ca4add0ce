"""Whether phases come together and attention concentrates while a model trains, and which of the two comes first."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib
import pandas as pd
from scipy.stats import gmean

from oscbench import words
from oscbench.analysis.dynamics import CONCENTRATION, SYNCHRONY, dynamics, half_ways
from oscbench.analysis.experiment import Experiment
from oscbench.analysis.frame import Loaded
from oscbench.analysis.statistics.seeds import mean_interval
from oscbench.reporting.documents import Document, picture, table
from oscbench.reporting.documents.support.standings import (
    comparisons_table,
    flops,
    in_short,
    mean,
    under_title,
)
from oscbench.reporting.documents.support.suites import description_of, few_told, nothing_of, report_of
from oscbench.reporting.documents.support.tables import flags, flags_told
from oscbench.reporting.page.dynamics import QUANTITIES, draw_dynamics
from oscbench.reporting.page.figure import finish
from oscbench.reporting.page.style import look_of, settings

RANK = 30
_HEAD = """# Do phases come together, and does attention concentrate with them?

While models train: order of all phases (1 where all agree); order of the patches' phases, each weighted by how much CLS attends to it,
which KoPE's paper follows as synchrony (arXiv 2604.07904, figure 6); and concentration (Gini) of what CLS gives the patches. Weighted so,
order is 1 where one patch takes all attention, whatever the phases: it rises with concentration alone. That is why phases that never move
are followed as well. Tables have means over layers, where [K10](claims.md#k10) asks of the last. Means with 95 % t intervals over seeds,
each for itself; all seeds are tested on the same images (10,000 of CIFAR-10, 500 scans), whose choice no interval covers. The tests stand in
[claims](claims.md#k10). Made from the [reference records](../../results/reference) by `python -m
oscbench.reporting.documents`; no number is typed.

Which comes first: the step at which a quantity had gone half way from its start to its farthest value from there, geometric means
over seeds; and how much later synchrony got there than concentration, in doublings of the step, paired by seed (above 0: concentration
first). Between measurements a quantity is taken as linear in the step's logarithm.
"""
_SUITES = ("concentration", "concentration_digits")
_TITLE = "Order, synchrony and concentration over training"


def document(loaded: Loaded) -> Document:
    """Suite by suite its scores, the courses as a picture, where they began and ended, and which went half of its way first."""
    report = report_of(loaded, _SUITES)
    if report is None:
        return Document(f"{_HEAD}\n{nothing_of(loaded, _SUITES)}")
    parts: list[str] = []
    files: dict[str, str] = {}
    asked = [(question.title, question.comparisons) for question in report.questions]
    more = [told(one) for told in (_phases_told, _order_told) for one in report.experiments]
    head = under_title(_HEAD, in_short(asked, more))
    for experiment in report.experiments:
        text, drawn = _part(experiment)
        parts.append(text)
        files |= drawn
    return Document(f"{head}{''.join(parts)}{few_told(loaded, _SUITES)}", files)


def _order_told(experiment: Experiment) -> str:
    """Whether concentration or synchrony went half of its way first: means over layers, paired by seed."""
    later = half_ways(_followed(experiment))["later"].groupby(["entry", "seed"]).mean().dropna()
    told = []
    for s in experiment.standings:
        if str(s.entry) in later.index.get_level_values("entry"):
            own = later[str(s.entry)]
            first = "concentration" if own.mean() > 0 else "synchrony"
            told.append(f"{s.name}: {first}, synchrony later by {_told(own)} doublings of the step")
    return f"{experiment.title}, which is half of its way first (not declared beforehand), means over layers: {'; '.join(told)}"


def _phases_told(experiment: Experiment) -> str:
    """Whether phases come together: order of all of them before and after training, mean over layers."""
    seen = _followed(experiment)
    told = []
    for s in experiment.standings:
        start, end = _from_to(seen, "order_parameter", str(s.entry))
        if len(start):
            told.append(f"{s.name} from {start.mean():.3f} to {end.mean():.3f} ({_told(end - start)})")
    asked = "order of all phases before and after training (not declared beforehand), means over layers"
    return f"{experiment.title}, {asked}: {'; '.join(told)}"


def _followed(experiment: Experiment) -> pd.DataFrame:
    """What was looked at while it trained, of the quantities that this page shows."""
    seen = dynamics(record for standing in experiment.standings for record in standing.finished)
    return seen[seen["quantity"].isin(QUANTITIES)]


def _part(experiment: Experiment) -> tuple[str, dict[str, str]]:
    seen = _followed(experiment)
    names = {str(s.entry): s.name for s in experiment.standings}
    steps = ", ".join(f"{step:g}" for step in sorted(seen["step"].unique()))
    told = f"{experiment.title}: {words.lowered(_TITLE)}, by layer; numbers in the tables below"
    shown, files = picture(experiment.suite, _drawn(experiment, seen, names), told)
    described = description_of(experiment.suite, experiment.description)
    return (
        f"\n## {experiment.title}\n\n{described}\n\n{shown}\n{_scores(experiment)}\n"
        f"\n### From the start to the end\n\nMeans over layers.\n\n{_ends(seen, names)}\n"
        f"\n### Which comes first?\n\nLooked at steps {steps}.\n\n{_first(seen, names)}\n"
    ), files


def _scores(experiment: Experiment) -> str:
    """Means of entries, and what the suite compares."""
    told = [s for s in experiment.standings if s.summary]
    flagged = any(s.flags for s in told)
    headings = ["Mechanism", *(["Flags"] if flagged else [])]
    headings += [f"{experiment.metric_label}, mean ± 95 %", "Seeds", "Forward FLOPs"]
    rows = [
        [
            s.name,
            *([flags(s)] if flagged else []),
            mean(s, experiment.unit),
            str(len(s.finished)),
            flops(s),
        ]
        for s in told
    ]
    scores = table(headings, rows, numbers=3) + flags_told(told)
    return f"{scores}\n\n{comparisons_table(experiment.comparisons)}"


def _drawn(experiment: Experiment, seen: pd.DataFrame, names: Mapping[str, str]) -> str:
    with matplotlib.rc_context(settings()):
        looks = {str(s.entry): (names[str(s.entry)], look_of(s.entry)) for s in experiment.standings}
        shown = [quantity for quantity in QUANTITIES if (seen["quantity"] == quantity).any()]
        followed = {entry: look for entry, look in looks.items() if (seen["entry"] == entry).any()}
        figure = draw_dynamics(seen, followed, shown)
        return finish(figure, experiment.suite, "dynamics", _TITLE, _TITLE).svg


def _ends(seen: pd.DataFrame, names: Mapping[str, str]) -> str:
    """A row a quantity and entry: its mean over layers at the start and at the end, and the change."""
    rows = []
    for quantity, label in QUANTITIES.items():
        for entry, name in names.items():
            start, end = _from_to(seen, quantity, entry)
            if len(start):
                rows.append((label, name, f"{start.mean():.3f}", f"{end.mean():.3f}", _told(end - start)))
    return table(("Quantity", "Mechanism", "Start", "End", "Change"), rows, numbers=3)


def _from_to(seen: pd.DataFrame, quantity: str, entry: str) -> tuple[pd.Series, pd.Series]:
    """A quantity of an entry before training and after it, mean over layers, by seed; empty where it was not followed."""
    courses = (
        seen[(seen["quantity"] == quantity) & (seen["entry"] == entry)]
        .groupby(["seed", "step"])["value"]
        .mean()
    )
    return courses.groupby("seed").first(), courses.groupby("seed").last()


def _first(seen: pd.DataFrame, names: Mapping[str, str]) -> str:
    """A row an entry and layer: steps to half of the way of concentration and of synchrony, and how far apart they are."""
    rows = []
    steps = half_ways(seen)
    for entry, name in names.items():
        for layer in sorted(seen.loc[seen["entry"] == entry, "layer"].unique()):
            found = steps.loc[(entry, layer)]
            later = found["later"].dropna()
            told = _told(later) if len(later) else words.MISSING
            rows.append(
                (
                    name,
                    str(layer + 1),
                    _step(found[CONCENTRATION]),
                    _step(found[SYNCHRONY]),
                    told,
                    str(len(later)),
                )
            )
    headings = (
        "Mechanism",
        "Layer",
        "Concentration: step",
        "Synchrony: step",
        "Synchrony later by",
        "Seeds",
    )
    return table(headings, rows, numbers=4)


def _step(steps: pd.Series) -> str:
    known = steps.dropna()
    return f"{gmean(known):.0f}" if len(known) else words.MISSING


def _told(values: pd.Series) -> str:
    ends = mean_interval(values.to_list())
    return words.estimate(float(values.mean()), ends.low, ends.high, "1")

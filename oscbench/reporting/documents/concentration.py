"""Whether phases come together and attention concentrates while a model trains, and which of the two comes first."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib
import numpy as np
import pandas as pd

from oscbench import words
from oscbench.analysis.dynamics import dynamics, half_ways
from oscbench.analysis.experiment import Experiment
from oscbench.analysis.frame import Loaded
from oscbench.analysis.statistics.seeds import mean_interval
from oscbench.reporting.documents import Document, table
from oscbench.reporting.documents._standings import comparisons_table, flops, mean, report_of
from oscbench.reporting.page.dynamics import QUANTITIES, draw_dynamics
from oscbench.reporting.page.figure import finish
from oscbench.reporting.page.style import darkened, look_of, settings

_HEAD = """# Do phases come together, and does attention concentrate with them?

While models train: order of all phases (1 where all agree); order of the patches' phases, each weighted by how much CLS attends to it,
which KoPE's paper follows as synchrony (arXiv 2604.07904, figure 6); and concentration (Gini) of what CLS gives the patches. Weighted so,
order is 1 where one patch takes all attention, whatever the phases: it rises with concentration alone. That is why phases that never move
are followed as well. Means with 95 % t intervals over seeds, each for itself; the tests stand in [claims](claims.md#k10). Made from the
[reference records](../../results/reference) by `python -m oscbench.reporting.documents`; no number is typed.
"""
_NAME = "concentration"
_LED, _FOLLOWED = "gini", "weighted_synchrony"
_TITLE = "Order, synchrony and concentration over training"


def document(loaded: Loaded) -> Document:
    """Scores, the courses as a picture, where they began and ended, and which went half of its way first."""
    report = report_of(loaded, (_NAME,))
    if report is None:
        return Document(_HEAD + "\nIts suite has no records here yet.\n")
    (experiment,) = report.experiments
    seen = dynamics(record for standing in experiment.standings for record in standing.finished)
    seen = seen[seen["quantity"].isin(QUANTITIES)]
    names = {str(s.entry): s.name for s in experiment.standings}
    svg = _picture(experiment, seen, names)
    parts = [
        _HEAD,
        f'\n<picture><source media="(prefers-color-scheme: dark)" srcset="{_NAME}-dark.svg">'
        f'<img src="{_NAME}-light.svg" alt="{_TITLE}, by layer; numbers in the tables below"></picture>\n',
        f"\n## {experiment.title}\n\n{experiment.description.strip()}\n\n{_scores(experiment)}\n",
        f"\n## From the start to the end\n\nMeans over layers.\n\n{_ends(seen, names)}\n",
        f"\n## Which comes first?\n\n{_FIRST}\n\n{_first(seen, names)}\n",
    ]
    return Document("".join(parts), {f"{_NAME}-light.svg": svg, f"{_NAME}-dark.svg": darkened(svg)})


_FIRST = """The step at which a quantity had gone half of its way, from its start to where it was farthest from it, geometric means over
seeds; and how much later synchrony was there than concentration, in doublings of the step, paired by seed: above 0 where concentration is
first. Between two looks, 0.8 doublings apart at most where it matters, a quantity is taken to move evenly with the step's logarithm."""


def _scores(experiment: Experiment) -> str:
    """Means of entries, and what the suite compares."""
    headings = ("Mechanism", f"{experiment.metric_label}, mean ± 95 %", "Seeds", "Forward FLOPs")
    rows = [
        (s.label, mean(s, experiment.unit), str(s.summary.n), flops(s))
        for s in experiment.standings
        if s.summary
    ]
    scores = table(headings, rows, numbers=3)
    return f"{scores}\n\n{comparisons_table(experiment.comparisons)}"


def _picture(experiment: Experiment, seen: pd.DataFrame, names: Mapping[str, str]) -> str:
    with matplotlib.rc_context(settings()):
        looks = {str(s.entry): (names[str(s.entry)], look_of(s.entry)) for s in experiment.standings}
        shown = [quantity for quantity in QUANTITIES if (seen["quantity"] == quantity).any()]
        followed = {entry: look for entry, look in looks.items() if (seen["entry"] == entry).any()}
        return finish(draw_dynamics(seen, followed, shown), _NAME, "dynamics", _TITLE, _TITLE).svg


def _ends(seen: pd.DataFrame, names: Mapping[str, str]) -> str:
    """A row a quantity and entry: its mean over layers at the start and at the end, and the change."""
    rows = []
    for quantity, label in QUANTITIES.items():
        for entry, name in names.items():
            own = seen[(seen["quantity"] == quantity) & (seen["entry"] == entry)]
            if own.empty:
                continue
            courses = own.pivot_table(index="seed", columns="step", values="value")
            start, end = courses.iloc[:, 0], courses.iloc[:, -1]
            rows.append((label, name, f"{start.mean():.3f}", f"{end.mean():.3f}", _told(end - start)))
    return table(("Quantity", "Mechanism", "Start", "End", "Change"), rows, numbers=3)


def _first(seen: pd.DataFrame, names: Mapping[str, str]) -> str:
    """A row an entry and layer: steps to half of the way of concentration and of synchrony, and how far apart they are."""
    rows = []
    steps = half_ways(seen).reindex(columns=[_FOLLOWED, _LED])
    for entry, name in names.items():
        for layer in sorted(seen.loc[seen["entry"] == entry, "layer"].unique()):
            found = steps.loc[(entry, layer)]
            later = (np.log2(found[_FOLLOWED]) - np.log2(found[_LED])).dropna()
            told = _told(later) if len(later) else words.MISSING
            rows.append(
                (name, str(layer + 1), _step(found[_LED]), _step(found[_FOLLOWED]), told, str(len(found)))
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
    return f"{np.exp2(np.log2(steps).mean()):.0f}" if steps.notna().any() else words.MISSING


def _told(values: pd.Series) -> str:
    ends = mean_interval(values.to_list())
    return f"{words.difference(float(values.mean()), '1')} {words.interval(ends.low, ends.high, '1')}"

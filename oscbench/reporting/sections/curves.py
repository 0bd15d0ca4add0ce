"""Figures of a section, each small enough to be read on a phone.

Drawn without pyplot, so that nothing global is left open.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import matplotlib
import numpy as np
from matplotlib.collections import LineCollection

from oscbench import words
from oscbench.analysis.experiment import Experiment, health_means
from oscbench.analysis.pareto import fronts
from oscbench.reporting.page.figure import (
    Floats,
    Picture,
    Plan,
    axis_label,
    canvas,
    finish,
    legend,
    scaled,
)
from oscbench.reporting.page.style import Look, settings
from oscbench.reporting.page.svg import hint
from oscbench.reporting.sections.health import health_picture
from oscbench.reporting.sections.pareto import cost_picture
from oscbench.reporting.sections.seeds import differences_picture, seeds_picture

_POINTS = 120
_MAX_THIN_LINES = 240


def plans(experiment: Experiment, looks: Mapping[str, Look]) -> list[Plan]:
    """All figures that a section has the data for, in the order of the page."""
    if not any(standing.summary for standing in experiment.standings):
        return []
    found = [Plan(0, partial(seeds_picture, experiment, looks))]
    if any(comparison.paired for comparison in experiment.comparisons):
        found.append(Plan(1, partial(differences_picture, experiment, looks)))
    names = sorted({name for s in experiment.standings for r in s.finished for name in r.curves})
    # The curve of the headline metric's kind tells most: it comes first, and is the last to be left out.
    names.sort(key=lambda name: experiment.metric not in name)
    found += [
        Plan(2 if experiment.metric in name else 5, partial(curve_picture, experiment, looks, name))
        for name in names
    ]
    found += [
        Plan(4, partial(cost_picture, experiment, looks, front))
        for front in fronts(experiment)
        if front.measure
    ]
    quantities = sorted({quantity for quantity, *_ in health_means(experiment)})
    return found + [Plan(6, partial(health_picture, experiment, quantity)) for quantity in quantities]


def thin(x: Sequence[float], y: Sequence[float]) -> tuple[Floats, Floats]:
    """At most 120 points of a curve, each the mean of a block of neighbours.

    Non-finite points are dropped.
    """
    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    keep = np.isfinite(a) & np.isfinite(b)
    a, b = a[keep], b[keep]
    if len(a) <= _POINTS:
        return a, b
    edges = np.linspace(0, len(a), _POINTS + 1).astype(int)
    sizes = np.diff(edges)
    return np.add.reduceat(a, edges[:-1]) / sizes, np.add.reduceat(b, edges[:-1]) / sizes


def curve_picture(experiment: Experiment, looks: Mapping[str, Look], name: str) -> Picture:
    """One curve through training: the mean over seeds, each seed thin behind it."""
    with matplotlib.rc_context(settings()):
        figure, axes = canvas(3.1)
        first = next(r.curves[name] for s in experiment.standings for r in s.finished if name in r.curves)
        label = words.capitalised(first.label)
        ends, lowest, highest = [], math.inf, -math.inf
        seeds = max(1, _MAX_THIN_LINES // max(len(experiment.standings), 1))
        for standing in sorted(experiment.standings, key=lambda s: s.name):
            lines = [thin(r.curves[name].x, r.curves[name].y) for r in standing.finished if name in r.curves]
            lines = [(x, scaled(y, first.unit)) for x, y in lines if len(x)]
            if not lines:
                continue
            look = looks[standing.name]
            thin_lines = [np.column_stack(line) for line in lines[:seeds]]
            style: dict[str, Any] = {"linewidth": 0.5, "alpha": 0.28, "rasterized": len(lines) > 20}
            axes.add_collection(LineCollection(thin_lines, color=look.colour, **style))
            lowest = min(lowest, *(line[:, 1].min() for line in thin_lines))
            highest = max(highest, *(line[:, 1].max() for line in thin_lines))
            x, y = mean_curve(lines)
            every = max(1, len(x) // 5)
            (line,) = axes.plot(
                x,
                y,
                color=look.colour,
                linewidth=1.7,
                label=standing.name,
                marker=look.marker,
                markersize=4,
                markevery=every,
            )
            marked = zip(x[::every], y[::every] / scaled(1, first.unit), strict=True)
            hint(
                line,
                standing.name,
                (
                    f"{standing.name} at {first.x_label} {a:,.6g}: {words.quantity(b, first.unit)}"
                    for a, b in marked
                ),
            )
            ends.append(
                f"{standing.name} ends at {words.quantity(y[-1] / scaled(1, first.unit), first.unit)}"
            )
        if first.unit != "fraction" and lowest > 0 and highest / lowest > 30:
            axes.set_yscale("log")
        axes.set_xlabel(first.x_label.capitalize())
        axes.set_title(axis_label(label, first.unit))
        legend(figure, axes)
        alt = f"Lines: {label} against {first.x_label}, mean over seeds. {'; '.join(ends)}."
        return finish(figure, experiment.slug, f"curve-{name}", label, alt)


def mean_curve(
    lines: Sequence[tuple[Floats, Floats]],
) -> tuple[Floats, Floats]:
    """Mean over seeds on the longest seed's grid, only as far as every seed goes."""
    end = min(x[-1] for x, _ in lines)
    start = max(x[0] for x, _ in lines)
    longest = max((x for x, _ in lines), key=len)
    grid = longest[(longest >= start) & (longest <= end)]
    if not len(grid):
        grid = np.array([end])
    return grid, np.mean([np.interp(grid, x, y) for x, y in lines], axis=0)

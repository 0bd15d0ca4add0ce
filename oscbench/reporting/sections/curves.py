"""Figures of a section, each small enough to be read on a phone.

Drawn without pyplot, so that nothing global is left open.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from oscbench import words
from oscbench.analysis.experiment import Experiment, Standing
from oscbench.analysis.study import Study
from oscbench.records import Curve
from oscbench.reporting.page.blocks import SUITE, Block, per_experiment
from oscbench.reporting.page.figure import (
    Floats,
    Picture,
    Plan,
    axis_label,
    canvas,
    finish,
    name_ends,
    scaled,
)
from oscbench.reporting.page.style import look_of, settings
from oscbench.reporting.page.svg import hint

_POINTS = 120
_MAX_THIN_LINES = 240


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


def curve_picture(experiment: Experiment, name: str) -> Picture:
    """One curve through training: the mean over seeds, each seed thin behind it."""
    with matplotlib.rc_context(settings()):
        figure, axes = canvas(3.1)
        first = next(r.curves[name] for s in experiment.standings for r in s.finished if name in r.curves)
        label = words.capitalised(first.label)
        seeds = max(1, _MAX_THIN_LINES // max(len(experiment.standings), 1))
        found = [
            _drawn(axes, s, name, first, seeds) for s in sorted(experiment.standings, key=lambda s: s.name)
        ]
        ends = [end for end in found if end is not None]
        lowest, highest = min(end.lowest for end in ends), max(end.highest for end in ends)
        if first.unit != "fraction" and lowest > 0 and highest / lowest > 30:
            axes.set_yscale("log")
        axes.autoscale_view()
        name_ends(figure, axes, [(end.last, end.name, end.colour) for end in ends])
        axes.set_xlabel("Training steps" if first.x_label == "step" else first.x_label.capitalize())
        axes.set_title(axis_label(label, first.unit) + _finding(ends, first))
        told = "; ".join(f"{end.name} ends at {_shown(end.last, first.unit)}" for end in ends)
        alt = f"Lines: {label} against {first.x_label}, mean over seeds. {told}."
        return finish(figure, experiment.slug, f"curve-{name}", label, alt)


@dataclass(frozen=True)
class _End:
    """Where one entry's curve ends, as drawn, and how far its seeds reach."""

    name: str
    colour: str
    last: float
    lowest: float
    highest: float


def _drawn(axes: Axes, standing: Standing, name: str, curve: Curve, seeds: int) -> _End | None:
    """Draw the curves of one entry; None where no cell has any."""
    lines = [thin(r.curves[name].x, r.curves[name].y) for r in standing.finished if name in r.curves]
    lines = [(x, scaled(y, curve.unit)) for x, y in lines if len(x)]
    if not lines:
        return None
    look = look_of(standing.entry)
    thin_lines = [np.column_stack(line) for line in lines[:seeds]]
    style: dict[str, Any] = {"linewidth": 0.5, "alpha": 0.28, "rasterized": len(lines) > 20}
    axes.add_collection(LineCollection(thin_lines, color=look.colour, **style))
    x, y = mean_curve(lines)
    every = max(1, len(x) // 5)
    thick: dict[str, Any] = {"color": look.colour, "linestyle": look.line, "linewidth": 1.7}
    (line,) = axes.plot(x, y, marker=look.marker, markersize=4, markevery=every, **thick)
    marked = zip(x[::every], y[::every], strict=True)
    told = (f"{standing.name} at {curve.x_label} {a:,.6g}: {_shown(b, curve.unit)}" for a, b in marked)
    hint(line, standing.name, told)
    heights = np.concatenate([line[:, 1] for line in thin_lines])
    return _End(standing.name, look.colour, float(y[-1]), float(heights.min()), float(heights.max()))


def _shown(value: float, unit: str) -> str:
    """A scaled value with its unit."""
    return words.quantity(float(value / scaled(1, unit)), unit)


def _finding(ends: Sequence[_End], curve: Curve) -> str:
    """Who ends best at every seed, so that no seed of another comes up to its worst one; nothing where nobody does."""
    if len(ends) < 2 or curve.direction not in ("higher", "lower"):
        return ""
    sign = 1 if curve.direction == "higher" else -1
    best, *others = sorted(ends, key=lambda end: -sign * end.last)
    worst = min(sign * best.lowest, sign * best.highest)
    ahead = all(max(sign * other.lowest, sign * other.highest) < worst for other in others)
    return f"\n{best.name} ends best at every seed, at {_shown(best.last, curve.unit)}" if ahead else ""


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


class Curves:
    """Curves through training; the one of the headline metric's kind first, the others on demand."""

    title = "Learning curves"
    rank = 50
    page = SUITE

    def blocks(self, study: Study) -> list[Block]:
        """A figure a curve."""
        note = "Thick: mean over seeds. Thin: each seed. Long curves are averaged in blocks for drawing."
        return per_experiment(study, self._of, note)

    def _of(self, experiment: Experiment) -> list[Block]:
        cells = [r for s in experiment.standings for r in s.finished]
        # Those of single layers are drawn together, in the section on mechanisms at work.
        curves = [(name, curve) for r in cells for name, curve in r.curves.items() if curve.layer is None]
        names = sorted({name for name, curve in curves if any(map(math.isfinite, curve.y))})
        own = [name for name in names if experiment.metric in name]
        others = [name for name in names if name not in own]
        drawn = [
            Plan(2 if name in own else 5, partial(curve_picture, experiment, name)) for name in own + others
        ]
        return list(drawn)


section = Curves

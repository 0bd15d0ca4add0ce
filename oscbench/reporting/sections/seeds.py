"""Figures of every seed: what each entry reached, and what each pair differs by.

Drawn without pyplot, so that nothing global is left open.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from oscbench import words
from oscbench.analysis.comparison import Comparison
from oscbench.analysis.experiment import Experiment, Standing
from oscbench.analysis.frame import headline
from oscbench.analysis.statistics.seeds import mean_interval
from oscbench.analysis.study import Study
from oscbench.reporting.page.blocks import SUITE, Block, per_experiment
from oscbench.reporting.page.figure import (
    Floats,
    Picture,
    Plan,
    axis_label,
    beyond,
    canvas,
    crowded,
    finish,
    focus,
    off_axis,
    scaled,
)
from oscbench.reporting.page.style import MUTED, Look, look_of, settings
from oscbench.reporting.page.svg import hint

_RASTER_FROM = 1500
_NAME_LETTERS = 40
"""A line of a row's name."""


def _described(experiment: Experiment, standings: Sequence[Standing]) -> str:
    return "; ".join(
        f"{s.name} mean {words.quantity(s.summary.mean, experiment.unit)} over {s.summary.n} seeds"
        for s in standings
        if s.summary
    )


def _spread(n: int, half: float) -> Floats:
    """Even offsets instead of random jitter: the same records give the same picture."""
    return np.linspace(-half, half, n) if n > 1 else np.zeros(n)


@dataclass(frozen=True)
class _Row:
    """Every seed of one entry or difference: its values as drawn, and what is said of each and of their mean."""

    name: str
    values: Floats
    hints: Sequence[str]
    mean: str
    look: Look


def _row(axes: Axes, y: float, row: _Row, crowded: bool) -> None:
    """Every seed as a dot, with the mean and its interval below them."""
    values, look = row.values, row.look
    dots = axes.scatter(
        values,
        y - 0.12 + _spread(len(values), 0.14),
        s=16,
        marker=look.marker,
        color=look.colour,
        alpha=0.75,
        linewidths=0,
        rasterized=crowded,
    )
    hint(dots, "", row.hints)
    interval = mean_interval(values)
    if interval.exists:
        (line,) = axes.plot([interval.low, interval.high], [y + 0.24] * 2, color=look.colour, linewidth=1.6)
        hint(line, f"{row.name}: mean {row.mean}")
    (mark,) = axes.plot(
        [values.mean()], [y + 0.24], marker="|", markersize=9, markeredgewidth=2, color=look.colour
    )
    hint(mark, f"{row.name}: mean {row.mean}")


def _fill(axes: Axes, rows: Sequence[_Row], ends: tuple[float, float] | None) -> None:
    """All rows; those that the axis leaves out are told in words."""
    crowded = sum(len(row.values) for row in rows) > _RASTER_FROM
    for y, row in enumerate(rows):
        side = beyond(ends, float(np.median(row.values)))
        if side:
            off_axis(axes, y, side, f"mean {row.mean}, off this axis")
        else:
            _row(axes, y, row, crowded)
    if ends:
        axes.set_xlim(*ends)


def _rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [_wrapped(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _wrapped(name: str) -> str:
    """A row's name, on two lines where one would leave no room for what it names."""
    return "\n".join(textwrap.wrap(name, _NAME_LETTERS, break_long_words=False))


def _title(axes: Axes, title: str, names: Sequence[str]) -> None:
    """Above the middle of the axis, or, where long names leave that little room, up to its right end."""
    axes.set_title(title, loc="right" if crowded(names) else None)


def _height(names: Sequence[str]) -> float:
    """Inches of a figure with these rows."""
    most = max(_wrapped(name).count("\n") for name in names)
    return 1.0 + (0.36 + 0.1 * most) * len(names)


def seeds_picture(experiment: Experiment) -> Picture:
    """The headline metric of every seed of every entry, with mean and 95 % interval."""
    with matplotlib.rc_context(settings()):
        shown = [s for s in experiment.standings if s.summary]
        figure, axes = canvas(_height([s.name for s in shown]))
        rows = [_seeds_row(experiment, s, look_of(s.entry)) for s in shown]
        _fill(axes, rows, focus([row.values for row in rows], experiment.direction))
        _rows(axes, [row.name for row in rows])
        axes.set_xlabel(axis_label(experiment.metric_label, experiment.unit))
        title = "Every seed, mean and 95 % interval"
        _title(axes, title, [row.name for row in rows])
        alt = f"Dots: {experiment.metric_label} of every seed for each mechanism. {_described(experiment, shown)}."
        return finish(figure, experiment.slug, "seeds", title, alt)


def _seeds_row(experiment: Experiment, standing: Standing, look: Look) -> _Row:
    found = [(r.seed, headline(r)) for r in standing.finished]
    values = [value for _, value in found]
    hints = [f"{standing.name}, seed {seed}: {words.quantity(v, experiment.unit)}" for seed, v in found]
    mean = words.quantity(float(np.mean(values)), experiment.unit)
    return _Row(standing.name, scaled(values, experiment.unit), hints, mean, look)


def _differences_row(comparison: Comparison, look: Look) -> _Row:
    values = np.subtract(comparison.first, comparison.second)
    name = comparison.name
    hints = [
        f"{name}, seed {seed}: {words.difference(float(value), comparison.unit)}"
        for seed, value in zip(comparison.seeds, values, strict=True)
    ]
    mean = words.difference(float(values.mean()), comparison.unit)
    return _Row(name, scaled(values, comparison.unit), hints, mean, look)


def differences_picture(experiment: Experiment) -> Picture:
    """The paired difference of every seed, with mean and 95 % interval and a line at no difference."""
    with matplotlib.rc_context(settings()):
        shown = [c for c in experiment.comparisons if c.paired]
        figure, axes = canvas(_height([c.name for c in shown]))
        axes.axvline(0, color=MUTED, linewidth=1)
        rows = [_differences_row(c, look_of(c.pair.treatment)) for c in shown]
        _fill(axes, rows, focus([row.values for row in rows], experiment.direction, 0.0))
        _rows(axes, [row.name for row in rows])
        unit = words.difference_unit(experiment.unit)
        axes.set_xlabel(axis_label(f"Difference in {words.lowered(experiment.metric_label)}", unit, 32))
        title = "Paired differences, seed by seed"
        _title(axes, title, [row.name for row in rows])
        phrases = "; ".join(_difference_words(c) for c in shown)
        return finish(
            figure, experiment.slug, "differences", title, f"Dots: difference at every seed. {phrases}."
        )


def _difference_words(comparison: Comparison) -> str:
    if comparison.paired is None:
        return ""
    interval = comparison.paired.interval
    return (
        f"{comparison.treatment} minus {comparison.baseline} "
        f"{words.difference(comparison.paired.mean, comparison.unit)}, "
        f"interval {words.interval(interval.low, interval.high, comparison.unit)}"
    )


class Seeds:
    """What each seed of each entry reached, and what each pair differs by."""

    title = "Every seed"
    rank = 40
    page = SUITE

    def blocks(self, study: Study) -> list[Block]:
        """Two figures an experiment."""
        return per_experiment(study, self._of)

    def _of(self, experiment: Experiment) -> list[Block]:
        if not any(standing.summary for standing in experiment.standings):
            return []
        found: list[Block] = [Plan(0, partial(seeds_picture, experiment))]
        if any(comparison.paired for comparison in experiment.comparisons):
            found.append(Plan(1, partial(differences_picture, experiment)))
        return found


section = Seeds

"""Cost against quality: a figure a cost with its front, and who is beaten by whom."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from oscbench import words
from oscbench.analysis.experiment import Experiment, Standing, identify
from oscbench.analysis.frame import headline, value_of
from oscbench.analysis.pareto import Front, State
from oscbench.analysis.statistics import mean_interval
from oscbench.reporting.page.figure import (
    Floats,
    Picture,
    axis_label,
    beyond,
    canvas,
    cost_ticks,
    finish,
    focus,
    legend,
    scaled,
)
from oscbench.reporting.page.style import MUTED, Look, settings
from oscbench.reporting.page.svg import hint
from oscbench.reporting.page.table import Cell, Column, Table


def fronts_table(experiment: Experiment, found: Sequence[Front]) -> Table | None:
    """A row a cost: who is on the front, who might be, and who is beaten by whom."""
    if not any(front.points for front in found):
        return None
    columns = (
        Column("Cost", "left"),
        Column("Not dominated", "left"),
        Column("Not clearly dominated", "left"),
        Column("Dominated", "left"),
    )
    rows, raw = [], []
    for front in found:
        name = (
            front.cost
            if front.cost.casefold() == front.label.casefold() or not front.points
            else f"{front.cost} ({front.label})"
        )
        if not front.points:
            raw.append(
                {
                    "suite": experiment.suite,
                    "task": experiment.task,
                    "cost": front.cost,
                    "reason": front.reason,
                }
            )
            continue
        line = "; ".join(f"{p.name} ({words.quantity(p.cost, front.unit, 4)})" for p in front.line)
        rows.append(
            (Cell(name), Cell(line), Cell(_beaten(front, "unclear")), Cell(_beaten(front, "dominated")))
        )
        raw += _raw(experiment, front)
    caption = (
        f"Cost against {words.lowered(experiment.metric_label)}. Dominated: another costs no more and is no worse, and better in one of "
        "the two, whatever the true means inside the 95 % intervals are. Not clearly: on the means alone. Costs that the models "
        "were matched in count as equal within the matching's tolerance"
    )
    for reason in sorted({front.reason for front in found if front.reason}):
        without = ", ".join(words.lowered(f.cost) for f in found if f.reason == reason)
        caption += f". No front for {without}: {reason}"
    return Table(f"{experiment.slug}-fronts", caption, columns, tuple(rows), tuple(raw))


def _beaten(front: Front, state: State) -> str:
    found = [(p.name, front.places[p.name].by) for p in front.points if front.places[p.name].state == state]
    return "; ".join(f"{name} (by {_few(by)})" for name, by in found) or "none"


def _few(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _raw(experiment: Experiment, front: Front) -> list[dict[str, Any]]:
    by_name = {s.name: s for s in experiment.standings}
    return [
        identify(experiment, by_name[p.name])
        | {"cost": front.cost, "measure": front.measure, "unit": front.unit}
        | {"value": p.cost, "low": p.cost_ends[0], "high": p.cost_ends[1]}
        | {"state": front.places[p.name].state, "by": " ".join(front.places[p.name].by)}
        for p in front.points
    ]


def _has(standing: Standing, measure: str) -> bool:
    return any(math.isfinite(value_of(record, measure)) for record in standing.finished)


def cost_picture(experiment: Experiment, looks: Mapping[str, Look], front: Front) -> Picture:
    """The headline metric against one cost: each seed small, the mean large with its interval, a line through the front."""
    measure = front.measure
    with matplotlib.rc_context(settings()):
        figure, axes = canvas(3.1)
        known = [
            r.measures[measure] for s in experiment.standings for r in s.finished if measure in r.measures
        ]
        unit, label = known[0].unit, words.capitalised(known[0].label)
        shown = [s for s in sorted(experiment.standings, key=lambda s: s.name) if _has(s, measure)]
        cells = [_cost_and_value(s, measure, experiment.unit) for s in shown]
        ends = focus([y for _, y in cells], experiment.direction)
        centres = [(s.name, float(np.mean(x))) for s, (x, _) in zip(shown, cells, strict=True)]
        for (name, centre), (x, y) in zip(centres, cells, strict=True):
            at = f"{name} at {words.quantity(centre, unit)}"
            _cost_marks(axes, x, y, ends, name, looks[name], f"{at}: mean {_shown(y, experiment.unit)}")
        _front_line(axes, experiment, front)
        if ends:
            axes.set_ylim(*ends)
        values = [centre for _, centre in centres]
        if min(values) > 0 and max(values) / min(values) > 30:
            axes.set_xscale("log")
            axes.set_xlabel(axis_label(label, unit))
        else:
            cost_ticks(axes, label, unit, np.concatenate([x for x, _ in cells]).tolist())
        title = f"{experiment.metric_label} against {words.lowered(label)}"
        axes.set_title(axis_label(experiment.metric_label, experiment.unit))
        legend(figure, axes)
        phrases = "; ".join(f"{name} at {words.quantity(centre, unit)}" for name, centre in centres)
        names = ", ".join(p.name for p in front.line)
        alt = f"{title}. {phrases}." + (f" Not dominated: {names}." if names else "")
        return finish(figure, experiment.slug, f"cost-{measure}", title, alt)


def _shown(values: Floats, unit: str) -> str:
    """The mean of scaled values with its unit."""
    return words.quantity(float(values.mean() / scaled(1, unit)), unit)


def _front_line(axes: Axes, experiment: Experiment, front: Front) -> None:
    """Through the mechanisms that none beats in both, as stairs: what a given cost buys at best."""
    sign = 1.0 if experiment.direction == "higher" else -1.0
    if len(front.line) > 1:
        y = scaled([sign * p.quality for p in front.line], experiment.unit)
        style: dict[str, Any] = {"color": MUTED, "linewidth": 0.9, "linestyle": (0, (4, 2)), "zorder": 1}
        axes.step([p.cost for p in front.line], y, where="post", **style)


def _cost_and_value(standing: Standing, measure: str, unit: str) -> tuple[Floats, Floats]:
    points = [(value_of(r, measure), headline(r)) for r in standing.finished]
    cells = np.array([point for point in points if math.isfinite(point[0])], dtype=np.float64)
    return cells[:, 0], scaled(cells[:, 1], unit)


def _cost_marks(
    axes: Axes,
    x: Floats,
    y: Floats,
    ends: tuple[float, float] | None,
    name: str,
    look: Look,
    phrases: str,
) -> None:
    centre = float(x.mean())
    side = beyond(ends, float(np.median(y)))
    if side and ends:
        edge = 0.04 if side < 0 else 0.96
        where = axes.get_xaxis_transform()
        style: dict[str, Any] = {
            "color": look.colour,
            "markersize": 6.5,
            "markerfacecolor": "none",
            "linestyle": "none",
        }
        (mark,) = axes.plot([centre], [edge], marker=look.marker, label=name, transform=where, **style)
        hint(mark, phrases)
        arrow = "↓" if side < 0 else "↑"
        text = f"{arrow} {words.significant(float(y.mean()))}"
        offset: dict[str, Any] = {"xytext": (6, 0), "textcoords": "offset points", "va": "center"}
        axes.annotate(text, (centre, edge), xycoords=where, fontsize=8, color=MUTED, **offset)
        return
    small: dict[str, Any] = {"s": 7, "alpha": 0.4, "linewidths": 0, "rasterized": len(x) > 200}
    axes.scatter(x, y, marker=look.marker, color=look.colour, **small)
    interval = mean_interval(y)
    if interval.exists:
        axes.plot([centre] * 2, [interval.low, interval.high], color=look.colour, linewidth=1.2)
    (mark,) = axes.plot([centre], [y.mean()], look.marker, color=look.colour, markersize=6.5, label=name)
    hint(mark, phrases)

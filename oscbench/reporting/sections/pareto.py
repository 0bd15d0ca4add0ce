"""Cost against quality: a figure a cost with its front, and who is beaten by whom."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import matplotlib
import numpy as np
import seaborn
from matplotlib.axes import Axes

from oscbench import words
from oscbench.analysis.costs.pareto import Front, State, fronts
from oscbench.analysis.experiment import Experiment, Standing, identify, values_of
from oscbench.analysis.frame import headline, value_of
from oscbench.analysis.selection import Entry
from oscbench.analysis.statistics.seeds import mean_interval
from oscbench.analysis.study import Study
from oscbench.reporting.page.blocks import SUITE, Block, Folded, per_experiment
from oscbench.reporting.page.figure import (
    LETTERS,
    Floats,
    Picture,
    Plan,
    axis_label,
    beyond,
    canvas,
    cost_ticks,
    finish,
    focus,
    scaled,
)
from oscbench.reporting.page.style import MUTED, Look, look_of, settings
from oscbench.reporting.page.svg import hint
from oscbench.reporting.page.table import Reads, Table


def fronts_table(experiment: Experiment, found: Sequence[Front]) -> Table | None:
    """A row a cost: who is on the front, who might be, and who is beaten by whom."""
    if not any(front.points for front in found):
        return None
    caption = (
        f"Cost against {words.lowered(experiment.metric_label)}. Dominated: another costs no more and is no worse, and better in one of "
        "the two, whatever the true means inside the 95 % intervals are. Not clearly: on the means alone. Costs that the models "
        "were matched in count as equal within the matching's tolerance"
    )
    for reason in sorted({front.reason for front in found if front.reason}):
        without = ", ".join(words.lowered(f.cost) for f in found if f.reason == reason)
        caption += f". No front for {without}: {reason}"
    table = Table.of(f"{experiment.slug}-fronts", caption, COLUMNS, [one for one in found if one.points])
    return replace(table, raw=tuple(line for one in found for line in _raw(experiment, one)))


def _named(front: Front) -> str:
    same = front.cost.casefold() == front.label.casefold()
    return front.cost if same else f"{front.cost} ({front.label})"


def _not_beaten(front: Front) -> str:
    return "; ".join(f"{p.name} ({words.quantity(p.cost, front.unit, 4)})" for p in front.line)


def _beaten(state: State, front: Front) -> str:
    found = [(p.name, front.places[p.name].by) for p in front.points if front.places[p.name].state == state]
    return "; ".join(f"{name} (by {_few(by)})" for name, by in found) or "none"


def _few(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


COLUMNS: tuple[Reads[Front], ...] = (
    Reads("Cost", _named, "left"),
    Reads("Not dominated", _not_beaten, "left"),
    Reads("Not clearly dominated", partial(_beaten, "unclear"), "left"),
    Reads("Dominated", partial(_beaten, "dominated"), "left"),
)


def _raw(experiment: Experiment, front: Front) -> list[dict[str, Any]]:
    """A line a point, or one that says why there is none."""
    if not front.points:
        about = {"suite": experiment.suite, "task": experiment.task}
        return [about | {"cost": front.cost, "reason": front.reason}]
    by_name = {s.name: s for s in experiment.standings}
    return [
        identify(experiment, by_name[p.name])
        | {"cost": front.cost, "measure": front.measure, "unit": front.unit}
        | {"value": p.cost, "low": p.cost_ends[0], "high": p.cost_ends[1]}
        | {"state": front.places[p.name].state, "by": " ".join(front.places[p.name].by)}
        for p in front.points
    ]


def cost_picture(experiment: Experiment, front: Front) -> Picture:
    """The headline metric against one cost: each seed small, the mean large with its interval, a line through the front."""
    measure = front.measure
    with matplotlib.rc_context(settings()):
        figure, axes = canvas(3.1)
        measured = [
            r.measures[measure] for s in experiment.standings for r in s.finished if measure in r.measures
        ]
        unit, label = measured[0].unit, words.capitalised(measured[0].label)
        shown = [s for s in sorted(experiment.standings, key=lambda s: s.name) if values_of(s, measure)]
        cells = [_cost_and_value(s, measure, experiment.unit) for s in shown]
        ends = focus([y for _, y in cells], experiment.direction)
        by_name = {s.name: s.entry for s in shown}
        centres = [(s.name, float(np.mean(x))) for s, (x, _) in zip(shown, cells, strict=True)]
        for (name, centre), (x, y) in zip(centres, cells, strict=True):
            at = f"{name} at {words.quantity(centre, unit)}"
            _cost_marks(
                axes, x, y, ends, name, look_of(by_name[name]), f"{at}: mean {_shown(y, experiment.unit)}"
            )
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
        _every_seed(axes, {s.name: cell for s, cell in zip(shown, cells, strict=True)}, by_name, ends)
        axes.set_title(axis_label(experiment.metric_label, experiment.unit) + _finding(front))
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
        (mark,) = axes.plot([centre], [edge], marker=look.marker, transform=where, **style)
        hint(mark, phrases)
        arrow = "↓" if side < 0 else "↑"
        text = f"{name} {arrow} {words.significant(float(y.mean()))}"
        offset: dict[str, Any] = {"xytext": (6, 0), "textcoords": "offset points", "va": "center"}
        axes.annotate(text, (centre, edge), xycoords=where, fontsize=8, color=MUTED, **offset)
        return
    interval = mean_interval(y)
    if interval.exists:
        axes.plot([centre] * 2, [interval.low, interval.high], color=look.colour, linewidth=1.2)
    (mark,) = axes.plot([centre], [y.mean()], look.marker, color=look.colour, markersize=6.5)
    _name(axes, name, look, (centre, float(y.mean())))
    hint(mark, phrases)


def _name(axes: Axes, name: str, look: Look, at: tuple[float, float]) -> None:
    """The name beside its mean instead of in a legend."""
    style: dict[str, Any] = {"fontsize": 7.5, "color": look.colour, "va": "bottom"}
    axes.annotate(name, at, xytext=(4, 3), textcoords="offset points", **style)


def _every_seed(
    axes: Axes,
    cells: Mapping[str, tuple[Floats, Floats]],
    entries: Mapping[str, Entry],
    ends: tuple[float, float] | None,
) -> None:
    """Each seed as a small dot, of the entries that lie on the axis."""
    kept = {name: xy for name, xy in cells.items() if not beyond(ends, float(np.median(xy[1])))}
    names = np.repeat(list(kept), [len(x) for x, _ in kept.values()])
    looks = {name: look_of(entries[name]) for name in kept}
    seaborn.scatterplot(
        x=np.concatenate([x for x, _ in kept.values()]),
        y=np.concatenate([y for _, y in kept.values()]),
        hue=names,
        style=names,
        palette={name: look.colour for name, look in looks.items()},
        markers={name: look.marker for name, look in looks.items()},
        s=12,
        alpha=0.4,
        linewidth=0,
        legend=False,
        rasterized=len(names) > 200,
        ax=axes,
    )


def _finding(front: Front) -> str:
    """Who is not beaten, as the second line of the title."""
    names = [point.name for point in front.line]
    if not names or len(names) == len(front.points):
        return ""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    told = f"Not beaten at their cost: {', '.join(names[:3])}{more}"
    return "\n" + "\n".join(textwrap.wrap(told, LETTERS))


MATCHED = 1.02
"""Where the dearest costs no more than this times the cheapest, all cost the same: a panel would show nothing."""


def _spread(front: Front) -> float:
    """The largest mean cost over the smallest."""
    costs = [point.cost for point in front.points]
    return max(costs) / min(costs) if costs and min(costs) > 0 else math.inf


class Pareto:
    """The headline metric against every cost that differs, with who is beaten in both by whom."""

    title = "Quality against cost"
    rank = 60
    page = SUITE

    def blocks(self, study: Study) -> list[Block]:
        """A figure a cost; the table behind a fold."""
        return per_experiment(study, self._of)

    def _of(self, experiment: Experiment) -> list[Block]:
        found = fronts(experiment)
        table = fronts_table(experiment, found)
        drawn = [front for front in found if front.measure and front.points and _spread(front) > MATCHED]
        plans: list[Block] = [Plan(4, partial(cost_picture, experiment, front)) for front in drawn]
        return plans + ([Folded("Dominated models", (table,))] if table else [])


section = Pareto

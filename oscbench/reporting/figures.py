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
import seaborn
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from oscbench import words
from oscbench.analysis.experiment import Section, Standing
from oscbench.analysis.frame import headline, value_of
from oscbench.analysis.statistics import mean_interval
from oscbench.reporting.detail_tables import health_means
from oscbench.reporting.drawing import (
    WIDTH,
    Floats,
    Picture,
    Plan,
    axis_label,
    beyond,
    canvas,
    cost_ticks,
    finish,
    focus,
    legend,
    scaled,
)
from oscbench.reporting.frontier import Front, fronts
from oscbench.reporting.seed_figures import differences_picture, seeds_picture
from oscbench.reporting.style import GRID, INK, MUTED, Look, settings
from oscbench.reporting.vector import hint

_POINTS = 120
_MAX_THIN_LINES = 240


def plans(section: Section, looks: Mapping[str, Look]) -> list[Plan]:
    """All figures that a section has the data for, in the order of the page."""
    if not any(standing.summary for standing in section.standings):
        return []
    found = [Plan(0, partial(seeds_picture, section, looks))]
    if any(comparison.paired for comparison in section.comparisons):
        found.append(Plan(1, partial(differences_picture, section, looks)))
    names = sorted({name for s in section.standings for r in s.finished for name in r.curves})
    # The curve of the headline metric's kind tells most: it comes first, and is the last to be left out.
    names.sort(key=lambda name: section.metric not in name)
    found += [
        Plan(2 if section.metric in name else 5, partial(curve_picture, section, looks, name))
        for name in names
    ]
    found += [
        Plan(4, partial(cost_picture, section, looks, front)) for front in fronts(section) if front.measure
    ]
    quantities = sorted({quantity for quantity, *_ in health_means(section)})
    return found + [Plan(6, partial(health_picture, section, quantity)) for quantity in quantities]


def _has(standing: Standing, measure: str) -> bool:
    return any(math.isfinite(value_of(record, measure)) for record in standing.finished)


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


def curve_picture(section: Section, looks: Mapping[str, Look], name: str) -> Picture:
    """One curve through training: the mean over seeds, each seed thin behind it."""
    with matplotlib.rc_context(settings()):
        figure, axes = canvas(3.1)
        first = next(r.curves[name] for s in section.standings for r in s.finished if name in r.curves)
        label = words.capitalised(first.label)
        ends, lowest, highest = [], math.inf, -math.inf
        seeds = max(1, _MAX_THIN_LINES // max(len(section.standings), 1))
        for standing in sorted(section.standings, key=lambda s: s.name):
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
        return finish(figure, section.slug, f"curve-{name}", label, alt)


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


def cost_picture(section: Section, looks: Mapping[str, Look], front: Front) -> Picture:
    """The headline metric against one cost: each seed small, the mean large with its interval, a line through the front."""
    measure = front.measure
    with matplotlib.rc_context(settings()):
        figure, axes = canvas(3.1)
        known = [r.measures[measure] for s in section.standings for r in s.finished if measure in r.measures]
        unit, label = known[0].unit, words.capitalised(known[0].label)
        shown = [s for s in sorted(section.standings, key=lambda s: s.name) if _has(s, measure)]
        cells = [_cost_and_value(s, measure, section.unit) for s in shown]
        ends = focus([y for _, y in cells], section.direction)
        centres = [(s.name, float(np.mean(x))) for s, (x, _) in zip(shown, cells, strict=True)]
        for (name, centre), (x, y) in zip(centres, cells, strict=True):
            at = f"{name} at {words.quantity(centre, unit)}"
            _cost_marks(axes, x, y, ends, name, looks[name], f"{at}: mean {_shown(y, section.unit)}")
        _front_line(axes, section, front)
        if ends:
            axes.set_ylim(*ends)
        values = [centre for _, centre in centres]
        if min(values) > 0 and max(values) / min(values) > 30:
            axes.set_xscale("log")
            axes.set_xlabel(axis_label(label, unit))
        else:
            cost_ticks(axes, label, unit, np.concatenate([x for x, _ in cells]).tolist())
        title = f"{section.metric_label} against {words.lowered(label)}"
        axes.set_title(axis_label(section.metric_label, section.unit))
        legend(figure, axes)
        phrases = "; ".join(f"{name} at {words.quantity(centre, unit)}" for name, centre in centres)
        names = ", ".join(p.name for p in front.line)
        alt = f"{title}. {phrases}." + (f" Not dominated: {names}." if names else "")
        return finish(figure, section.slug, f"cost-{measure}", title, alt)


def _shown(values: Floats, unit: str) -> str:
    """The mean of scaled values with its unit."""
    return words.quantity(float(values.mean() / scaled(1, unit)), unit)


def _front_line(axes: Axes, section: Section, front: Front) -> None:
    """Through the mechanisms that none beats in both, as stairs: what a given cost buys at best."""
    sign = 1.0 if section.direction == "higher" else -1.0
    if len(front.line) > 1:
        y = scaled([sign * p.quality for p in front.line], section.unit)
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


def health_picture(section: Section, quantity: str) -> Picture:
    """One diagnostic of every entry and layer, at the start and at the end of training, as two heat maps."""
    means = {key[1:]: value for key, value in health_means(section).items() if key[0] == quantity}
    names = sorted({name for name, *_ in means})
    layers = sorted({layer for _, layer, _ in means})
    grids = {
        when: np.array([[means.get((n, layer, when), math.nan) for layer in layers] for n in names])
        for when in ("start", "end")
    }
    low, high = min(means.values()), max(means.values())
    with matplotlib.rc_context(settings()):
        figure = Figure(figsize=(WIDTH, 1.05 + 0.27 * len(names)), layout="constrained")
        both = figure.subplots(1, 2, sharey=True)
        for axes, when in zip(both, ("start", "end"), strict=True):
            seaborn.heatmap(
                grids[when],
                ax=axes,
                vmin=low,
                vmax=high if high > low else low + 1,
                cmap="cividis",
                cbar=False,
                annot=len(layers) <= 6,
                fmt=".2g",
                annot_kws={"fontsize": 7},
                linewidths=0.5,
                linecolor=GRID,
                xticklabels=[str(layer) for layer in layers],
                yticklabels=names,
            )
            axes.set_xlabel("Layer")
            axes.set_title(f"{when.capitalize()} of training", fontsize=8.5, fontweight="normal", color=INK)
            axes.tick_params(length=0, rotation=0)
        title = quantity.replace("_", " ").capitalize()
        figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, fontweight="bold")
        phrases = "; ".join(_health_words(name, layers, means) for name in names)
        alt = f"Heat maps: {title} of each layer at the start and end. Mean over layers: {phrases}."
        return finish(figure, section.slug, f"health-{quantity}", title, alt)


def _health_words(name: str, layers: Sequence[int], means: Mapping[tuple[str, int, str], float]) -> str:
    ends = []
    for when in ("start", "end"):
        found = [means[name, layer, when] for layer in layers if (name, layer, when) in means]
        ends.append(words.significant(float(np.mean(found))) if found else words.MISSING)
    return f"{name} {ends[0]} to {ends[1]}"

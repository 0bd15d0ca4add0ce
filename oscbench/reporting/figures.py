"""Figures of a section, each small enough to be read on a phone; drawn without pyplot, so that nothing global is left open."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import matplotlib
import numpy as np
import seaborn
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from oscbench.reporting import formats
from oscbench.reporting.comparison import SPEED_MEASURES, Comparison
from oscbench.reporting.detail_tables import health_means
from oscbench.reporting.frame import headline, value_of
from oscbench.reporting.sections import Section, Standing
from oscbench.reporting.statistics import mean_interval
from oscbench.reporting.style import GRID, INK, MUTED, Look, settings, themed

WIDTH = 4.6
_POINTS = 120
_RASTER_FROM = 1500
_MAX_THIN_LINES = 240


@dataclass(frozen=True)
class Picture:
    """A rendered figure: for the disk (`png`, `svg`) and, following light and dark, for the page (`page_svg`)."""

    name: str
    kind: str
    title: str
    alt: str
    png: bytes
    svg: str

    @property
    def page_svg(self) -> str:
        """The SVG whose colours follow the reader's preference."""
        return themed(self.svg)


@dataclass(frozen=True)
class Plan:
    """A figure that could be drawn; `rank` 0 is the last to be left out of a large report."""

    rank: int
    draw: Callable[[], Picture]


def plans(section: Section, looks: Mapping[str, Look]) -> list[Plan]:
    """All figures that a section has the data for, in the order of the page."""
    if not any(standing.summary for standing in section.standings):
        return []
    found = [Plan(0, partial(seeds_picture, section, looks))]
    if any(comparison.paired for comparison in section.comparisons):
        found.append(Plan(1, partial(differences_picture, section, looks)))
    names = sorted({name for s in section.standings for r in s.finished for name in r.curves})
    # The curve of the headline metric's kind tells most, so it is the last curve to be left out.
    found += [
        Plan(2 if section.metric in name else 5, partial(curve_picture, section, looks, name))
        for name in names
    ]
    for measure in ("params", "flops", *SPEED_MEASURES):
        if any(math.isfinite(value_of(r, measure)) for s in section.standings for r in s.finished):
            found.append(Plan(4, partial(cost_picture, section, looks, measure)))
    quantities = sorted({quantity for quantity, *_ in health_means(section)})
    return found + [Plan(6, partial(health_picture, section, quantity)) for quantity in quantities]


def _finish(figure: Figure, section: Section, kind: str, title: str, alt: str) -> Picture:
    FigureCanvasAgg(figure)
    png, svg = io.BytesIO(), io.StringIO()
    figure.savefig(png, format="png", dpi=160, metadata={"Software": None})
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return Picture(f"{section.slug}-{_slug(kind)}", kind, title, alt, png.getvalue(), svg.getvalue())


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _canvas(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.add_subplot()


def _scaled(values: Any, unit: str) -> NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64) * (100 if unit == "fraction" else 1)


def _axis_label(label: str, unit: str) -> str:
    shown = "%" if unit == "fraction" else unit
    return f"{label} [{shown}]" if shown not in ("", "1") else label


def _described(section: Section, standings: Sequence[Standing]) -> str:
    return "; ".join(
        f"{s.name} mean {formats.quantity(s.summary.mean, section.unit)} over {s.summary.n} seeds"
        for s in standings
        if s.summary
    )


def _spread(n: int, half: float) -> NDArray[np.float64]:
    """Even offsets instead of random jitter: the same records give the same picture."""
    return np.linspace(-half, half, n) if n > 1 else np.zeros(n)


def _row(axes: Axes, y: float, values: NDArray[np.float64], look: Look, crowded: bool) -> None:
    """Every seed as a dot, with the mean and its interval below them."""
    axes.scatter(
        values,
        y - 0.12 + _spread(len(values), 0.14),
        s=16,
        marker=look.marker,
        color=look.colour,
        alpha=0.75,
        linewidths=0,
        rasterized=crowded,
    )
    interval = mean_interval(values)
    if interval.exists:
        axes.plot([interval.low, interval.high], [y + 0.24] * 2, color=look.colour, linewidth=1.6)
    axes.plot([values.mean()], [y + 0.24], marker="|", markersize=9, markeredgewidth=2, color=look.colour)


def _rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def seeds_picture(section: Section, looks: Mapping[str, Look]) -> Picture:
    """The headline metric of every seed of every entry, with mean and 95 % interval."""
    with matplotlib.rc_context(settings()):
        shown = [s for s in section.standings if s.summary]
        figure, axes = _canvas(1.0 + 0.36 * len(shown))
        total = sum(len(s.finished) for s in shown)
        for y, standing in enumerate(shown):
            values = _scaled([headline(r) for r in standing.finished], section.unit)
            _row(axes, y, values, looks[standing.name], total > _RASTER_FROM)
        _rows(axes, [s.name for s in shown])
        axes.set_xlabel(_axis_label(section.metric_label, section.unit))
        title = "Every seed, mean and 95 % interval"
        axes.set_title(title)
        alt = f"Dots: {section.metric_label} of every seed for each mechanism. {_described(section, shown)}."
        return _finish(figure, section, "seeds", title, alt)


def differences_picture(section: Section, looks: Mapping[str, Look]) -> Picture:
    """The paired difference of every seed, with mean and 95 % interval and a line at no difference."""
    with matplotlib.rc_context(settings()):
        shown = [c for c in section.comparisons if c.paired]
        figure, axes = _canvas(1.0 + 0.36 * len(shown))
        axes.axvline(0, color=MUTED, linewidth=1)
        total = sum(len(c.seeds) for c in shown)
        for y, comparison in enumerate(shown):
            values = _scaled(np.subtract(comparison.first, comparison.second), section.unit)
            _row(axes, y, values, looks[comparison.treatment], total > _RASTER_FROM)
        _rows(axes, [f"{c.treatment} {formats.MINUS} {c.baseline}" for c in shown])
        unit = "points" if section.unit == "fraction" else section.unit
        axes.set_xlabel(_axis_label(f"Difference in {section.metric_label.lower()}", unit))
        title = "Paired differences, seed by seed"
        axes.set_title(title)
        words = "; ".join(_difference_words(c) for c in shown)
        return _finish(figure, section, "differences", title, f"Dots: difference at every seed. {words}.")


def _difference_words(comparison: Comparison) -> str:
    if comparison.paired is None:
        return ""
    interval = comparison.paired.interval
    return (
        f"{comparison.treatment} minus {comparison.baseline} "
        f"{formats.difference(comparison.paired.mean, comparison.unit)}, "
        f"interval {formats.interval(interval.low, interval.high, comparison.unit)}"
    )


def thin(x: Sequence[float], y: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """At most 120 points of a curve, each the mean of a block of neighbours; non-finite points are dropped."""
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
        figure, axes = _canvas(3.1)
        first = next(r.curves[name] for s in section.standings for r in s.finished if name in r.curves)
        ends, lowest, highest = [], math.inf, -math.inf
        seeds = max(1, _MAX_THIN_LINES // max(len(section.standings), 1))
        for standing in sorted(section.standings, key=lambda s: s.name):
            lines = [thin(r.curves[name].x, r.curves[name].y) for r in standing.finished if name in r.curves]
            lines = [(x, _scaled(y, first.unit)) for x, y in lines if len(x)]
            if not lines:
                continue
            look = looks[standing.name]
            for x, y in lines[:seeds]:
                axes.plot(x, y, color=look.colour, linewidth=0.5, alpha=0.28, rasterized=len(lines) > 25)
                lowest, highest = min(lowest, y.min()), max(highest, y.max())
            x, y = mean_curve(lines)
            axes.plot(
                x,
                y,
                color=look.colour,
                linewidth=1.7,
                label=standing.name,
                marker=look.marker,
                markersize=4,
                markevery=max(1, len(x) // 5),
            )
            ends.append(
                f"{standing.name} ends at {formats.quantity(y[-1] / _scaled(1, first.unit), first.unit)}"
            )
        if first.unit != "fraction" and lowest > 0 and highest / lowest > 30:
            axes.set_yscale("log")
        axes.set_xlabel(first.x_label.capitalize())
        axes.set_ylabel(_axis_label(first.label, first.unit))
        axes.set_title(first.label)
        _legend(figure, axes)
        alt = f"Lines: {first.label} against {first.x_label}, mean over seeds. {'; '.join(ends)}."
        return _finish(figure, section, f"curve-{name}", first.label, alt)


def mean_curve(
    lines: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean over seeds on the longest seed's grid, only as far as every seed goes."""
    end = min(x[-1] for x, _ in lines)
    start = max(x[0] for x, _ in lines)
    longest = max((x for x, _ in lines), key=len)
    grid = longest[(longest >= start) & (longest <= end)]
    if not len(grid):
        grid = np.array([end])
    return grid, np.mean([np.interp(grid, x, y) for x, y in lines], axis=0)


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(labels)))


def cost_picture(section: Section, looks: Mapping[str, Look], measure: str) -> Picture:
    """The headline metric against one cost: each seed small, the mean large with its interval."""
    with matplotlib.rc_context(settings()):
        figure, axes = _canvas(3.1)
        known = [r.measures[measure] for s in section.standings for r in s.finished if measure in r.measures]
        unit, label = known[0].unit, known[0].label
        centres = []
        for standing in sorted(section.standings, key=lambda s: s.name):
            points = [(value_of(r, measure), headline(r)) for r in standing.finished]
            cells = np.array([p for p in points if math.isfinite(p[0])], dtype=np.float64).reshape(-1, 2)
            if not len(cells):
                continue
            look, x, y = looks[standing.name], cells[:, 0], _scaled(cells[:, 1], section.unit)
            axes.scatter(
                x,
                y,
                s=7,
                marker=look.marker,
                color=look.colour,
                alpha=0.4,
                linewidths=0,
                rasterized=len(cells) > 200,
            )
            interval, centre = mean_interval(y), float(np.median(x))
            if interval.exists:
                axes.plot([centre] * 2, [interval.low, interval.high], color=look.colour, linewidth=1.2)
            axes.plot(
                [centre], [y.mean()], look.marker, color=look.colour, markersize=6.5, label=standing.name
            )
            centres.append((standing.name, centre))
        values = [centre for _, centre in centres]
        if min(values) > 0 and max(values) / min(values) > 10:
            axes.set_xscale("log")
        else:
            axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5))
            axes.xaxis.set_major_formatter(
                lambda value, _: formats.quantity(value, unit).replace("\u202f", "")
            )
        axes.set_xlabel(label)
        axes.set_ylabel(_axis_label(section.metric_label, section.unit))
        title = f"{section.metric_label} against {label[:1].lower()}{label[1:]}"
        axes.set_title(title)
        _legend(figure, axes)
        words = "; ".join(f"{name} at {formats.quantity(centre, unit)}" for name, centre in centres)
        return _finish(figure, section, f"cost-{measure}", title, f"{title}. {words}.")


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
        words = "; ".join(_health_words(name, layers, means) for name in names)
        alt = f"Heat maps: {title} of each layer at the start and end. Mean over layers: {words}."
        return _finish(figure, section, f"health-{quantity}", title, alt)


def _health_words(name: str, layers: Sequence[int], means: Mapping[tuple[str, int, str], float]) -> str:
    ends = []
    for when in ("start", "end"):
        found = [means[name, layer, when] for layer in layers if (name, layer, when) in means]
        ends.append(formats.significant(float(np.mean(found))) if found else formats.MISSING)
    return f"{name} {ends[0]} to {ends[1]}"

"""What all figures share.

A canvas without pyplot, axes that stay readable beside an outlier, and the rendered picture.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogFormatter, MaxNLocator, NullFormatter
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from oscbench import words
from oscbench.analysis.statistics.seeds import Interval, upper_end
from oscbench.reporting.page.style import MUTED, Look
from oscbench.reporting.page.svg import hinted, inline

WIDTH = 4.6  # inches: near the width of a phone, so that type keeps its size there
LETTERS = 44  # of a label or title, bold, beside the labels of rows
_LONG_NAME = 20
_FENCE = 8.0

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Picture:
    """A rendered figure, for the disk (`png`, `svg`) and for the page."""

    name: str
    kind: str
    title: str
    alt: str
    png: bytes
    svg: str

    def inline(self, prefix: str) -> str:
        """The figure as an element of the page, following light and dark; its ids start with the prefix."""
        return inline(self.svg, self.alt, prefix)


@dataclass(frozen=True)
class Plan:
    """A figure that could be drawn; `rank` 0 is the last to be left out of a large report."""

    kind: ClassVar[str] = "figure"
    rank: int
    draw: Callable[[], Picture]


def canvas(height: float) -> tuple[Figure, Axes]:
    """One pair of axes, `height` inches high."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.add_subplot()


def stacked(height: float, ratios: tuple[int, int]) -> tuple[Figure, tuple[Axes, Axes]]:
    """Two pairs of axes above one another with one horizontal axis, `height` inches together and their own heights as `ratios`."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=ratios)
    return figure, (above, below)


def finish(figure: Figure, slug: str, kind: str, title: str, alt: str) -> Picture:
    """Render once to PNG (on white) and once to SVG (on nothing); the same figure gives the same bytes."""
    FigureCanvasAgg(figure)
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        if isinstance(
            axis.get_major_formatter(), LogFormatter
        ):  # writes formulas, which names must not be taken for
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())
    png, svg = io.BytesIO(), io.StringIO()
    figure.savefig(png, format="png", dpi=160, metadata={"Software": None})
    figure.set_layout_engine(None)  # the second rendering keeps the places found for the first
    undated = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(svg, format="svg", facecolor="none", metadata=undated)
    return Picture(f"{slug}-{words.slug(kind)}", kind, title, alt, png.getvalue(), hinted(svg.getvalue()))


def scaled(values: Any, unit: str) -> Floats:
    """Fractions in percent, everything else as it is."""
    return np.asarray(values, dtype=np.float64) * (100 if unit == "fraction" else 1)


def crowded(names: Sequence[str]) -> bool:
    """Whether rows have names so long that a line of `LETTERS` no longer stands above or below the axis alone."""
    return max(map(len, names)) > _LONG_NAME


def axis_label(label: str, unit: str, letters: int = LETTERS) -> str:
    """`Accuracy [%]`, `Training loss [nats]`; on two lines where one would have more letters than there is room for."""
    shown = "%" if unit == "fraction" else unit
    whole = f"{label} [{shown}]" if shown not in ("", "1") else label
    return "\n".join(textwrap.wrap(whole, letters))


def line_of_means(
    axes: Axes,
    x: Floats,
    points: Sequence[tuple[float, Interval]],
    unit: str,
    label: str,
    look: Look,
) -> Line2D:
    """Means with their intervals, joined; those of one seed have none, and those of shares end at 1."""
    low = [mean - ends.low if ends.exists else 0.0 for mean, ends in points]
    high = [upper_end(mean, ends.high, unit) - mean if ends.exists else 0.0 for mean, ends in points]
    bars = axes.errorbar(
        x,
        scaled([mean for mean, _ in points], unit),
        yerr=scaled([low, high], unit),
        label=label,
        color=look.colour,
        marker=look.marker,
        markersize=4,
        linewidth=1.3,
        elinewidth=0.9,
    )
    return bars.lines[0]


def name_ends(figure: Figure, axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Names of lines at their right ends instead of a legend, moved apart, and as little as that takes, where they would cover one another.

    Args:
        figure: Of the axes.
        axes: With their final scale and limits.
        ends: (y of the last point, name, colour) of each line.
    """
    low, high = axes.yaxis.get_transform().transform(np.array(axes.get_ylim()))
    heights = axes.yaxis.get_transform().transform(np.array([y for y, _, _ in ends], dtype=np.float64))
    order = np.argsort(heights)
    places = (heights[order] - low) / ((high - low) or 1.0)
    gap = 9.5 / (72 * figure.get_figheight() * 0.75)
    least = gap * np.arange(len(places))  # above the lowest, if all stand as close as they may
    apart = isotonic_regression(places - least).x + least if len(places) else places
    for at, i in zip(np.maximum(np.minimum(apart, 1.0 - least[::-1]), least), order, strict=True):
        _, name, colour = ends[i]
        axes.annotate(name, (1.015, at), xycoords="axes fraction", va="center", fontsize=7.5, color=colour)


def legend(figure: Figure, axes: Axes, columns: int = 3) -> None:
    """The names below the axes, where they cover no data."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=min(columns, len(labels)))


def focus(rows: Sequence[Floats], direction: str, include: float | None = None) -> tuple[float, float] | None:
    """Ends of an axis that leaves out rows far worse than all others, or None where every row fits.

    One dead entry must not press the differences between all the others into one point. A row is left out
    where its median is worse than the middle row's by more than eight times the median distance from it
    (or the typical spread of one row, where that is larger); the figure then says where it is. No row is
    left out for being good.

    Args:
        rows: Values of each row.
        direction: `higher` or `lower` is better; with `none` no row is worse, so all stay.
        include: A value that must stay on the axis.
    """
    if len(rows) < 3 or direction not in ("higher", "lower"):
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        medians = np.array([np.median(row) for row in rows])
        away = medians - np.median(medians)
        reach = _FENCE * max(float(np.median(np.abs(away))), float(np.median([np.ptp(row) for row in rows])))
    if not (np.isfinite(away).all() and math.isfinite(reach)):  # numbers near the largest there are
        return None
    worse = -away if direction == "higher" else away
    kept = [row for row, distance in zip(rows, worse, strict=True) if distance <= reach]
    if len(kept) == len(rows):
        return None
    values = np.concatenate([*kept, *([] if include is None else [np.array([include])])])
    low, high = float(values.min()), float(values.max())
    margin = 0.06 * (high - low) or 1.0
    return (low - margin, high + margin) if math.isfinite(1.2 * (high - low)) else None


def beyond(ends: tuple[float, float] | None, value: float) -> int:
    """-1 below the axis, 1 above it, 0 on it."""
    if ends is None:
        return 0
    return -1 if value < ends[0] else int(value > ends[1])


def off_axis(axes: Axes, y: float, side: int, text: str) -> None:
    """Say in a row of its own where a left-out row lies."""
    phrases = f"◂ {text}" if side < 0 else f"{text} ▸"
    axes.annotate(
        phrases,
        (0.01 if side < 0 else 0.99, y),
        xycoords=("axes fraction", "data"),
        ha="left" if side < 0 else "right",
        va="center",
        fontsize=8,
        color=MUTED,
    )


FURTHEST = 1e300
"""An axis that goes further has no ticks: the distance between its ends is no number."""


def cost_ticks(axes: Axes, label: str, unit: str, values: Sequence[float]) -> None:
    """Ticks of the horizontal axis with one SI prefix for all and as many digits as tell them apart."""
    low, high = max(min(values), -FURTHEST), min(max(values), FURTHEST)
    if high - low < 0.004 * abs(high):  # matched to within rounding: show that, not the rounding
        middle = (low + high) / 2
        low, high = 0.99 * middle, 1.01 * middle
    margin = (0.08 * high - 0.08 * low) or 1.0
    axes.set_xlim(low - margin, high + margin)
    power = 3 * math.floor(math.log10(abs(high)) / 3) if high else 0
    power = min(max(power, -9), 15)
    prefix = {15: "P", 12: "T", 9: "G", 6: "M", 3: "k", 0: "", -3: "m", -6: "µ", -9: "n"}[power]
    scale = 10.0**power
    locator = MaxNLocator(4)
    ticks = np.asarray(locator.tick_values(low - margin, high + margin)) / scale
    fits = (d for d in range(12) if np.allclose(np.round(ticks, d), ticks, rtol=0, atol=1e-3 * np.ptp(ticks)))
    digits = next(fits, 12)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: words.signed(f"{x / scale:.{digits}f}")))
    shown = f"{prefix}{'' if unit == '1' else unit}"
    axes.set_xlabel(f"{label} [{shown}]" if shown else label)

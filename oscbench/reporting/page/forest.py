"""A forest plot: differences below one another, each a dot with its interval, over one axis with a line at none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from matplotlib.axes import Axes

from oscbench.reporting.page.style import INK, MUTED, Look
from oscbench.reporting.page.svg import hint


@dataclass(frozen=True)
class Heading:
    """A line of words between differences; a quiet one says more of what stands below."""

    text: str
    quiet: bool = False


@dataclass(frozen=True)
class Difference:
    """One line.

    Attributes:
        name: What differs.
        low: Lower end of the interval, in the axis's unit.
        mean: The difference.
        high: Upper end.
        look: Its colour and marker.
        filled: Otherwise the dot is empty and its line thin.
        told: To a pointer over the dot.
        beyond: What is said of it where it lies left of the axis.
    """

    name: str
    low: float
    mean: float
    high: float
    look: Look
    filled: bool = True
    told: str = ""
    beyond: str = ""


Line = Difference | Heading
LETTERS_AN_INCH = 15
"""Of names and headings, which are set in one size; fewer of them bold."""


def draw_forest(
    axes: Axes, lines: Sequence[Line], ends: tuple[float, float] | None = None, *, coloured: bool = False
) -> None:
    """Draw the lines from above.

    Args:
        axes: Empty ones.
        lines: In order.
        ends: Of the axis; by default all fits.
        coloured: Names bear the colours of their dots.
    """
    shown = [(y, line) for y, line in enumerate(lines) if isinstance(line, Difference)]
    # The line at none is left out where words stand.
    for together, run in groupby(enumerate(lines), lambda one: isinstance(one[1], Difference)):
        places = [y for y, _ in run]
        if together:
            axes.plot([0.0, 0.0], [places[0] - 0.5, places[-1] + 0.5], color=MUTED, linewidth=1.0)
    for y, line in shown:
        _mark(axes, y, line, ends)
    figure = axes.get_figure(root=True)
    longest = max(len(line.name) for _, line in shown)
    room = LETTERS_AN_INCH * figure.get_figwidth() - longest if figure else 0.0
    for y, words in enumerate(lines):
        if isinstance(words, Heading):
            # One that is longer than the axis ends with it, and begins above the names.
            long = len(words.text) > room
            weight: dict[str, Any] = {"color": MUTED} if words.quiet else {"color": INK, "fontweight": "bold"}
            axes.annotate(
                words.text,
                (1.0 if long else 0.005, y),
                xycoords=axes.get_yaxis_transform(),
                ha="right" if long else "left",
                va="center",
                fontsize=7.5,
                **weight,
            )
    axes.set_yticks([y for y, _ in shown], [line.name for _, line in shown], fontsize=7.5)
    if coloured:
        for label, (_, line) in zip(axes.get_yticklabels(), shown, strict=True):
            label.set_color(line.look.colour)
    axes.set_ylim(len(lines) - 0.4, -0.7)
    if ends:
        axes.set_xlim(*ends)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _mark(axes: Axes, y: float, line: Difference, ends: tuple[float, float] | None) -> None:
    """A dot with its interval, or where it lies if that is left of the axis."""
    style: dict[str, Any] = {"color": line.look.colour, "markersize": 5}
    style |= {} if line.filled else {"markerfacecolor": "none"}
    if ends and line.mean < ends[0]:
        x = ends[0] + 0.012 * (ends[1] - ends[0])
        (mark,) = axes.plot([x], [y], marker="<", **style)
        beside: dict[str, Any] = {"xytext": (5, 0), "textcoords": "offset points"}
        axes.annotate(line.beyond, (x, y), va="center", fontsize=7, color=MUTED, **beside)
    else:
        low, high = (max(line.low, ends[0]), min(line.high, ends[1])) if ends else (line.low, line.high)
        axes.plot([low, high], [y, y], color=line.look.colour, linewidth=1.6 if line.filled else 1.0)
        (mark,) = axes.plot([line.mean], [y], marker=line.look.marker, **style)
    if line.told:
        hint(mark, line.told)

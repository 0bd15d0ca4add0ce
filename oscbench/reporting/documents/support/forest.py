"""A forest plot as two SVG files, for light and for dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib

from oscbench import words
from oscbench.analysis.comparison import Comparison
from oscbench.reporting.documents import picture
from oscbench.reporting.page.figure import canvas, finish
from oscbench.reporting.page.forest import Difference, draw_forest
from oscbench.reporting.page.style import INK, look_of, settings

_INCHES = 7.2  # of a page's column, where names and suites of entries leave room for the differences


class Row(NamedTuple):
    """One difference: what is compared where, and the comparison."""

    name: str
    comparison: Comparison


def forest(name: str, title: str, rows: Sequence[Row]) -> tuple[str, dict[str, str]]:
    """Differences with their 95 % intervals below one another, the treatment's better side marked on the axis.

    Args:
        name: Of the files, `NAME-light.svg` and `NAME-dark.svg`.
        title: What is shown, for those who do not see it.
        rows: Comparisons of one unit that have an interval.

    Returns:
        The Markdown that shows it, and the files.
    """
    unit, direction = rows[0].comparison.unit, rows[0].comparison.direction
    lines = [line for row in rows if (line := _line(row))]
    with matplotlib.rc_context(settings()):
        figure, axes = canvas(0.8 + 0.24 * len(rows))
        figure.set_figwidth(_INCHES)
        draw_forest(axes, lines)
        better = "\u2190 better" if direction == "lower" else "better \u2192"
        axes.set_xlabel(f"difference [{words.difference_unit(unit)}]   {better}", color=INK)
        svg = finish(figure, name, "forest", title, title).svg
    told = "; ".join(f"{row.name} {_told(row.comparison)}" for row in rows)
    return picture(name, svg, f"{title}: {told}")


def _line(row: Row) -> Difference | None:
    """A difference as it is, in its own direction."""
    paired = row.comparison.paired
    if paired is None:
        return None
    scale = 100.0 if row.comparison.unit == "fraction" else 1.0
    low, mean, high = (scale * value for value in (paired.interval.low, paired.mean, paired.interval.high))
    return Difference(row.name, low, mean, high, look_of(row.comparison.pair.treatment))


def _told(comparison: Comparison) -> str:
    paired = comparison.paired
    if paired is None:
        return words.MISSING
    ends = words.interval(paired.interval.low, paired.interval.high, comparison.unit)
    return f"{words.difference(paired.mean, comparison.unit)} {ends}"

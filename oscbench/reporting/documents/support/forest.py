"""A forest plot as two SVG files, for light and for dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib
from matplotlib.figure import Figure

from oscbench import words
from oscbench.analysis.comparison import Comparison
from oscbench.reporting.documents import picture
from oscbench.reporting.page.figure import finish
from oscbench.reporting.page.forest import Difference, Heading, Line, draw_forest
from oscbench.reporting.page.style import INK, look_of, settings

_INCHES = 7.2  # of a page's column, where names and suites of entries leave room for the differences


class Row(NamedTuple):
    """One difference: what is compared where, the comparison, and the words that it stands under with the rows around it."""

    name: str
    comparison: Comparison
    group: str = ""


def forest(name: str, title: str, *panels: Sequence[Row]) -> tuple[str, dict[str, str]]:
    """Differences with their 95 % intervals below one another, the treatment's better side marked on the axis.

    Dots of comparisons that their suite did not declare beforehand are empty.

    Args:
        name: Of the files, `NAME-light.svg` and `NAME-dark.svg`.
        title: What is shown, for those who do not see it.
        panels: Comparisons of one unit that have an interval; each panel has an axis of its own.

    Returns:
        The Markdown that shows it, and the files.
    """
    drawn = [_lines(rows) for rows in panels]
    rows = [row for panel in panels for row in panel]
    first = rows[0].comparison
    what = unit_of(first)
    better = "\u2190 better" if first.direction == "lower" else "better \u2192"
    explored = any(not _declared(row) for row in rows)
    with matplotlib.rc_context(settings()):
        heights = [0.5 + 0.22 * len(lines) for lines in drawn]
        figure = Figure(figsize=(_INCHES, 0.3 + sum(heights)), layout="constrained")
        for axes, lines in zip(
            figure.subplots(len(drawn), 1, height_ratios=heights, squeeze=False)[:, 0], drawn, strict=True
        ):
            draw_forest(axes, lines)
        note = "\nempty dots: not declared beforehand" if explored else ""
        axes.set_xlabel(f"difference [{what}]   {better}{note}", color=INK)
        svg = finish(figure, name, "forest", title, title).svg
    told = "; ".join(f"{_headed(row)} {_told(row.comparison)}" for row in rows)
    return picture(name, svg, f"{title}: {told}")


def unit_of(comparison: Comparison) -> str:
    """What a difference is in: points, its unit, or what has none (`Test perplexity`)."""
    unit = comparison.unit
    return comparison.metric_label.split(",")[0] if unit in ("", "1") else words.difference_unit(unit)


def _headed(row: Row) -> str:
    return f"{row.group}, {row.name}:" if row.group else row.name


def _declared(row: Row) -> bool:
    return row.comparison.role == "confirms"


def _lines(rows: Sequence[Row]) -> list[Line]:
    """The rows from above, each group under its words."""
    found: list[Line] = []
    group = ""
    for row in rows:
        if row.group != group:
            group = row.group
            found.append(Heading(group))
        found += [line] if (line := _line(row)) else []
    return found


def _line(row: Row) -> Difference | None:
    """A difference as it is, in its own direction."""
    paired = row.comparison.paired
    if paired is None:
        return None
    scale = 100.0 if row.comparison.unit == "fraction" else 1.0
    low, mean, high = (scale * value for value in (paired.interval.low, paired.mean, paired.interval.high))
    look = look_of(row.comparison.pair.treatment)._replace(marker="o")
    return Difference(row.name, low, mean, high, look, filled=_declared(row))


def _told(comparison: Comparison) -> str:
    paired = comparison.paired
    if paired is None:
        return words.MISSING
    ends = words.interval(paired.interval.low, paired.interval.high, comparison.unit)
    return f"{words.difference(paired.mean, comparison.unit)} {ends}"

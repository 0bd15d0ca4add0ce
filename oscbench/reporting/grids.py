"""Values of one setting side by side: does a mechanism need it tuned, and anew for each task?

A grid in a suite gives entries whose variant is the setting, `gamma=0.05`. In each section every value is compared with the best one, paired
by seed and Holm-corrected over the values; over sections with the same grid it is asked whether one value serves them all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import matplotlib
import numpy as np
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from oscbench.reporting import formats
from oscbench.reporting.answer import Answer
from oscbench.reporting.comparison import Comparison, compare, correct
from oscbench.reporting.drawing import Picture, axis_label, canvas, finish, legend, scaled
from oscbench.reporting.frame import headline
from oscbench.reporting.sections import Section, Standing
from oscbench.reporting.selection import Entry, Pair
from oscbench.reporting.statistics import mean_interval
from oscbench.reporting.style import Look, settings
from oscbench.reporting.tables import Cell, Column, Table, anchor, identify
from oscbench.reporting.varied import label_parts, listed
from oscbench.reporting.varied_view import VariedView

_ONE_NUMBER = re.compile(r"([A-Za-z_]\w*)=([-+]?[\d.]+(?:e[-+]?\d+)?)")
_SELECTION = "the best value was picked on the numbers that it is compared on, which flatters it"


@dataclass(frozen=True)
class Grid:
    """One mechanism at several values of one setting in a section, ascending."""

    section: Section
    mechanism: str
    key: str
    points: tuple[tuple[float, Standing], ...]

    @property
    def values(self) -> list[float]:
        """What the setting was."""
        return [value for value, _ in self.points]

    @cached_property
    def means(self) -> dict[float, float]:
        """Mean headline over seeds at each value."""
        return {value: float(np.mean(_results(standing))) for value, standing in self.points}

    @cached_property
    def best(self) -> float:
        """The value with the best mean; the smallest of equals."""
        sign = -1 if self.section.direction == "higher" else 1
        return min(self.means, key=lambda value: (sign * self.means[value], value))

    @cached_property
    def against_best(self) -> dict[float, Comparison]:
        """Every other value minus the best one, corrected over them."""
        standings = dict(self.points)
        cells = {s.entry: s.cells for s in standings.values()}
        names = {s.entry: f"{self.key} {value:g}" for value, s in self.points}
        top = standings[self.best].entry
        others = [value for value in self.values if value != self.best]
        found = [compare(Pair(standings[value].entry, top), names, cells, {}) for value in others]
        return dict(zip(others, correct(found), strict=True))

    @property
    def worse(self) -> list[float]:
        """Values that are clearly worse than the best."""
        return [value for value, c in self.against_best.items() if c.verdict == "worse"]

    @property
    def loss(self) -> dict[float, float]:
        """How far each value's mean is from the best one's, 0 or worse, in the metric's unit."""
        return {value: abs(mean - self.means[self.best]) for value, mean in self.means.items()}


def _results(standing: Standing) -> list[float]:
    return [headline(record) for record in standing.finished]


def grids(sections: Sequence[Section]) -> list[Grid]:
    """Every mechanism with at least three finished values of one setting in a section where better has a direction."""
    found = []
    for section in sections:
        if section.direction not in ("higher", "lower") or section.split:
            continue
        groups: dict[tuple[str, str], dict[float, Standing]] = {}
        for standing in section.standings:
            match = _ONE_NUMBER.fullmatch(standing.entry.variant)
            if match and standing.finished:
                key = (standing.entry.mechanism, match[1])
                groups.setdefault(key, {})[float(match[2])] = standing
        found += [
            Grid(section, mechanism, key, tuple(sorted(points.items())))
            for (mechanism, key), points in groups.items()
            if len(points) > 2
        ]
    return found


def grid_views(sections: Sequence[Section], looks: Mapping[str, Look]) -> tuple[VariedView, ...]:
    """One view for each mechanism and setting, over all sections that have the same values of it."""
    groups: dict[tuple[str, str, tuple[float, ...]], list[Grid]] = {}
    for grid in grids(sections):
        groups.setdefault((grid.mechanism, grid.key, tuple(grid.values)), []).append(grid)
    return tuple(_view(same, looks) for same in groups.values())


def _view(same: Sequence[Grid], looks: Mapping[str, Look]) -> VariedView:
    first = same[0]
    where = ", ".join(label_parts(grid.section.suite)[0] for grid in same)
    slug = formats.slug(f"{first.mechanism} {first.key} {where}")
    together = [over_tasks(same)] if len({grid.section.task for grid in same}) > 1 else []
    return VariedView(
        points=frozenset(),
        slug=slug,
        title=f"{first.mechanism}: {first.key} ({where})",
        description=f"Values of {first.key} side by side, everything else equal.",
        answers=(*together, *(in_words(grid) for grid in same)),
        facts=(
            ("Values", listed(first.values)),
            ("Corrected", "Holm over the values of a task; each is compared with the best one of that task"),
        ),
        tables=(values_table(slug, same),),
        pictures=tuple(picture(slug, grid, looks) for grid in same),
    )


def in_words(grid: Grid) -> Answer:
    """Which value is best on a task, which are clearly worse, and which might be as good."""
    unit, best = grid.section.unit, grid.best
    worse = [
        f"{value:g} ({formats.difference(c.paired.mean, unit)})"
        for value, c in grid.against_best.items()
        if c.verdict == "worse" and c.paired
    ]
    others = [value for value in grid.against_best if value not in grid.worse]
    parts = [f"best at {grid.key} {best:g} ({formats.quantity(grid.means[best], unit)})"]
    parts += [f"clearly worse: {', '.join(worse)}"] if worse else []
    parts += [f"not told apart from it: {listed(others)}"] if others else []
    seeds = max((c.paired.n for c in grid.against_best.values() if c.paired), default=0)
    parts.append(f"{seeds} paired seeds, Holm over {len(grid.against_best)} tests")
    weak = [
        value for value, c in grid.against_best.items() if c.verdict in ("underpowered", "missing", "refused")
    ]
    caveats = [f"nothing could have been told of {listed(weak)} with so few seeds"] if weak else []
    verdict = "Matters" if worse else "No clear difference"
    head = (
        f"{grid.mechanism}: {grid.key} on {formats.lowered(grid.section.task_label)} ({grid.section.suite})"
    )
    return Answer(head, "; ".join(parts) + ".", verdict, (*caveats, formats.capitalised(_SELECTION)), ())


def over_tasks(same: Sequence[Grid]) -> Answer:
    """Whether one value serves every task: one that is on none of them clearly worse than the best one there."""
    first = same[0]
    serving = [value for value in first.values if not any(value in grid.worse for grid in same)]
    alike = len({(grid.section.unit, grid.section.metric_label) for grid in same}) == 1
    largest = {value: max(grid.loss[value] for grid in same) for value in serving or first.values}
    single = min(largest, key=lambda value: (largest[value], value))
    apart = "; ".join(f"{grid.best:g} on {formats.lowered(grid.section.task_label)}" for grid in same)
    loss = (
        f", at most {formats.difference(largest[single], first.section.unit)[1:]} from the best on any"
        if alike
        else ""
    )
    if serving:
        text = (
            f"{first.key} {listed(serving)} {'is' if len(serving) == 1 else 'are'} on none of {len(same)} tasks clearly worse than the "
            f"best value there ({apart}): no need to tune it for each task was seen; {single:g} serves all{loss}."
        )
    else:
        text = (
            f"every {first.key} is clearly worse than the best value on one of {len(same)} tasks ({apart}): tuning for each task pays; "
            f"the best compromise is {single:g}{loss}."
        )
    head = f"{first.mechanism}: one {first.key} for all tasks?"
    return Answer(
        head,
        text,
        "One value serves all" if serving else "Needs tuning",
        (formats.capitalised(_SELECTION),),
        (),
    )


def values_table(slug: str, same: Sequence[Grid]) -> Table:
    """Every value on every task: mean, distance from the best, p and verdict."""
    headings = ("Result", "Minus the best", "95 % interval", "p (Holm)", "Seeds")
    key = same[0].key
    columns = (Column("Task", "left"), Column(key), *(Column(h) for h in headings), Column("Verdict", "left"))
    rows, raw, links = [], [], []
    for grid in same:
        unit = grid.section.unit
        for value, standing in grid.points:
            found = _results(standing)
            ends = mean_interval(found)
            c = grid.against_best.get(value)
            paired = c.paired if c else None
            shown = (
                f"{formats.quantity(grid.means[value], unit)} {formats.half_width(ends.low, ends.high, unit)}"
            )
            rows.append(
                (
                    Cell(f"{grid.section.task_label} ({grid.section.suite})"),
                    Cell(f"{value:g}", value),
                    Cell(shown.strip(), grid.means[value]),
                    Cell(formats.difference(paired.mean, unit), paired.mean)
                    if paired
                    else Cell(formats.MISSING),
                    Cell(
                        formats.interval(paired.interval.low, paired.interval.high, unit), paired.interval.low
                    )
                    if paired and paired.interval.exists
                    else Cell(formats.MISSING),
                    Cell(formats.p_value(c.p_holm), c.p_holm) if c and paired else Cell(formats.MISSING),
                    Cell(str(len(found)), float(len(found))),
                    Cell("best" if c is None else c.verdict),
                )
            )
            raw.append(
                identify(grid.section, standing)
                | {"setting": grid.key, "value": value, "mean": grid.means[value], "unit": unit}
                | {"t_low": ends.low, "t_high": ends.high, "seeds": len(found)}
                | {
                    "minus_best": paired.mean if paired else None,
                    "p_holm": c.p_holm if paired and c else None,
                }
            )
            links.append(anchor(standing))
    caption = (
        f"{same[0].section.metric_label} at each {key}, mean ± 95 % t interval over seeds, and paired differences from the best value of the "
        "same task"
    )
    return Table(f"{slug}-values", caption, columns, tuple(rows), tuple(raw), tuple(links))


def picture(slug: str, grid: Grid, looks: Mapping[str, Look]) -> Picture:
    """The headline metric against the setting, with the other entries of the section as level lines."""
    section = grid.section
    with matplotlib.rc_context(settings()):
        figure, axes = canvas(2.8)
        look = looks[grid.points[0][1].name]
        found = [_results(standing) for _, standing in grid.points]
        means = [float(np.mean(one)) for one in found]
        ends = [mean_interval(one) for one in found]
        low = [m - i.low if i.exists else 0.0 for m, i in zip(means, ends, strict=True)]
        high = [i.high - m if i.exists else 0.0 for m, i in zip(means, ends, strict=True)]
        # By place, not by size: a grid holds 0 as often as powers.
        x = np.arange(len(means))
        axes.errorbar(
            x,
            scaled(means, section.unit),
            yerr=scaled([low, high], section.unit),
            label=grid.mechanism,
            color=look.colour,
            marker=look.marker,
            markersize=4,
            linewidth=1.3,
            elinewidth=0.9,
        )
        inside = {standing.entry for _, standing in grid.points}
        words = [
            f"{formats.quantity(m, section.unit)} at {v:g}" for v, m in zip(grid.values, means, strict=True)
        ]
        for standing in _others(section, inside):
            level = float(np.mean(_results(standing)))
            axes.axhline(
                float(scaled(level, section.unit)),
                color=looks[standing.name].colour,
                linestyle="--",
                linewidth=1.0,
                label=standing.name,
            )
            words.append(f"{standing.name} {formats.quantity(level, section.unit)}")
        axes.xaxis.set_major_locator(FixedLocator(list(x)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda place, _: f"{grid.values[round(place)]:g}"))
        axes.set_xlabel(grid.key)
        title = f"{section.metric_label} against {grid.key}, {formats.lowered(section.task_label)}"
        axes.set_title(axis_label(title, section.unit))
        legend(figure, axes)
        alt = f"Line: {title}, mean and 95 % interval over seeds. {'; '.join(words)}."
        return finish(figure, f"{slug}-{section.slug}", "grid", title, alt)


def _others(section: Section, inside: set[Entry]) -> list[Standing]:
    """Entries that are no point of any grid: those a reader measures the grid by."""
    return [
        s
        for s in section.standings
        if s.finished and s.entry not in inside and not _ONE_NUMBER.fullmatch(s.entry.variant)
    ]

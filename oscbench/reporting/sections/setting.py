"""Values of one setting side by side: does a mechanism need it tuned, and anew for each task?

A grid in a suite gives entries whose variant ends in the setting, `gamma=0.05`. In each section one permutation test over all values
says whether the setting matters at all, and of each value whether it is worse than the best, which was picked on the same numbers
(`oscbench.analysis.sweeps.setting`). Over sections with the same setting it is asked whether one value serves them all.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from oscbench import words
from oscbench.analysis.comparison import Comparison
from oscbench.analysis.experiment import Standing, anchor, identify
from oscbench.analysis.selection import Entry
from oscbench.analysis.statistics.seeds import ALPHA, mean_interval
from oscbench.analysis.study import Study
from oscbench.analysis.sweeps.setting import UNDECIDED, Grid, grids
from oscbench.analysis.sweeps.sweep import listed
from oscbench.reporting.page.blocks import FRONT, Block, Folded, Verdict
from oscbench.reporting.page.comparisons import difference_columns
from oscbench.reporting.page.figure import (
    Picture,
    Plan,
    axis_label,
    canvas,
    finish,
    legend,
    line_of_means,
    scaled,
)
from oscbench.reporting.page.scores import mean_cell
from oscbench.reporting.page.style import look_of, settings
from oscbench.reporting.page.svg import hint
from oscbench.reporting.page.table import Cell, Reads, Table, count_cell
from oscbench.reporting.page.verdict import Answer

_CLOSED = "p (closed)"
_SELECTION = "The best value was picked on the numbers that it is compared on, which flatters its size; the test allows for that"


def in_words(grid: Grid) -> Answer:
    """Whether the setting matters on a task, which value is best, which are clearly worse, and which might be as good."""
    unit, best = grid.experiment.unit, grid.best
    worse = [
        f"{value:g} ({words.difference(c.paired.mean, unit)})"
        for value, c in grid.against_best.items()
        if value in grid.worse and c.paired
    ]
    others = [v for v in grid.against_best if v not in grid.worse and v not in grid.undecided]
    parts = [f"best at {grid.key} {best:g} ({words.quantity(grid.means[best], unit)})"]
    parts += [f"clearly worse: {', '.join(worse)}"] if worse else []
    parts += [f"not told apart from it: {listed(others)}"] if others else []
    parts += [f"undecided: {listed(grid.undecided)}"] if grid.undecided else []
    counts = sorted({c.paired.n for c in grid.against_best.values() if c.paired})
    parts.append(
        f"{' to '.join(map(str, counts[:: len(counts) - 1 or 1]))} paired seeds"
        if counts
        else "no paired seed"
    )
    if math.isnan(grid.p):
        verdict = "Undecided: too few seeds"
    else:
        parts.append(
            f"p {'' if grid.p < 0.001 else '= '}{words.p_value(grid.p)} that no value differs from another"
        )
        verdict = "Matters" if grid.p <= ALPHA else "No clear difference"
    notes = (
        [f"{grid.key} {listed(grid.lost)} lost seeds that others finished, so cannot be the best"]
        if grid.lost
        else []
    )
    notes += [
        note for c in grid.against_best.values() for note in c.caveats if grid.lost or c.verdict in UNDECIDED
    ]
    notes += [c.reason for c in grid.against_best.values() if c.reason]
    caveats = [words.capitalised(note) for note in dict.fromkeys(notes)]
    return Answer(
        f"{grid.label}: {grid.key} on {grid.place}",
        "; ".join(parts) + ".",
        verdict,
        (*caveats[:2], _SELECTION),
        tuple(caveats[2:]),
    )


def over_tasks(same: Sequence[Grid]) -> list[Answer]:
    """Whether one value serves every task: whether one is on none of them clearly worse than the best there. Nothing for a single task."""
    tasks = {grid.experiment.task for grid in same}
    common = sorted(set.intersection(*({value for value, _ in grid.points} for grid in same)))
    if len(tasks) < 2 or len(common) < 2:
        return []
    key = same[0].key
    best = "; ".join(f"{grid.best:g} on {grid.place}" for grid in same)
    serving = [v for v in common if not any(v in grid.worse or v in grid.lost for grid in same)]
    undecided = [grid for grid in same if math.isnan(grid.p) or grid.undecided]
    loss = _compromise(same, common)
    if undecided:
        verdict, text = (
            "Undecided: too few seeds",
            f"best at {best}; {len(undecided)} of {len(same)} could not be decided{loss}.",
        )
    elif serving:
        are = "is" if len(serving) == 1 else "are"
        verdict = "No need of tuning seen"
        text = f"{key} {listed(serving)} {are} on none of {len(tasks)} tasks clearly worse than the best there (best at {best}){loss}."
    else:
        verdict = "Needs tuning"
        text = f"every common {key} is clearly worse than the best on one of {len(tasks)} tasks (best at {best}){loss}."
    return [Answer(f"{same[0].label}: one {key} for all tasks?", text, verdict, (_SELECTION,), ())]


def _compromise(same: Sequence[Grid], common: Sequence[float]) -> str:
    """The value that loses least where it loses most, in words; empty where results of unlike kinds cannot be weighed."""
    first = same[0].experiment
    candidates = [value for value in common if all(value in grid.whole for grid in same)]
    if len({(g.experiment.unit, g.experiment.metric_label) for g in same}) > 1 or not candidates:
        return ""
    loss = {v: max(abs(grid.means[v] - grid.means[grid.best]) for grid in same) for v in candidates}
    least = min(candidates, key=lambda value: (loss[value], value))
    told = f"; {least:g} for all of them loses at most {words.difference(loss[least], first.unit).lstrip('+')} on any"
    compared = [grid.against_best[least].paired for grid in same if grid.best != least]
    ends = [
        max(abs(one.interval.low), abs(one.interval.high)) for one in compared if one and one.interval.exists
    ]
    return (
        f"{told} (up to {words.difference(max(ends), first.unit).lstrip('+')} within its 95 % interval)"
        if ends
        else told
    )


def values_table(slug: str, same: Sequence[Grid]) -> Table:
    """Every value on every task: mean, distance from the best, p and verdict."""
    key = same[0].key
    caption = (
        f"{same[0].experiment.metric_label} at each {key}, mean ± 95 % t interval over seeds, and paired differences from the best value of "
        "the same task"
    )
    points = [_Point(grid, value, standing) for grid in same for value, standing in grid.points]
    columns: list[Reads[_Point]] = [
        Reads("Task", lambda p: f"{p.grid.experiment.task_label} ({p.grid.experiment.suite})", "left"),
        Reads(key, lambda p: Cell(f"{p.value:g}", p.value)),
        Reads("Result", _result),
        *(
            replace(one, heading=_CLOSED) if one.heading == "p (Holm)" else one
            for one in difference_columns("Minus the best", _compared)
            if one.heading != "p"
        ),
        Reads("Seeds", lambda p: count_cell(len(p.standing.values))),
        Reads("Verdict", _verdict, "left"),
    ]
    return Table.of(f"{slug}-values", caption, columns, points, _raw, lambda p: anchor(p.standing))


class _Point(NamedTuple):
    """A value of a setting on a task."""

    grid: Grid
    value: float
    standing: Standing


def _compared(point: _Point) -> Comparison | None:
    """With the best value; None for itself, and for one that no seed finished."""
    return point.grid.against_best.get(point.value)


def _result(point: _Point) -> Cell | str:
    results = point.standing.values
    return mean_cell(results, point.grid.experiment.unit) if results else words.MISSING


def _verdict(point: _Point) -> str:
    if not point.standing.values:
        return ", ".join(sorted({record.status for record in point.standing.cells}))
    c = _compared(point)
    if c is None:
        return "best"
    worse_alone = c.verdict == "worse" and point.value not in point.grid.worse
    return "no clear difference" if worse_alone else c.verdict_in_words


def _raw(point: _Point) -> dict[str, Any]:
    grid, results, c = point.grid, point.standing.values, _compared(point)
    raw = identify(grid.experiment, point.standing) | {"setting": grid.key, "value": point.value}
    raw |= {"unit": grid.experiment.unit, "seeds": len(results)}
    if results:
        ends = mean_interval(results)
        raw |= {"mean": float(np.mean(results)), "t_low": ends.low, "t_high": ends.high}
    if c and c.paired:
        raw |= {"minus_best": c.paired.mean, "p_closed": c.p_holm}
    return raw


def picture(name: str, grid: Grid) -> Picture:
    """The headline metric against the setting, with the other entries of the section as level lines."""
    experiment = grid.experiment
    shown = [(value, standing) for value, standing in grid.points if standing.finished]
    with matplotlib.rc_context(settings()):
        figure, axes = canvas(2.8)
        look = look_of(Entry(shown[0][1].entry.mechanism, "default"))
        found = [standing.values for _, standing in shown]
        means = [float(np.mean(one)) for one in found]
        points = [(mean, mean_interval(one)) for mean, one in zip(means, found, strict=True)]
        # By place, not by size: a grid holds 0 as often as powers.
        x = np.arange(len(means), dtype=np.float64)
        line = line_of_means(axes, x, points, experiment.unit, grid.label, look)
        phrases = [
            f"{words.quantity(m, experiment.unit)} at {v:g}" for (v, _), m in zip(shown, means, strict=True)
        ]
        hint(line, grid.label, (f"mean {text}" for text in phrases))
        for standing in grid.others:
            level = float(np.mean(standing.values))
            level_line = axes.axhline(
                float(scaled(level, experiment.unit)),
                color=look_of(standing.entry).colour,
                linestyle="--",
                linewidth=1.0,
                label=standing.name,
            )
            hint(level_line, f"{standing.name}: mean {words.quantity(level, experiment.unit)}")
            phrases.append(f"{standing.name} {words.quantity(level, experiment.unit)}")
        axes.xaxis.set_major_locator(FixedLocator(list(x)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda place, _: f"{shown[round(place)][0]:g}"))
        axes.set_xlabel(grid.key)
        title = f"{experiment.metric_label} against {grid.key}, {words.lowered(experiment.task_label)}"
        axes.set_title(axis_label(experiment.metric_label, experiment.unit))
        legend(figure, axes)
        alt = f"Line: {title}, mean and 95 % interval over seeds. {'; '.join(phrases)}."
        return finish(figure, name, "grid", title, alt)


def _slug(same: Sequence[Grid]) -> str:
    """The names of many suites together would be longer than a file's name may be."""
    mark = hashlib.sha256(" ".join(grid.experiment.slug for grid in same).encode()).hexdigest()[:6]
    return words.slug(f"{same[0].name} {same[0].key} {mark}")


class SettingSection:
    """Every mechanism that ran with several values of one setting: does it need tuning, and anew for each task?"""

    title = "Values of a setting"
    rank = 35
    page = FRONT

    def blocks(self, study: Study) -> list[Block]:
        """One card a setting over all tasks; what each task says behind a fold."""
        groups: dict[tuple[str, str], list[Grid]] = {}
        for grid in grids(study.single):
            groups.setdefault((grid.name, grid.key), []).append(grid)
        found: list[Block] = []
        for same in groups.values():
            slug = _slug(same)
            each: list[Block] = [Verdict(in_words(grid)) for grid in same]
            found += [Verdict(one) for one in over_tasks(same)]
            drawn = [Plan(1, partial(picture, f"{slug}-{place}", grid)) for place, grid in enumerate(same, 1)]
            suites = ", ".join(dict.fromkeys(grid.experiment.suite for grid in same))
            inside = (*each, *drawn, values_table(slug, same))
            found.append(Folded(f"{same[0].label}: every {same[0].key} ({suites})", inside))
        return found


section = SettingSection

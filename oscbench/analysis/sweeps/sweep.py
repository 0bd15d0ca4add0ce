"""Suites that vary over a number: the headline metric against it, and what is different where.

The points of a varied suite are sections of their own, and cells are compared inside a point only. Here they stand side by side: one test a
pair over all values says whether it differs, and its tests at single values, corrected over them, where.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from oscbench import words
from oscbench.analysis.comparison import Comparison, Costs
from oscbench.analysis.experiment import Experiment, Standing
from oscbench.analysis.fairness import control_notes, origin_notes
from oscbench.analysis.frame import headline
from oscbench.analysis.selection import Entry, Pair
from oscbench.analysis.statistics.seeds import compare_paired
from oscbench.records import Record
from oscbench.settings import SPENT, name_of

_CHANGES = re.compile(r",(?=[A-Za-z_][\w.-]*=)")


class Tested(NamedTuple):
    """One pair at one value; its p is Holm-corrected over the values at which the pair was tested."""

    value: float
    experiment: Experiment
    comparison: Comparison


@dataclass(frozen=True)
class Sweep:
    """The points of a suite that differ in one number.

    Attributes:
        suite: its name, with other changes than that number if there are any.
        key: path of the number, as in task.fraction.
        points: (value, section), ascending.
        left_out: labels of points that are never compared, with the reason.
        overall: every pair over all values, as `over_values` has it, corrected.
    """

    suite: str
    key: str
    points: tuple[tuple[float, Experiment], ...]
    left_out: tuple[str, ...]
    overall: tuple[Comparison, ...] = ()

    @property
    def slug(self) -> str:
        """Name for anchors and files."""
        return words.slug(f"{self.suite} {self.last.task} over {self.key}")

    @property
    def title(self) -> str:
        """The task, what varies, and the suite."""
        return f"{self.last.task_label} over {self.axis} ({self.suite})"

    @property
    def axis(self) -> str:
        """What varies, as people call it."""
        return name_of(self.key)

    @property
    def last(self) -> Experiment:
        """The point with the largest value."""
        return self.points[-1][1]

    @property
    def values(self) -> list[float]:
        """What the number was, ascending."""
        return [value for value, _ in self.points]

    @property
    def is_resource(self) -> bool:
        """Whether the number is of something that one would rather spend less of, on a metric where better has a direction."""
        return self.key in SPENT and self.last.direction in ("higher", "lower")

    @cached_property
    def names(self) -> list[str]:
        """Every entry with a finished cell at any point, by name."""
        return sorted({s.name for _, experiment in self.points for s in experiment.standings if s.finished})

    def standing(self, experiment: Experiment, name: str) -> Standing | None:
        """An entry at a point; None where it has no finished cell."""
        return next((s for s in experiment.standings if s.name == name and s.finished), None)

    def entry(self, name: str) -> Entry:
        """Which mechanism and variant a name means."""
        return next(s.entry for _, e in self.points for s in e.standings if s.name == name)

    def by_seed(self, experiment: Experiment, name: str) -> dict[int, float]:
        """Headline values of an entry at a point."""
        standing = self.standing(experiment, name)
        return {r.seed: headline(r) for r in standing.finished} if standing else {}

    @cached_property
    def tests(self) -> list[list[Tested]]:
        """For every pair its comparisons at all values."""
        pairs: dict[Pair, list[Tested]] = {}
        for value, experiment in self.points:
            for comparison in experiment.comparisons:
                pairs.setdefault(comparison.pair, []).append(Tested(value, experiment, comparison))
        return list(pairs.values())


def sweeps(experiments: Sequence[Experiment]) -> list[Sweep]:
    """Suites of which several labels differ in one number, `x[train.steps=100]` and `x[train.steps=200]`."""
    groups: dict[tuple[str, str, str], dict[float, Experiment]] = {}
    left_out: dict[tuple[str, str, str], set[str]] = {}
    for experiment in experiments:
        name, changes = label_parts(experiment.suite)
        for key, text in changes.items():
            value = _number(text)
            if value is None:
                continue
            rest = ",".join(f"{k}={v}" for k, v in changes.items() if k != key)
            group = (f"{name}[{rest}]" if rest else name, experiment.task, key)
            if experiment.split:
                left_out.setdefault(group, set()).add(f"{experiment.suite}: several protocols")
            elif groups.setdefault(group, {}).setdefault(value, experiment) is not experiment:
                left_out.setdefault(group, set()).add(f"{experiment.suite}: a second spelling of {value:g}")
    return [
        Sweep(suite, key, tuple(sorted(points.items())), tuple(sorted(left_out.get((suite, task, key), ()))))
        for (suite, task, key), points in groups.items()
        if len(points) > 1 and any(s.summary for experiment in points.values() for s in experiment.standings)
    ]


def label_parts(label: str) -> tuple[str, dict[str, str]]:
    """`x[a=1,b=[2,3]]` -> `x` and what was changed."""
    name, bracket, rest = label.partition("[")
    parts = _CHANGES.split(rest.removesuffix("]")) if bracket else []
    return name, {part.partition("=")[0]: part.partition("=")[2] for part in parts}


def varied_by(label: str) -> tuple[str, ...]:
    """A suite's name, and the names of what was changed in it: points that differ in the same things are of one question."""
    name, changes = label_parts(label)
    return (name, *sorted(changes))


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def over_values(sweep: Sweep) -> list[Comparison]:
    """Every pair over all values: seed by seed the mean over the values, so that a pair is one test; not corrected yet.

    The mean weighs all values alike: with values in equal ratios it is the area between the two curves over the logarithm of the number.
    """
    return [_over_values(sweep, tests) for tests in sweep.tests]


def _diverged(comparisons: Sequence[Comparison]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Seeds that each side lost at any value."""
    first, second = ({seed for c in comparisons for seed in c.diverged[side]} for side in (0, 1))
    return (tuple(sorted(first)), tuple(sorted(second)))


def _over_values(sweep: Sweep, tests: Sequence[Tested]) -> Comparison:
    parts = [one for one in tests if one.comparison.paired]
    first = (parts or tests)[0].comparison
    last = sweep.axis
    blank = replace(first, state="missing", seeds=(), first=(), second=(), paired=None, caveats=())
    if len(parts) < 2:
        refused = any(one.comparison.state == "refused" for one in tests)
        why = "; ".join(_told_where(last, [one for one in tests if one not in parts]))
        reason = f"compared at fewer than two values of {sweep.axis} ({why})"
        return replace(blank, state="refused" if refused else "missing", reason=reason)
    every = {seed for one in parts for seed in one.comparison.seeds}
    seeds = sorted(set.intersection(*(set(one.comparison.seeds) for one in parts)))
    if not seeds:
        return replace(blank, reason=f"no seed was finished at every value of {sweep.axis}")
    found = [[dict(zip(c.seeds, side, strict=True)) for side in (c.first, c.second)] for *_, c in parts]
    means = [tuple(float(np.mean([sides[i][seed] for sides in found])) for seed in seeds) for i in (0, 1)]
    costs = [one.comparison.costs for one in parts]
    lost = sorted(every - set(seeds))
    notes = [f"seeds {words.ranges(lost)} did not finish at every value: left out"] if lost else []
    low = [one for one in parts if one.comparison.withheld]
    if low and len(low) < len(parts):
        notes.append(f"at {last} {listed([one.value for one in low])} {low[0].comparison.withheld}")
    return replace(
        blank,
        metric_label=f"{first.metric_label}, mean over {last} {listed([one.value for one in parts])}",
        state="compared",
        reason="",
        seeds=tuple(seeds),
        first=means[0],
        second=means[1],
        # A fixed seed: the same records give the same page, digit for digit.
        paired=compare_paired(means[0], means[1], first.direction, np.random.default_rng(0)),
        withheld=low[0].comparison.withheld if len(low) == len(parts) else "",
        diverged=_diverged([one.comparison for one in parts]),
        costs=Costs(*(_end(min, [getattr(c, f.name) for c in costs]) for f in fields(Costs))),
        costs_to=Costs(*(_end(max, [getattr(c, f.name) for c in costs]) for f in fields(Costs))),
        caveats=(*notes, *_caveats_over(last, tests, parts)),
    )


def _end(choose: Callable[[Iterable[float]], float], values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return choose(finite) if finite else math.nan


def _told_where(last: str, tests: Sequence[Tested]) -> list[str]:
    """Why pairs were not compared, each reason once with its values."""
    where: dict[str, list[float]] = {}
    for one in tests:
        where.setdefault(f"{one.comparison.state}: {one.comparison.reason}", []).append(one.value)
    return [f"at {last} {listed(values)} {reason}" for reason, values in where.items()]


def _caveats_over(last: str, tests: Sequence[Tested], parts: Sequence[Tested]) -> list[str]:
    """What must be known of all cells, and of those at single values with the values that it holds for."""
    flat = [record for one in parts for record in _cells(one)]
    controls, origins = control_notes(flat), origin_notes(flat)
    where: dict[str, list[float]] = {}
    for one in parts:
        for note in one.comparison.caveats:
            if note not in controls and note not in origins:
                where.setdefault(note, []).append(one.value)
    found = [f"left out: {why}" for why in _told_where(last, [one for one in tests if one not in parts])]
    found += [
        note if len(values) == len(tests) else f"{note} (at {last} {listed(values)})"
        for note, values in where.items()
    ]
    return found + controls + origins


def _cells(one: Tested) -> list[Record]:
    pair = one.comparison.pair
    return [
        r for s in one.experiment.standings if s.entry in (pair.treatment, pair.baseline) for r in s.cells
    ]


def level_at_last(sweep: Sweep, tests: Sequence[Tested]) -> float | None:
    """The baseline's mean at the largest value; None where the pair is not compared there."""
    if not tests[-1].comparison.paired or tests[-1].experiment is not sweep.last:
        return None
    return float(np.mean(list(sweep.by_seed(sweep.last, tests[-1].comparison.baseline).values())))


def reaching_on_means(sweep: Sweep, tests: Sequence[Tested], name: str, level: float) -> float:
    """The smallest value at which an entry's mean over seeds is as good as `level`; NaN where none is.

    Only where the pair is compared: what is refused there has reached nothing.
    """
    means = {
        one.value: float(np.mean(list(sweep.by_seed(one.experiment, name).values())))
        for one in tests
        if one.comparison.paired
    }
    return smallest_reaching(means, level, sweep.last.direction)


def listed(values: Sequence[float]) -> str:
    """`0.05, 0.1 and 1`."""
    return words.listed([f"{value:g}" for value in values])


def smallest_reaching(values: Mapping[float, float], level: float, direction: str) -> float:
    """The smallest key whose value is as good as `level`; NaN where none is."""
    reached = [key for key, v in values.items() if (v <= level if direction == "lower" else v >= level)]
    return min(reached, default=math.nan)

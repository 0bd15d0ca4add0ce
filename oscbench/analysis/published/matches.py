"""Published numbers beside ours: the same quantity with a verdict, or both with the reason why they are not to be compared."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache

import numpy as np
from scipy import stats

from oscbench import words
from oscbench.analysis.experiment import Experiment, Standing
from oscbench.analysis.published.numbers import Published, read_published
from oscbench.analysis.published.rules import Answers, Rule, read_answers
from oscbench.analysis.statistics.seeds import (
    ALPHA,
    Interval,
    exact_proportion_interval,
    mean_interval,
    welch_interval,
)
from oscbench.records import Measurement, Record


@dataclass(frozen=True)
class Beside:
    """One published number and what we have for it.

    Attributes:
        standing: our entry.
        quantity: what both are.
        published: the row.
        theirs: its value [unit], and `std` over their seeds, `seeds` many (None where the source does not say).
        unit: of all values here.
        values: ours, one a seed.
        reasons: why the two are not the same quantity; empty where they are.
        notes: differences that do not change what is measured.
        failures: whether values are 1 for a failed seed.
    """

    standing: Standing
    rule: Rule
    published: Published
    theirs: float
    std: float | None
    seeds: int | None
    unit: str
    values: tuple[float, ...]
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    measure: str
    records: tuple[Record, ...]

    @property
    def same(self) -> bool:
        """Whether both are the same quantity."""
        return not self.reasons

    @property
    def ours(self) -> float:
        """Our mean, median or count."""
        if self.rule.failures_below is not None:
            return float(sum(self.values))
        return float(np.median(self.values) if self.rule.statistic == "median" else np.mean(self.values))

    @property
    def interval(self) -> Interval:
        """95 % interval of ours: of the mean, or of the share of failures."""
        if self.rule.failures_below is not None:
            return exact_proportion_interval(self.ours, len(self.values))
        return mean_interval(self.values)


@dataclass(frozen=True)
class _Found:
    """What our cells say on one rule."""

    measure: str
    unit: str
    values: tuple[float, ...]
    records: tuple[Record, ...]


@cache
def sources() -> tuple[Answers, tuple[Published, ...]]:
    """The rules and the published numbers, read once."""
    return read_answers(), tuple(read_published())


def beside(experiment: Experiment) -> tuple[Beside, ...]:
    """Every published number that concerns a section's task, the same quantities first."""
    answers, rows = sources()
    found: list[Beside] = []
    for rule in answers.rules:
        if rule.task not in ("*", experiment.task):
            continue
        for standing in experiment.standings:
            ours = _ours(rule, standing)
            if ours is not None:
                found += _nearest(
                    [_set(rule, standing, ours, row) for row in _theirs(rule, standing, answers, rows)]
                )
    return tuple(sorted(found, key=lambda b: not b.same))


def _ours(rule: Rule, standing: Standing) -> _Found | None:
    """The first measure of a rule that the cells have; a diverged cell counts as a failed seed."""
    known = sorted({name for r in standing.cells for name in r.measures})
    for name in (n for pattern in rule.measures for n in known if fnmatch(n, pattern)):
        cells = [r for r in standing.cells if r.status == "ok" and name in r.measures]
        pairs = [(r, v) for r in cells if (v := _value(r.measures[name], rule.detail)) is not None]
        if not pairs:
            continue
        kept, unit = [r for r, _ in pairs], pairs[0][0].measures[name].unit
        values = [v for _, v in pairs]
        if rule.failures_below is not None:
            lost = [r for r in standing.cells if r.status == "diverged"]
            return _Found(
                name,
                "1",
                (*(float(v < rule.failures_below) for v in values), *[1.0] * len(lost)),
                (*kept, *lost),
            )
        return _Found(name, unit, tuple(values), tuple(kept))
    return None


def _value(measured: Measurement, detail: str | None) -> float | None:
    here: object = measured.value
    if detail is not None:
        here = measured.details
        for step in detail.split("."):
            here = here.get(step) if isinstance(here, dict) else None
    return float(here) if isinstance(here, int | float) and math.isfinite(here) else None


def _theirs(rule: Rule, standing: Standing, answers: Answers, rows: Iterable[Published]) -> list[Published]:
    """The rows of a rule that are about this mechanism, a row's own baseline among them."""
    found = []
    for row in rows:
        if not rule.published.holds(row):
            continue
        if answers.mechanisms.get(row.mechanism) == standing.entry.mechanism:
            found.append(row)
        if rule.baseline_is == standing.entry.mechanism and row.baseline and "value" in row.baseline:
            own = {"value": row.baseline["value"], "std": row.baseline.get("std")}
            found.append(
                row.model_copy(update={**own, "mechanism": str(row.baseline.get("name", "baseline"))})
            )
    return found


def _set(rule: Rule, standing: Standing, ours: _Found, row: Published) -> Beside:
    record = ours.records[0]
    reasons = [d for c in rule.same if (d := c.difference(record, row))]
    if ours.measure in rule.not_theirs:
        reasons.append(rule.not_theirs[ours.measure])
    if rule.because:
        reasons.append(rule.because)
    return Beside(
        standing=standing,
        rule=rule,
        published=row,
        theirs=float(row.value) * rule.scale,
        std=None if (std := _spread(row)) is None else std * rule.scale,
        seeds=row.seeds if isinstance(row.seeds, int) else None,
        unit=ours.unit,
        values=ours.values,
        reasons=tuple(reasons),
        notes=tuple(d for c in rule.noted if (d := c.difference(record, row))),
        measure=ours.measure,
        records=ours.records,
    )


def _spread(row: Published) -> float | None:
    """Standard deviation over seeds: the source's, or that of the seeds which it lists."""
    if row.std is not None or not isinstance(row.per_seed, list) or len(row.per_seed) < 2:
        return row.std
    return float(np.std(row.per_seed, ddof=1))


def _nearest(found: list[Beside]) -> list[Beside]:
    """The same quantities, or where there is none the number that is unlike in the fewest ways."""
    same = [b for b in found if b.same]
    return same or sorted(found, key=lambda b: len(b.reasons))[:1]


def verdict(b: Beside) -> str:
    """What the two numbers say about each other, in words."""
    if not b.same:
        return "not comparable: " + "; ".join(b.reasons)
    notes = f"; noted: {'; '.join(b.notes)}" if b.notes else ""
    return _words(b) + notes


def _words(b: Beside) -> str:
    if b.rule.failures_below is not None:
        if not b.seeds:
            return "the source does not say of how many seeds"
        inside = b.interval.low <= b.theirs / b.seeds <= b.interval.high
        ends = f"[{100 * b.interval.low:.0f} %, {100 * b.interval.high:.0f} %]"
        told = f"their share is {'inside' if inside else 'outside'} our 95 % interval {ends}"
        ours = sum(value > 0 for value in b.values)
        theirs = round(b.theirs)
        p = float(stats.fisher_exact([[ours, len(b.values) - ours], [theirs, b.seeds - theirs]]).pvalue)
        open_ = f", but so few seeds on both sides leave that open (Fisher's exact p = {words.p_value(p)})"
        return told + (open_ if not inside and p > ALPHA else "")
    gap = b.ours - b.theirs
    if len(set(b.values)) == 1 and b.std is None:
        if abs(gap) <= b.rule.rounded_to / 2:
            return "equal" if not b.rule.rounded_to else "equal, to the rounding of the source"
        return f"differs by {words.difference(gap, b.unit)} ({words.relative(b.ours / b.theirs)})"
    shown = words.difference(gap, b.unit)
    if not b.interval.exists:
        return f"differs by {shown}; one seed of ours gives no interval"
    if b.interval.low <= b.theirs <= b.interval.high:
        return "inside our interval"
    both = welch(b)
    if both is None or not both.exists:
        return f"differs by {shown}, outside our interval"
    if both.low <= 0 <= both.high:
        return f"differs by {shown}, outside our interval, but the spread of both over seeds leaves that open"
    return f"differs by {shown}, outside our interval and beyond the spread of both over seeds"


def welch(b: Beside) -> Interval | None:
    """Interval of ours minus theirs; None where one of the two is no mean of seeds with a spread."""
    if b.std is None or b.seeds is None or b.rule.statistic != "mean" or b.rule.failures_below is not None:
        return None
    return welch_interval(b.values, b.theirs, b.std, b.seeds)

"""Cost against quality: which mechanisms nobody beats in both, for each kind of cost, with the intervals taken into account."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from oscbench import words
from oscbench.analysis.experiment import Section, Standing
from oscbench.analysis.fairness import machine, matching_mode
from oscbench.analysis.frame import value_of
from oscbench.analysis.statistics import mean_interval
from oscbench.records import Measurement
from oscbench.reporting.tables import Cell, Column, Table, identify

# Every kind of cost by the measures that can stand for it; the first one that cells have counts.
COSTS: dict[str, tuple[str, ...]] = {
    "Parameters": ("params",),
    "Forward FLOPs a sample": ("flops",),
    "Operations a sample": ("operations",),
    "Training time": ("training_s", "step_s"),
    "Peak memory": ("step_peak_memory_bytes", "forward_peak_memory_bytes"),
    "Energy": ("step_energy_j", "forward_energy_j"),
}
_ASKED_BY = {"Operations a sample": "operations", "Peak memory": "memory", "Energy": "energy"}
_OF_A_MACHINE = ("Training time", "Energy")
State = Literal["front", "unclear", "dominated"]


@dataclass(frozen=True)
class Point:
    """One mechanism's cost and quality, each a mean with the ends of its interval; a larger `quality` is better."""

    name: str
    cost: float
    cost_ends: tuple[float, float]
    quality: float
    quality_ends: tuple[float, float]


@dataclass(frozen=True)
class Place:
    """Where a point stands: on the front, dominated by some, or dominated only as far as the intervals can tell."""

    state: State
    by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Front:
    """One kind of cost over a section; `reason` says why there is no front."""

    cost: str
    measure: str
    unit: str
    label: str
    points: tuple[Point, ...]
    places: dict[str, Place]
    reason: str = ""

    @property
    def line(self) -> list[Point]:
        """The points on the front, the cheapest first."""
        kept = [p for p in self.points if self.places[p.name].state == "front"]
        return sorted(kept, key=lambda p: (p.cost, p.quality))


def places(points: Sequence[Point], tolerance: float = 0.0) -> dict[str, Place]:
    """Pareto's order, twice: once on the means, once on the ends of the intervals.

    A point is dominated on the means where another costs no more (within the relative tolerance) and is no worse, and is better in
    one of the two. It is clearly dominated where that holds whatever the true values inside both intervals are.
    """
    found: dict[str, Place] = {}
    for a in points:
        slack = tolerance * abs(a.cost)
        by = [b for b in points if b is not a and _beats(a, b, slack)]
        clear = [b for b in by if _surely_beats(a, b, slack)]
        if clear:
            found[a.name] = Place("dominated", tuple(b.name for b in sorted(clear, key=lambda b: -b.quality)))
        elif by:
            found[a.name] = Place("unclear", tuple(b.name for b in sorted(by, key=lambda b: -b.quality)))
        else:
            found[a.name] = Place("front")
    return found


def _beats(a: Point, b: Point, slack: float) -> bool:
    no_dearer, no_worse = b.cost <= a.cost + slack, b.quality >= a.quality
    return no_dearer and no_worse and (b.cost < a.cost - slack or b.quality > a.quality)


def _surely_beats(a: Point, b: Point, slack: float) -> bool:
    """NaN ends (one seed) compare false, so one seed never dominates clearly."""
    no_dearer = b.cost_ends[1] <= a.cost_ends[0] + slack
    better = b.quality_ends[0] > a.quality_ends[1]
    cheaper_and_equal = b.cost_ends[1] < a.cost_ends[0] - slack and b.quality_ends[0] >= a.quality_ends[1]
    return no_dearer and (better or cheaper_and_equal)


def fronts(section: Section) -> tuple[Front, ...]:
    """A front for each kind of cost, with the reason where there is none."""
    if section.direction not in ("higher", "lower"):
        return ()
    return tuple(_front(section, cost) for cost in COSTS)


def _front(section: Section, cost: str) -> Front:
    measure, found = known_measure(section, COSTS[cost])
    if found is None or measure is None:
        return Front(cost, "", "", cost, (), {}, missing_reason(section, COSTS[cost], _ASKED_BY.get(cost)))
    blank = Front(cost, measure, found.unit, found.label, (), {})
    finished = [r for s in section.standings for r in s.finished]
    if cost in _OF_A_MACHINE and len({machine(r) for r in finished}) > 1:
        return Front(
            cost, measure, found.unit, found.label, (), {}, "cells ran on more than one kind of machine"
        )
    points = [p for s in section.standings if (p := _point(section, s, measure))]
    tolerance = _tolerance(section, measure)
    return Front(cost, measure, blank.unit, blank.label, tuple(points), places(points, tolerance))


def known_measure(section: Section, names: Sequence[str]) -> tuple[str | None, Measurement | None]:
    """The first of some measures that any finished cell has a value of, and one such measurement."""
    for name in names:
        for standing in section.standings:
            for record in standing.finished:
                if math.isfinite(value_of(record, name)):
                    return name, record.measures[name]
    return None, None


def missing_reason(section: Section, names: Sequence[str], asked_by: str | None) -> str:
    """Why no cell has a value: the reason in the records, or that the suite does not ask."""
    reasons = {
        m.reason
        for s in section.standings
        for r in s.finished
        for n, m in r.measures.items()
        if n in names and m.reason
    }
    if reasons:
        return f"unavailable: {'; '.join(sorted(reasons))}"
    return f"not measured: the suite does not list the measure {asked_by or names[0]}"


def _tolerance(section: Section, measure: str) -> float:
    """Models matched in a cost count as equal in it, as far as the matching went."""
    every = (r for s in section.standings for r in s.finished)
    finished = [r for r in every if not (r.matching and r.matching.control)]
    if not finished or any(matching_mode(r) != measure for r in finished):
        return 0.0
    match = finished[0].spec.get("match")
    tolerance = match.get("tolerance") if isinstance(match, dict) else None
    residuals = [abs(r.matching.residual or 0.0) for r in finished if r.matching]
    return float(tolerance) if isinstance(tolerance, int | float) else 2 * max(residuals, default=0.0)


def _point(section: Section, standing: Standing, measure: str) -> Point | None:
    costs = [v for r in standing.finished if math.isfinite(v := value_of(r, measure))]
    summary = standing.summary
    if not costs or summary is None:
        return None
    mean = sum(costs) / len(costs)
    interval = mean_interval(costs)
    ends = (costs[0], costs[0]) if len(set(costs)) == 1 else (interval.low, interval.high)
    sign = 1.0 if section.direction == "higher" else -1.0
    quality = sorted((sign * summary.interval.low, sign * summary.interval.high))
    return Point(standing.name, mean, ends, sign * summary.mean, (quality[0], quality[1]))


def fronts_table(section: Section, found: Sequence[Front]) -> Table | None:
    """A row a cost: who is on the front, who might be, and who is beaten by whom."""
    if not any(front.points for front in found):
        return None
    columns = (
        Column("Cost", "left"),
        Column("Not dominated", "left"),
        Column("Not clearly dominated", "left"),
        Column("Dominated", "left"),
    )
    rows, raw = [], []
    for front in found:
        name = (
            front.cost
            if front.cost.casefold() == front.label.casefold() or not front.points
            else f"{front.cost} ({front.label})"
        )
        if not front.points:
            raw.append(
                {"suite": section.suite, "task": section.task, "cost": front.cost, "reason": front.reason}
            )
            continue
        line = "; ".join(f"{p.name} ({words.quantity(p.cost, front.unit, 4)})" for p in front.line)
        rows.append(
            (Cell(name), Cell(line), Cell(_beaten(front, "unclear")), Cell(_beaten(front, "dominated")))
        )
        raw += _raw(section, front)
    caption = (
        f"Cost against {words.lowered(section.metric_label)}. Dominated: another costs no more and is no worse, and better in one of "
        "the two, whatever the true means inside the 95 % intervals are. Not clearly: on the means alone. Costs that the models "
        "were matched in count as equal within the matching's tolerance"
    )
    for reason in sorted({front.reason for front in found if front.reason}):
        without = ", ".join(words.lowered(f.cost) for f in found if f.reason == reason)
        caption += f". No front for {without}: {reason}"
    return Table(f"{section.slug}-fronts", caption, columns, tuple(rows), tuple(raw))


def _beaten(front: Front, state: State) -> str:
    found = [(p.name, front.places[p.name].by) for p in front.points if front.places[p.name].state == state]
    return "; ".join(f"{name} (by {_few(by)})" for name, by in found) or "none"


def _few(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _raw(section: Section, front: Front) -> list[dict[str, Any]]:
    by_name = {s.name: s for s in section.standings}
    return [
        identify(section, by_name[p.name])
        | {"cost": front.cost, "measure": front.measure, "unit": front.unit}
        | {"value": p.cost, "low": p.cost_ends[0], "high": p.cost_ends[1]}
        | {"state": front.places[p.name].state, "by": " ".join(front.places[p.name].by)}
        for p in front.points
    ]

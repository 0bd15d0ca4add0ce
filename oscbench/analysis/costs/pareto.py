"""Cost against quality: which mechanisms nobody beats in both, for each kind of cost, with the intervals taken into account."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from oscbench.analysis.experiment import Experiment, Standing, known_measure, missing_reason, values_of
from oscbench.analysis.fairness import machine, matching_mode
from oscbench.analysis.statistics.seeds import mean_interval
from oscbench.roles import Cost, costs

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


def fronts(experiment: Experiment) -> tuple[Front, ...]:
    """A front for each kind of cost, with the reason where there is none."""
    if experiment.direction not in ("higher", "lower"):
        return ()
    return tuple(_front(experiment, cost) for cost in costs())


def _front(experiment: Experiment, cost: Cost) -> Front:
    measure, found = known_measure(experiment, cost.names)
    if found is None or measure is None:
        reason = missing_reason(experiment, cost.names, cost.quantities[0].measure)
        return Front(cost.title, "", "", cost.title, (), {}, reason)
    blank = Front(cost.title, measure, found.unit, found.label, (), {})
    finished = [r for s in experiment.standings for r in s.finished]
    if cost.of_machine and len({machine(r) for r in finished}) > 1:
        return replace(blank, reason="cells ran on more than one kind of machine")
    points = [p for s in experiment.standings if (p := _point(experiment, s, measure))]
    tolerance = _tolerance(experiment, measure)
    return replace(blank, points=tuple(points), places=places(points, tolerance))


def _tolerance(experiment: Experiment, measure: str) -> float:
    """Models matched in a cost count as equal in it, as far as the matching went."""
    every = (r for s in experiment.standings for r in s.finished)
    finished = [r for r in every if not (r.matching and r.matching.control)]
    if not finished or any(matching_mode(r) != measure for r in finished):
        return 0.0
    match = finished[0].spec.get("match")
    tolerance = match.get("tolerance") if isinstance(match, dict) else None
    residuals = [abs(r.matching.residual or 0.0) for r in finished if r.matching]
    return float(tolerance) if isinstance(tolerance, int | float) else 2 * max(residuals, default=0.0)


def _point(experiment: Experiment, standing: Standing, measure: str) -> Point | None:
    costs = values_of(standing, measure)
    summary = standing.summary
    if not costs or summary is None:
        return None
    mean = sum(costs) / len(costs)
    interval = mean_interval(costs)
    ends = (costs[0], costs[0]) if len(set(costs)) == 1 else (interval.low, interval.high)
    sign = 1.0 if experiment.direction == "higher" else -1.0
    quality = sorted((sign * summary.interval.low, sign * summary.interval.high))
    return Point(standing.name, mean, ends, sign * summary.mean, (quality[0], quality[1]))

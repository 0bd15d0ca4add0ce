"""Rules about what a level, or half of a way, takes: steps of training, data or parameters, as a ratio seed by seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from oscbench import words
from oscbench.analysis.claims.course_rules import courses, words_of
from oscbench.analysis.claims.evidence import (
    CORRECTED,
    Evidence,
    Finding,
    Levels,
    absent,
    by_interval,
    p_told,
)
from oscbench.analysis.claims.ledger import Ask, HalfWay, NeedsLess, Sooner
from oscbench.analysis.costs.targets import steps_to_target
from oscbench.analysis.dynamics import half_way
from oscbench.analysis.frame import headline, value_of
from oscbench.analysis.statistics.seeds import Floats, mean_interval, sign_flip_p
from oscbench.analysis.sweeps.sweep import label_parts
from oscbench.records import Record

_Taken = Callable[[Sequence[Record], float], float | None]
"""What the cells of one entry and seed needed to a level; None where they never got there."""


def sooner(asks: Sequence[Sooner], evidence: Evidence, levels: Levels) -> list[Finding]:
    """Steps over the baseline's: geometric mean over levels and seeds, t interval of its logarithm, sign-flip test."""
    return [_judged(ask, evidence, _steps, "the steps", "on validation", levels) for ask in asks]


def needs_less(asks: Sequence[NeedsLess], evidence: Evidence, levels: Levels) -> list[Finding]:
    """What a suite varies, or a measure of size, over the baseline's.

    For each seed the best headline up to a size, linear in the logarithm of the size between those that ran; who has a level at the
    smallest size counts as needing that.
    """
    found = []
    for ask in asks:
        taken = partial(_size, ask.over)
        found.append(_judged(ask, evidence, taken, ask.what or ask.over, "on the test", levels))
    return found


def _judged(
    ask: Sooner | NeedsLess, evidence: Evidence, taken: _Taken, of: str, where: str, levels: Levels
) -> Finding:
    sides = [_by_seed(evidence.entry(name, ask.suite, ask.value)) for name in (ask.treatment, ask.baseline)]
    seeds = sorted(sides[0].keys() & sides[1].keys())
    if not seeds:
        return absent(ask)
    some = sides[0][seeds[0]][0]
    targets = words.listed([words.quantity(t, some.measures[some.metric].unit) for t in ask.targets])
    treatment, baseline = evidence.both(ask.treatment, ask.baseline, ask.suite)
    what = f"{treatment} over {baseline} to {targets} {where}"
    found = {
        seed: [[taken(side[seed], target) for target in ask.targets] for side in sides] for seed in seeds
    }
    if lost := evidence.lost((ask.treatment, ask.baseline), ask.suite, ask.value):
        return Finding(ask, "undecided", f"{what}: {lost} ({ask.suite})")
    never = sum(None in first or None in second for first, second in found.values())
    if never:
        text = f"{what}: at {never} of {len(seeds)} seeds one of them never got there ({ask.suite})"
        return Finding(ask, "undecided", text)
    logs = np.array([np.mean(np.log(first) - np.log(second)) for first, second in found.values()])  # type: ignore[arg-type]
    return _by_ratio(ask, logs, what + _at_the_smallest(ask, sides, found), of, levels)


def _at_the_smallest(
    ask: Sooner | NeedsLess,
    sides: Sequence[dict[int, list[Record]]],
    found: dict[int, list[list[float | None]]],
) -> str:
    """How many levels were reached at the smallest size already, so that less may have been enough: such a ratio is cut off."""
    if not isinstance(ask, NeedsLess):
        return ""
    cut = []
    for place, side in enumerate(sides):
        least = {seed: min(_varied(record, ask.over) for record in side[seed]) for seed in found}
        cut.append(
            sum(
                value is not None and math.isclose(value, least[seed])
                for seed in found
                for value in found[seed][place]
            )
        )
    count = len(found) * len(ask.targets)
    return (
        f" ({cut[0]} and {cut[1]} of {count} met at the smallest size already, which is taken as the size needed)"
        if any(cut)
        else ""
    )


def half_ways(asks: Sequence[HalfWay], evidence: Evidence, levels: Levels) -> list[Finding]:
    """Steps to half of a quantity's way over the baseline's, judged as those to a level are."""
    return [_half_way(ask, evidence, levels) for ask in asks]


def _half_way(ask: HalfWay, evidence: Evidence, levels: Levels) -> Finding:
    sides = [
        {seed: half_way(curve.x, curve.y) for seed, curve in courses(ask, name, evidence).items()}
        for name in (ask.treatment, ask.baseline)
    ]
    seeds = sorted(sides[0].keys() & sides[1].keys())
    if not seeds:
        return absent(ask)
    treatment, baseline = evidence.both(ask.treatment, ask.baseline, ask.suite)
    quantity = ask.what or words_of(ask.quantity)
    what = f"{treatment} over {baseline} to half of the way of {quantity} in the last layer"
    logs = np.array([math.log(sides[0][seed]) - math.log(sides[1][seed]) for seed in seeds])
    never = int((~np.isfinite(logs)).sum())
    if never:
        return Finding(
            ask, "undecided", f"{what}: at {never} of {len(seeds)} seeds it never moved ({ask.suite})"
        )
    return _by_ratio(ask, logs, what, "the steps", levels)


def _by_ratio(ask: Ask, logs: Floats, what: str, of: str, levels: Levels) -> Finding:
    """Logarithms of ratios, one a seed: less is claimed."""
    ends = mean_interval(logs)
    low, high = math.exp(ends.low), math.exp(ends.high)
    p = sign_flip_p(logs, np.random.default_rng(0))
    told = f"{what}: {math.exp(float(logs.mean())):.2f} times {of} [{low:.2f}, {high:.2f}], {len(logs)} seeds, {p_told(p)} ({ask.suite})"
    hides = CORRECTED if low > 1 else f"it could still take {low:.2f} to {high:.2f} times {of}"
    return by_interval(
        ask,
        told,
        len(logs),
        levels,
        holds=lambda level: p <= 1 - level and mean_interval(logs, level).high < 0,
        fails=lambda level: mean_interval(logs, level).low > 0,
        hides=hides,
    )


def _by_seed(records: Sequence[Record]) -> dict[int, list[Record]]:
    found: dict[int, list[Record]] = {}
    for record in records:
        if record.status == "ok":
            found.setdefault(record.seed, []).append(record)
    return found


def _steps(cells: Sequence[Record], target: float) -> float | None:
    curves = cells[0].curves
    name = f"validation_{cells[0].metric}"
    return steps_to_target(curves[name], target) if name in curves else None


def _size(over: str, cells: Sequence[Record], target: float) -> float | None:
    """At which size the best headline so far passes the target."""
    sign = -1.0 if cells[0].measures[cells[0].metric].direction == "lower" else 1.0
    points = sorted((_varied(record, over), sign * headline(record)) for record in cells)
    points = [(x, y) for x, y in points if x > 0 and math.isfinite(y)]
    if not points:
        return None
    x, y = np.log([p[0] for p in points]), np.maximum.accumulate([p[1] for p in points])
    reached = np.flatnonzero(y >= sign * target)
    if not len(reached):
        return None
    at = int(reached[0])
    if at == 0:
        return math.exp(x[0])
    share = (sign * target - y[at - 1]) / (y[at] - y[at - 1])
    return math.exp(x[at - 1] + share * (x[at] - x[at - 1]))


def _varied(record: Record, over: str) -> float:
    told = label_parts(record.suite)[1].get(over)
    try:
        return value_of(record, over) if told is None else float(told)
    except ValueError:
        return math.nan

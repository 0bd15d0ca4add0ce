"""Rules about the course of a training: what a measure that looks on the way saw in the last layer, from before the first step to the end."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from oscbench import words
from oscbench.analysis.claims.evidence import Evidence
from oscbench.analysis.claims.finding import CORRECTED, Finding, absent, by_interval, p_told
from oscbench.analysis.claims.ledger import Ahead, HalfWay, Rises
from oscbench.analysis.dynamics import half_way, layer_curves
from oscbench.analysis.statistics.seeds import ALPHA, Floats, mean_interval, sign_flip_p
from oscbench.records import Curve, Record


def rises(asks: Sequence[Rises], evidence: Evidence, level: float) -> list[Finding]:
    """A quantity at the end of training less what it was at the start: its 95 % interval over eight seeds or more must lie above 0.

    Of two entries, what the first rises more than the second, paired by seed.
    """
    return [_rises(ask, evidence, level) for ask in asks]


def _rises(ask: Rises, evidence: Evidence, level: float) -> Finding:
    curves = _courses(ask, ask.entry, evidence)
    against = _courses(ask, ask.over, evidence) if ask.over else {}
    seeds = sorted(curves.keys() & against.keys() if ask.over else curves)
    if not seeds:
        return absent(ask)
    changes = [_change(curves[seed]) - (_change(against[seed]) if ask.over else 0.0) for seed in seeds]
    ends = mean_interval(changes)
    mean = float(np.mean(changes))
    change = words.estimate(mean, ends.low, ends.high, "1")
    start, end = (float(np.mean([curves[seed].y[at] for seed in seeds])) for at in (0, -1))
    other = evidence.called(ask.over, ask.suite) if ask.over else ""
    more = f" more than {other}" if other else ""
    told = f", minus {other}'s change" if other else ""
    text = (
        f"{evidence.called(ask.entry, ask.suite)}: {ask.what or words_of(ask.quantity)} in the last layer from {start:.3f} to {end:.3f} "
        f"over {curves[seeds[0]].x[-1]:g} steps, {change}{told}, {len(seeds)} seeds ({ask.suite})"
    )
    hides = CORRECTED if ends.high < 0 else f"it could still rise by {ends.high:.3f}{more}"
    return by_interval(
        ask, text, len(seeds), holds=ends.low > 0, fails=mean_interval(changes, level).high < 0, hides=hides
    )


def _courses(ask: Rises | HalfWay, entry: str, evidence: Evidence) -> dict[int, Curve]:
    """By seed, the last layer's curve."""
    cells = evidence.entry(entry, ask.suite, ask.value)
    return {record.seed: curve for record in cells if (curve := last_layer(record, ask.quantity))}


def _change(curve: Curve) -> float:
    return curve.y[-1] - curve.y[0]


def ahead(asks: Sequence[Ahead], evidence: Evidence, level: float) -> list[Finding]:
    """A quantity of two entries, its mean over the points of training at which both were looked at, paired by seed."""
    made = [_gains(ask, evidence) for ask in asks]
    return [
        _judged(ask, evidence, gains, points, level) if len(gains) else absent(ask)
        for ask, (gains, points) in zip(asks, made, strict=True)
    ]


def _gains(ask: Ahead, evidence: Evidence) -> tuple[Floats, int]:
    """By seed, the treatment's mean less the baseline's, and over how many points; the first, before any step, says nothing of training."""
    sides = [
        {r.seed: c for r in evidence.entry(name, ask.suite, ask.value) if (c := last_layer(r, ask.quantity))}
        for name in (ask.treatment, ask.baseline)
    ]
    gains, points = [], 0
    for seed in sorted(sides[0].keys() & sides[1].keys()):
        first, second = (dict(zip(side[seed].x, side[seed].y, strict=True)) for side in sides)
        if steps := [step for step in first if step in second and step > 0]:
            gains.append(float(np.mean([first[step] - second[step] for step in steps])))
            points = len(steps)
    return np.asarray(gains, dtype=np.float64), points


def _judged(ask: Ahead, evidence: Evidence, gains: Floats, points: int, level: float) -> Finding:
    ends, corrected = mean_interval(gains), mean_interval(gains, level)
    p = sign_flip_p(gains, np.random.default_rng(0))
    gain = words.estimate(float(gains.mean()), ends.low, ends.high, "1")
    names = evidence.both(ask.treatment, ask.baseline, ask.suite)
    text = (
        f"{names[0]} − {names[1]}: {gain} {ask.what or words_of(ask.quantity)} in the "
        f"last layer, mean over {points} points of training, {len(gains)} seeds, {p_told(p)} ({ask.suite})"
    )
    hides = CORRECTED if ends.high < 0 else f"it could still be ahead by {ends.high:.3f}"
    holds = p <= ALPHA and ends.low > 0
    return by_interval(ask, text, len(gains), holds=holds, fails=corrected.high < 0, hides=hides)


def half_ways(asks: Sequence[HalfWay], evidence: Evidence, level: float) -> list[Finding]:
    """Steps to half of a quantity's way over the baseline's: geometric mean over seeds, t interval of its logarithm, sign-flip test."""
    return [_half_way(ask, evidence, level) for ask in asks]


def _half_way(ask: HalfWay, evidence: Evidence, level: float) -> Finding:
    sides = [
        {seed: half_way(curve.x, curve.y) for seed, curve in _courses(ask, name, evidence).items()}
        for name in (ask.treatment, ask.baseline)
    ]
    seeds = sorted(sides[0].keys() & sides[1].keys())
    if not seeds:
        return absent(ask)
    names = evidence.both(ask.treatment, ask.baseline, ask.suite)
    of = f"half of the way of {ask.what or words_of(ask.quantity)} in the last layer"
    logs = np.array([math.log(sides[0][seed]) - math.log(sides[1][seed]) for seed in seeds])
    if not np.isfinite(logs).all():
        text = f"{names[0]} over {names[1]} to {of}: at {int((~np.isfinite(logs)).sum())} of {len(seeds)} seeds it never moved"
        return Finding(ask, "undecided", f"{text} ({ask.suite})")
    ends, corrected = mean_interval(logs), mean_interval(logs, level)
    low, high = math.exp(ends.low), math.exp(ends.high)
    p = sign_flip_p(logs, np.random.default_rng(0))
    size = f"{math.exp(float(logs.mean())):.2f} times the steps"
    text = f"{names[0]} over {names[1]}: {size} [{low:.2f}, {high:.2f}] to {of}, {len(seeds)} seeds, {p_told(p)} ({ask.suite})"
    hides = CORRECTED if low > 1 else f"it could still take {low:.2f} or {high:.2f} times the steps"
    return by_interval(
        ask, text, len(seeds), holds=p <= ALPHA and high < 1, fails=corrected.low > 0, hides=hides
    )


def words_of(quantity: str) -> str:
    """`weighted_synchrony` as it is read."""
    return quantity.replace("_", " ")


def last_layer(record: Record, quantity: str) -> Curve | None:
    """The curve of a quantity in the last layer that has one, of a training that ended; None where nobody looked twice."""
    found = [curve for name, curve in layer_curves(record) if name == quantity]
    if record.status != "ok" or not found:
        return None
    last = max(found, key=lambda curve: curve.layer or 0)
    return last if len(last.y) > 1 and all(map(math.isfinite, last.y)) else None

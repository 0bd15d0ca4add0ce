"""Rules about the course of a training: what a measure that looks on the way saw in the last layer, from before the first step to the end."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from oscbench import words
from oscbench.analysis.claims.evidence import (
    CORRECTED,
    Evidence,
    Finding,
    Levels,
    absent,
    by_interval,
    p_told,
)
from oscbench.analysis.claims.ledger import Ahead, HalfWay, Rises
from oscbench.analysis.dynamics import layer_curves
from oscbench.analysis.statistics.seeds import Floats, mean_interval, sign_flip_p
from oscbench.records import Curve, Record


def rises(asks: Sequence[Rises], evidence: Evidence, levels: Levels) -> list[Finding]:
    """A quantity at the end of training less what it was at the start: its 95 % interval over eight seeds or more must lie above 0.

    Of two entries, what the first rises more than the second, paired by seed.
    """
    return [_rises(ask, evidence, levels) for ask in asks]


def _rises(ask: Rises, evidence: Evidence, levels: Levels) -> Finding:
    curves = courses(ask, ask.entry, evidence)
    against = courses(ask, ask.over, evidence) if ask.over else {}
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
        ask,
        text,
        len(seeds),
        levels,
        holds=lambda level: mean_interval(changes, level).low > 0,
        fails=lambda level: mean_interval(changes, level).high < 0,
        hides=hides,
    )


def courses(ask: Rises | HalfWay, entry: str, evidence: Evidence) -> dict[int, Curve]:
    """By seed, an entry's curve in the last layer."""
    cells = evidence.entry(entry, ask.suite, ask.value)
    return {record.seed: curve for record in cells if (curve := last_layer(record, ask.quantity))}


def _change(curve: Curve) -> float:
    return curve.y[-1] - curve.y[0]


def ahead(asks: Sequence[Ahead], evidence: Evidence, levels: Levels) -> list[Finding]:
    """A quantity of two entries, its mean over the points of training at which both were looked at, paired by seed."""
    made = [_gains(ask, evidence) for ask in asks]
    return [
        _judged(ask, evidence, gains, points, levels) if len(gains) else absent(ask)
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


def _judged(ask: Ahead, evidence: Evidence, gains: Floats, points: int, levels: Levels) -> Finding:
    ends = mean_interval(gains)
    p = sign_flip_p(gains, np.random.default_rng(0))
    gain = words.estimate(float(gains.mean()), ends.low, ends.high, "1")
    names = evidence.both(ask.treatment, ask.baseline, ask.suite)
    text = (
        f"{names[0]} − {names[1]}: {gain} {ask.what or words_of(ask.quantity)} in the "
        f"last layer, mean over {points} points of training, {len(gains)} seeds, {p_told(p)} ({ask.suite})"
    )
    hides = CORRECTED if ends.high < 0 else f"it could still be ahead by {ends.high:.3f}"
    return by_interval(
        ask,
        text,
        len(gains),
        levels,
        holds=lambda level: p <= 1 - level and mean_interval(gains, level).low > 0,
        fails=lambda level: mean_interval(gains, level).high < 0,
        hides=hides,
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

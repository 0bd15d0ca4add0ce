"""Rules about a measure: an entry's own within bounds, and what one entry loses of its metric against another."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

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
from oscbench.analysis.claims.ledger import Less, Level, Loses
from oscbench.analysis.frame import value_of
from oscbench.analysis.statistics.equivalence import read_margin
from oscbench.analysis.statistics.seeds import Floats, mean_interval, sign_flip_p, upper_end
from oscbench.records import Record

BEFORE = "start"
"""A measure's own value before training, which stands among its details as a floor does."""


def levels(asks: Sequence[Level], evidence: Evidence, levels: Levels) -> list[Finding]:
    """A measure, or what it is over another or a floor, within bounds: its 95 % interval over eight seeds or more must lie inside."""
    return [_level(ask, evidence, levels) for ask in asks]


def _level(ask: Level, evidence: Evidence, levels: Levels) -> Finding:
    cells = [r for r in evidence.entry(ask.entry, ask.suite, ask.value) if _counts(r, ask)]
    known = [
        (r, value) for r in cells if math.isfinite(value := value_of(r, ask.measure) - _taken_off(r, ask))
    ]
    if not known:
        return absent(ask)
    values = [value for _, value in known]
    ends, mean = mean_interval(values), float(np.mean(values))
    low, high = (ends.low, ends.high) if ends.exists else (mean, mean)
    measurement = known[0][0].measures[ask.measure]
    unit, what = measurement.unit, ask.what or words.lowered(measurement.label)
    if ask.over:
        what += (
            " over what it was before training"
            if ask.over == BEFORE
            else f" over the floor {ask.over.replace('_', ' ')}"
        )
    told = words.difference if ask.less else words.quantity
    bounds = [f"at least {told(ask.at_least, unit)}"] if ask.at_least is not None else []
    bounds += [f"at most {told(ask.at_most, unit)}"] if ask.at_most is not None else []
    apart = ask.less or ask.over  # a difference, then, whose ends have signs
    ends_told = (
        words.interval(low, high, unit)
        if apart
        else f"[{told(low, unit)}, {told(upper_end(mean, high, unit), unit)}]"
    )
    text = (
        f"{evidence.called(ask.entry, ask.suite)}: {what} {told(mean, unit)} {ends_told}, asked for "
        f"{' and '.join(bounds)}, {_of_seeds(ask, len(values))} ({ask.suite})"
    )
    # Of a difference nothing at all is no gain.
    some = not apart or bool(np.ptp(values)) or mean not in (ask.lowest, ask.highest)

    def inside(level: float) -> bool:
        ends = mean_interval(values, level)
        return some and ask.lowest <= ends.low and ends.high <= ask.highest

    def outside(level: float) -> bool:
        ends = mean_interval(values, level)
        return ends.high < ask.lowest or ends.low > ask.highest

    hides = "" if some else "there is no difference at all"
    return by_interval(ask, text, len(values), levels, holds=inside, fails=outside, hides=hides)


def _counts(record: Record, ask: Level | Loses) -> bool:
    """Whether a seed learned enough to be asked."""
    return ask.of is None or value_of(record, ask.of.measure) >= ask.of.level


def _of_seeds(ask: Level | Loses, count: int) -> str:
    """`8 seeds`, `6 seeds that have accuracy hard of 0.85`."""
    which = f" that have {ask.of.measure.replace('_', ' ')} of {ask.of.level:g} or more" if ask.of else ""
    return f"{count} seeds{which}"


def _taken_off(record: Record, ask: Level) -> float:
    """What the ask takes off; NaN where this record has no such measure, or its measure no such floor."""
    other = 0.0 if ask.less is None else value_of(record, ask.less)
    if ask.over is None:
        return other
    measured = record.measures.get(ask.measure)
    details = measured.details if measured else {}
    floor = {BEFORE: details.get(BEFORE, math.nan), **details.get("floors", {})}.get(ask.over, math.nan)
    return other + float(floor[-1] if isinstance(floor, list) else floor)


def losses(asks: Sequence[Loses], evidence: Evidence, levels: Levels) -> list[Finding]:
    """What is lost from one measure to another, paired by seed; on a task that tells nobody apart nothing is decided."""
    found = []
    for ask in asks:
        gains, text = _lost(ask, evidence)
        found.append(absent(ask) if gains is None else _judged(ask, gains, text, levels, evidence))
    return found


def less(asks: Sequence[Less], evidence: Evidence, levels: Levels) -> list[Finding]:
    """A measure of two entries, paired by seed: less is claimed."""
    return [_less(ask, evidence, levels) for ask in asks]


def _less(ask: Less, evidence: Evidence, levels: Levels) -> Finding:
    seeds, first, second = _paired(ask, evidence, lambda record: value_of(record, ask.measure))
    if not seeds:
        return absent(ask)
    differences = first - second
    ends, p = mean_interval(differences), sign_flip_p(differences, np.random.default_rng(0))
    told_of = next(
        r for r in evidence.entry(ask.treatment, ask.suite, ask.value) if ask.measure in r.measures
    )
    some = told_of.measures[ask.measure]
    size = words.estimate(float(differences.mean()), ends.low, ends.high, some.unit)
    what = ask.what or words.lowered(some.label)
    names = evidence.both(ask.treatment, ask.baseline, ask.suite)
    text = f"{names[0]} − {names[1]}: {size} {what}, {len(seeds)} seeds, {p_told(p)} ({ask.suite})"
    hides = CORRECTED if ends.low > 0 else f"it could still be {words.difference(ends.low, some.unit)}"
    return by_interval(
        ask,
        text,
        len(seeds),
        levels,
        holds=lambda level: p <= 1 - level and mean_interval(differences, level).high < 0,
        fails=lambda level: mean_interval(differences, level).low > 0,
        hides=hides,
    )


def _paired(
    ask: Less | Loses, evidence: Evidence, value: Callable[[Record], float]
) -> tuple[list[int], Floats, Floats]:
    """Seeds at which both entries have a finite value, and the treatment's and the baseline's there."""
    sides = [
        {r.seed: v for r in evidence.entry(name, ask.suite, ask.value) if math.isfinite(v := value(r))}
        for name in (ask.treatment, ask.baseline)
    ]
    seeds = sorted(sides[0].keys() & sides[1].keys())
    first, second = (np.array([side[seed] for seed in seeds], dtype=np.float64) for side in sides)
    return seeds, first, second


def _lost(ask: Loses, evidence: Evidence) -> tuple[Floats | None, str]:
    """By seed, how much less the treatment loses than the baseline, and the size in words; None where records lack it."""

    def lost_by(record: Record) -> float:
        lost = value_of(record, ask.whole) - value_of(record, ask.changed)
        return lost if _counts(record, ask) else math.nan

    seeds, first, second = _paired(ask, evidence, lost_by)
    if not seeds:
        return None, ""
    told_of = next(r for r in evidence.entry(ask.treatment, ask.suite, ask.value) if ask.whole in r.measures)
    whole = told_of.measures[ask.whole]
    sign = -1.0 if whole.direction == "lower" else 1.0
    gains = sign * (second - first)
    ends = mean_interval(gains)
    lost = [words.difference(sign * float(side.mean()), whole.unit).lstrip("+") for side in (first, second)]
    names = evidence.both(ask.treatment, ask.baseline, ask.suite)
    text = (
        f"{names[0]} loses {lost[0]}, {names[1]} {lost[1]}, {ask.what or words.lowered(ask.changed)}: "
        f"{words.estimate(float(gains.mean()), ends.low, ends.high, whole.unit)} kept, {_of_seeds(ask, len(seeds))}"
    )
    return gains, text


def _judged(ask: Loses, gains: Floats, text: str, levels: Levels, evidence: Evidence) -> Finding:
    margin = read_margin(ask.margin).value if ask.margin else 0.0
    if margin:
        test = stats.ttest_1samp(gains, -margin, alternative="greater") if np.ptp(gains) else None
        p = float(test.pvalue) if test else (0.5 ** len(gains) if gains[0] > -margin else 1.0)
        against = f" against losing {ask.margin} more"
    else:
        p, against = sign_flip_p(gains, np.random.default_rng(0)), ""
    text = f"{text}, {p_told(p)}{against} ({ask.suite})"
    withheld = evidence.withheld(ask.suite, ask.value)
    if withheld:
        return Finding(ask, "undecided", text, withheld)
    hides = "both lose as much, as far as these seeds can tell"
    if mean_interval(gains).high < -margin:
        hides = CORRECTED
    return by_interval(
        ask,
        text,
        len(gains),
        levels,
        holds=lambda level: p <= 1 - level and mean_interval(gains, level).low > -margin,
        fails=lambda level: mean_interval(gains, level).high < -margin,
        hides=hides,
    )

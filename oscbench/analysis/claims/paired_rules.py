"""Rules about the headline metric of two entries, seed by seed, and about seeds that fail."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
from scipy import stats

from oscbench import words
from oscbench.analysis.claims.evidence import (
    CORRECTED,
    FEW_SEEDS,
    UNCORRECTED,
    Evidence,
    Finding,
    Levels,
    Outcome,
    absent,
    by_interval,
    comparison_of,
    p_told,
)
from oscbench.analysis.claims.ledger import Ask, Difference, FailsLess
from oscbench.analysis.comparison import Comparison
from oscbench.analysis.limits import VERDICT_SEEDS
from oscbench.analysis.statistics.equivalence import read_margin
from oscbench.analysis.statistics.failures import Threshold, failures, fewer_failures_p
from oscbench.analysis.statistics.seeds import ALPHA, Floats, mean_interval


def differences(asks: Sequence[Difference], evidence: Evidence, levels: Levels) -> list[Finding]:
    """Headline metrics compared seed by seed, as a report compares them."""
    families: dict[str, list[tuple[str, str]]] = {}
    for ask in asks:
        families.setdefault(ask.suite, []).append((ask.treatment, ask.baseline))
    found = []
    for ask in asks:
        report = evidence.comparisons(ask.suite, families[ask.suite])
        sides = (evidence.named(ask.treatment, ask.suite), evidence.named(ask.baseline, ask.suite))
        comparison = comparison_of(report, ask.value, sides) if report else None
        if comparison is None:
            found.append(absent(ask))
        elif comparison.paired is None:
            found.append(absent(ask, f"{comparison.name} in {ask.suite}: {comparison.reason}"))
        elif ask.rule == "better":
            found.append(_better(ask, comparison, levels))
        else:
            found.append(
                _no_worse(ask, comparison, levels, evidence.below_floor(ask.treatment, ask.suite, ask.value))
            )
    return found


def _size(ask: Ask, c: Comparison, extra: str = "") -> str:
    assert c.paired is not None
    ends = f" {words.interval(c.paired.interval.low, c.paired.interval.high, c.unit)}"
    told = f"{words.difference(c.paired.mean, c.unit)}{ends if c.paired.interval.exists else ''}"
    of = words.lowered(c.metric_label)
    return f"{c.name}: {told} {of}, {c.paired.n} seeds{extra} ({_where(ask)})"


def _where(ask: Ask) -> str:
    """The suite that was asked, at which of its values, and what else the question says."""
    return ", ".join(part for part in (ask.suite, ask.value, ask.what) if part)


def _gains(c: Comparison) -> Floats:
    """Differences by seed, positive where the treatment is the better one."""
    sign = -1.0 if c.direction == "lower" else 1.0
    return np.asarray(sign * (np.asarray(c.first) - np.asarray(c.second)), dtype=np.float64)


def _unfit(ask: Ask, c: Comparison, text: str) -> Finding | None:
    """Why a comparison decides nothing whatever came out: too few seeds, or a task that tells nobody apart."""
    assert c.paired is not None
    declared = c.role == "confirms"
    if c.withheld:
        return Finding(ask, "undecided", text, c.withheld, declared)
    if c.paired.n < VERDICT_SEEDS:
        return Finding(ask, "undecided", text, FEW_SEEDS, declared)
    if c.direction not in ("higher", "lower"):
        return Finding(ask, "undecided", text, "its metric has no better side", declared)
    return None


def _better(ask: Difference, c: Comparison, levels: Levels) -> Finding:
    assert c.paired is not None
    alike = c.equivalence if c.equivalence and c.equivalence.p <= 1 - levels.fails else None
    within = ""
    if alike:
        margin = words.margin(alike.margin.value, c.unit)
        by = "" if alike.margin.declared else ", the margin that is usual in this unit"
        within = f", equivalent within {margin} ({p_told(alike.p)}{by})"
    text = _size(ask, c, f", {p_told(c.paired.p)}{within}")
    unfit = _unfit(ask, c, text)
    if unfit:
        return unfit
    gain = mean_interval(_gains(c))
    inner, outer = mean_interval(_gains(c), levels.holds), mean_interval(_gains(c), levels.fails)
    better = c.paired.p <= ALPHA and gain.low > 0
    best = words.difference(gain.high, c.unit).lstrip("+")
    outcome: Outcome = "undecided"
    hides = CORRECTED if gain.high < 0 else f"an advantage of up to {best} could still hide"
    if alike or outer.high < 0:
        outcome, hides = "does not hold", "better, and by less than the margin" if better else ""
    elif c.paired.p <= 1 - levels.holds and inner.low > 0:
        outcome, hides = "holds", ""
    elif better:
        hides = UNCORRECTED
    return Finding(ask, outcome, text, hides, c.role == "confirms")


def _no_worse(ask: Difference, c: Comparison, levels: Levels, below_floor: str) -> Finding:
    assert c.paired is not None
    margin = read_margin(ask.margin) if ask.margin else c.margin
    if margin is None:
        return Finding(
            ask, "undecided", _size(ask, c), f"no margin is known in {c.unit}", c.role == "confirms"
        )
    gains = _gains(c)
    p = (
        float(stats.ttest_1samp(gains, -margin.value, alternative="greater").pvalue)
        if np.ptp(gains)
        else math.nan
    )
    if math.isnan(p):
        p = 0.5 ** len(gains) if gains[0] > -margin.value else 1.0
    shown = words.margin(margin.value, c.unit).lstrip("±")
    text = _size(ask, c, f", {p_told(p)} against being worse by {shown}")
    unfit = _unfit(ask, c, text)
    if unfit:
        return unfit
    gain, outer = mean_interval(gains), mean_interval(gains, levels.fails)
    worst = words.difference(-gain.low, c.unit).lstrip("+")
    outcome: Outcome = "undecided"
    hides = f"it could still be worse by {worst}"
    if outer.high < -margin.value:
        outcome, hides = "does not hold", ""
    elif p <= ALPHA and below_floor:
        hides = f"{below_floor}: it has nothing to lose"
    elif p <= 1 - levels.holds:
        outcome, hides = "holds", ""
    elif p <= ALPHA:
        hides = UNCORRECTED
    return Finding(ask, outcome, text, hides, c.role == "confirms")


def fails_less(asks: Sequence[FailsLess], evidence: Evidence, levels: Levels) -> list[Finding]:
    """Rates of failing seeds with exact intervals, and McNemar's exact test."""
    found = []
    for ask in asks:
        pair = [evidence.entry(name, ask.suite, ask.value) for name in (ask.treatment, ask.baseline)]
        threshold = Threshold(ask.measure, ask.level, ask.direction)
        first, second = (failures(cells, threshold) for cells in pair)
        p = fewer_failures_p(pair[0], pair[1], threshold)
        if first is None or second is None:
            found.append(absent(ask))
            continue
        names = evidence.both(ask.treatment, ask.baseline, ask.suite)
        shown = [
            f"{name} {len(one.seeds)} of {one.n} [{100 * one.interval.low:.0f}, {100 * one.interval.high:.0f} %]"
            for name, one in zip(names, (first, second), strict=True)
        ]
        text = f"seeds that fail: {' against '.join(shown)}, {p_told(p)} ({_where(ask)})"
        fewest = f"as few as {100 * first.interval.low:.0f} %" if first.seeds else "none"
        hides = f"up to {100 * second.interval.high:.0f} % of {names[1]}'s seeds could fail, and {fewest} of {names[0]}'s"
        found.append(
            by_interval(
                ask,
                text,
                min(first.n, second.n),
                levels,
                holds=partial(_passes, p, first.rate < second.rate),
                fails=partial(_passes, p, first.rate > second.rate),
                hides=hides,
            )
        )
    return found


def _passes(p: float, way: bool, level: float) -> bool:
    """Whether a test passes at a level, and lies on the right side."""
    return way and p <= 1 - level

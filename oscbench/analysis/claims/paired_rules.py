"""Rules about two entries, seed by seed.

A claim holds on a ground where all its questions hold, each at the 5 % level: of such an intersection none needs a correction (Berger,
Technometrics 24, 1982). Against a claim one question is enough, so what speaks against it is corrected over the ground's questions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from oscbench import words
from oscbench.analysis.claims.evidence import Evidence, comparison_of
from oscbench.analysis.claims.finding import FEW_SEEDS, Finding, Outcome, absent, p_told
from oscbench.analysis.claims.ledger import Ask, Difference, FailsLess, Sooner
from oscbench.analysis.comparison import VERDICT_SEEDS, Comparison
from oscbench.analysis.costs.targets import steps_to_target
from oscbench.analysis.statistics.equivalence import read_margin
from oscbench.analysis.statistics.failures import Threshold, failures, fewer_failures_p
from oscbench.analysis.statistics.multiplicity import holm, simultaneous_level
from oscbench.analysis.statistics.seeds import ALPHA, LEVEL, Floats, mean_interval, sign_flip_p
from oscbench.records import Record


def differences(asks: Sequence[Difference], evidence: Evidence) -> list[Finding]:
    """Headline metrics compared seed by seed, as a report compares them."""
    families: dict[str, list[tuple[str, str]]] = {}
    for ask in asks:
        families.setdefault(ask.suite, []).append((ask.treatment, ask.baseline))
    found = []
    for ask in asks:
        report = evidence.comparisons(ask.suite, families[ask.suite])
        comparison = comparison_of(report, ask.value, (ask.treatment, ask.baseline)) if report else None
        if comparison is None:
            found.append(absent(ask))
        elif comparison.paired is None:
            found.append(absent(ask, f"{comparison.name} in {ask.suite}: {comparison.reason}"))
        else:
            judge = _no_worse if ask.rule == "no worse" else _better
            found.append(judge(ask, comparison))
    return found


def _size(ask: Ask, c: Comparison, extra: str = "") -> str:
    assert c.paired is not None
    ends = f" {words.interval(c.paired.interval.low, c.paired.interval.high, c.unit)}"
    told = f"{words.difference(c.paired.mean, c.unit)}{ends if c.paired.interval.exists else ''}"
    of = words.lowered(c.metric_label)
    where = f"{ask.suite}, {ask.value}" if ask.value else ask.suite
    what = f", {ask.what}" if ask.what else ""
    return f"{c.name}: {told} {of}, {c.paired.n} seeds{extra} ({where}{what})"


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


def _better(ask: Difference, c: Comparison) -> Finding:
    assert c.paired is not None
    alike = c.equivalence if c.equivalence and c.equivalence.shown else None
    within = (
        f", equivalent within {words.margin(alike.margin.value, c.unit)} ({p_told(alike.p_adjusted)})"
        if alike
        else ""
    )
    text = _size(ask, c, f", {p_told(c.paired.p)}{within}")
    unfit = _unfit(ask, c, text)
    if unfit:
        return unfit
    gain = mean_interval(_gains(c))
    corrected = mean_interval(_gains(c), simultaneous_level(c.tested))
    outcome: Outcome = "undecided"
    if alike or corrected.high < 0:
        outcome = "does not hold"
    elif c.paired.p <= ALPHA and gain.low > 0:
        outcome = "holds"
    best = words.difference(gain.high, c.unit).lstrip("+")
    hides = f"an advantage of up to {best} could still hide" if outcome == "undecided" else ""
    return Finding(ask, outcome, text, hides, c.role == "confirms")


def _no_worse(ask: Difference, c: Comparison) -> Finding:
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
    gain, corrected = mean_interval(gains), mean_interval(gains, simultaneous_level(c.tested))
    outcome: Outcome = "undecided"
    if p <= ALPHA:
        outcome = "holds"
    elif corrected.high < -margin.value:
        outcome = "does not hold"
    worst = words.difference(-gain.low, c.unit).lstrip("+")
    hides = f"it could still be worse by {worst}" if outcome == "undecided" else ""
    return Finding(ask, outcome, text, hides, c.role == "confirms")


def sooner(asks: Sequence[Sooner], evidence: Evidence) -> list[Finding]:
    """Steps over the baseline's: geometric mean over seeds, t interval of its logarithm, sign-flip test."""
    made = [_steps(ask, evidence) for ask in asks]
    level = simultaneous_level(sum(bool(ratios) for ratios, _ in made))
    found = []
    for ask, (ratios, text) in zip(asks, made, strict=True):
        if not ratios:
            found.append(Finding(ask, "undecided", text) if text else absent(ask))
            continue
        logs = np.log(ratios)
        low, high = (math.exp(end) for end in _ends(logs, LEVEL))
        p = sign_flip_p(logs, np.random.default_rng(0))
        outcome: Outcome = "undecided"
        if len(ratios) >= VERDICT_SEEDS and p <= ALPHA and high < 1:
            outcome = "holds"
        elif len(ratios) >= VERDICT_SEEDS and _ends(logs, level)[0] > 0:
            outcome = "does not hold"
        mean = math.exp(float(logs.mean()))
        told = f"{text}: {mean:.2f} times the steps [{low:.2f}, {high:.2f}], {len(ratios)} seeds, {p_told(p)} ({ask.suite})"
        hides = (
            f"it could still take {low:.2f} or {high:.2f} times the steps" if outcome == "undecided" else ""
        )
        found.append(Finding(ask, outcome, told, hides))
    return found


def _ends(values: Floats, level: float) -> tuple[float, float]:
    interval = mean_interval(values, level)
    return interval.low, interval.high


def _steps(ask: Sooner, evidence: Evidence) -> tuple[list[float], str]:
    """Steps over the baseline's by seed, and what they are; no ratio and the reason where a run never got there."""
    sides = [
        {r.seed: r for r in evidence.entry(name, ask.suite, ask.value) if r.status == "ok"}
        for name in (ask.treatment, ask.baseline)
    ]
    seeds = sorted(sides[0].keys() & sides[1].keys())
    if not seeds:
        return [], ""
    name = f"validation_{sides[0][seeds[0]].metric}"
    steps = [[_reached(side[seed], name, ask.target) for seed in seeds] for side in sides]
    unit = sides[0][seeds[0]].measures[sides[0][seeds[0]].metric].unit
    what = f"{ask.treatment} over {ask.baseline} to {words.quantity(ask.target, unit)} on validation"
    never = sum(not a or not b for a, b in zip(*steps, strict=True))
    if never:
        return [], f"{what}: at {never} of {len(seeds)} seeds one of them never got there ({ask.suite})"
    return [float(a) / float(b) for a, b in zip(*steps, strict=True) if a and b], what


def _reached(record: Record, curve: str, target: float) -> float | None:
    return steps_to_target(record.curves[curve], target) if curve in record.curves else None


def fails_less(asks: Sequence[FailsLess], evidence: Evidence) -> list[Finding]:
    """Rates of failing seeds with exact intervals, and McNemar's exact test."""
    sides = [
        [evidence.entry(name, ask.suite, ask.value) for name in (ask.treatment, ask.baseline)] for ask in asks
    ]
    levels = [Threshold(ask.measure, ask.level, ask.direction) for ask in asks]
    p_values = holm([fewer_failures_p(a, b, level) for (a, b), level in zip(sides, levels, strict=True)])
    found = []
    for ask, pair, level, p in zip(asks, sides, levels, p_values, strict=True):
        first, second = (failures(cells, level) for cells in pair)
        if first is None or second is None:
            found.append(absent(ask))
            continue
        shown = [
            f"{name} {len(one.seeds)} of {one.n} [{100 * one.interval.low:.0f}, {100 * one.interval.high:.0f} %]"
            for name, one in ((ask.treatment, first), (ask.baseline, second))
        ]
        text = f"seeds that fail: {' against '.join(shown)}, {p_told(p)} ({ask.suite})"
        outcome: Outcome = "undecided"
        if p <= ALPHA:
            outcome = "holds" if first.rate < second.rate else "does not hold"
        hides = f"up to {100 * second.interval.high:.0f} % of {ask.baseline}'s seeds could fail, and none of {ask.treatment}'s"
        found.append(Finding(ask, outcome, text, hides if outcome == "undecided" else ""))
    return found

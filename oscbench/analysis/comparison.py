"""Comparisons of entries.

Pair the seeds, refuse what is unlike, test, and count the cost; families.py corrects over all that one question asks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from oscbench.analysis.fairness import (
    control_notes,
    machine,
    origin_notes,
    position_notes,
    refusals,
    scope_notes,
    timed_alone,
)
from oscbench.analysis.frame import headline, value_of
from oscbench.analysis.selection import Entry, Pair
from oscbench.analysis.statistics.equivalence import Equivalence, Margin, declared_margin
from oscbench.analysis.statistics.seeds import ALPHA, Interval, Paired, compare_paired
from oscbench.records import Record
from oscbench.roles import basis, speed_measures
from oscbench.words import MINUS, capitalised, ranges

COMPUTE = 1.05
"""A larger ratio of FLOPs is told as a caveat."""
LOST_ITSELF = ("diverged", "oom")
"""States of a run that its entry lost by itself, and not by the machine or a mistake."""
IN_WORDS = {"underpowered": "too few seeds for a verdict"}
"""Verdicts that people are told in other words than exports."""


@dataclass(frozen=True)
class Costs:
    """Treatment over baseline, median over the paired seeds.

    NaN where a measure is absent. `speed` above 1 is faster; it is NaN where cells were trained side by side.
    """

    params: float
    flops: float
    speed: float


@dataclass(frozen=True)
class Comparison:
    """One treatment against one baseline in one section.

    Attributes:
        pair: The two entries.
        treatment: Short name of the first.
        baseline: Short name of the second.
        state: `compared`, `refused` (unlike cells) or `missing` (no finished cell, or no shared seed).
        reason: Why it was refused or what is missing.
        seeds: The paired seeds.
        first: Headline value of the treatment at each of them.
        second: The same of the baseline.
        paired: The statistics, None unless compared.
        p_holm: p after Holm over all comparisons of its question.
        adjusted: The interval of the mean difference that holds together with those of the whole question (Bonferroni); None unless tested.
        margin: The largest difference that counts as none; None where its unit has no usual one and the suite declares none.
        equivalence: Whether the two are alike within the margin, corrected over the question as well; None unless tested.
        tested: Number of comparisons in that correction; of one that took no part in it, all of the question.
        costs: Treatment over baseline; over several sections the smallest there.
        costs_to: The largest over several sections; None in a single one.
        needed: Where no outcome could have reached significance, how many paired seeds could have; else 0.
        caveats: What a reader must know, the strongest first.
        role: `confirms` where the suite declared this comparison beforehand, `explores` where it declared others, else empty.
        estimates: Why a declared comparison gets no verdict, only its estimate; empty where it gets one.
        withheld: Why no comparison on this task gets a verdict: the task does not tell the best from a floor; empty where it does.
        diverged: Seeds at which the treatment alone diverged or ran out of memory, and those of the baseline.
    """

    pair: Pair
    treatment: str
    baseline: str
    state: Literal["compared", "refused", "missing"]
    metric_label: str
    unit: str
    direction: str
    reason: str = ""
    seeds: tuple[int, ...] = ()
    first: tuple[float, ...] = ()
    second: tuple[float, ...] = ()
    paired: Paired | None = None
    costs: Costs = field(default_factory=lambda: Costs(math.nan, math.nan, math.nan))
    costs_to: Costs | None = None
    p_holm: float = math.nan
    adjusted: Interval | None = None
    margin: Margin | None = None
    equivalence: Equivalence | None = None
    tested: int = 0
    needed: int = 0
    caveats: tuple[str, ...] = ()
    role: Literal["confirms", "explores", ""] = ""
    estimates: str = ""
    withheld: str = ""
    diverged: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())

    @property
    def name(self) -> str:
        """`treatment − baseline`."""
        return f"{self.treatment} {MINUS} {self.baseline}"

    @property
    def underpowered(self) -> bool:
        """Whether no result at all could have reached significance with so few seeds."""
        return self.paired is not None and self.paired.n < self.needed

    @property
    def clear(self) -> bool:
        """Whether the corrected test says that the two differ, and the 95 % interval, which no correction widened, lies on one side of 0."""
        if self.paired is None or not self.p_holm <= ALPHA:
            return False
        return self.paired.interval.low > 0 or self.paired.interval.high < 0

    @property
    def verdict(self) -> str:
        """What test and interval support together, as exports spell it.

        A sign-flip test may pass where seeds of two kinds widen the interval over 0; a mean then says little, and neither alone decides.
        """
        if self.paired is None:
            return self.state
        if self.withheld:
            return "withheld"
        return "estimates only" if self.only_estimated else self._tested

    @property
    def _tested(self) -> str:
        assert self.paired is not None
        if not math.isfinite(self.p_holm):
            return "one seed: no test"
        if self.clear:
            if self.direction not in ("higher", "lower"):
                return "different"
            return "better" if (self.paired.mean > 0) == (self.direction == "higher") else "worse"
        if self.equivalence is not None and self.equivalence.shown:
            return "equivalent"
        return "underpowered" if self.underpowered else "no clear difference"

    @property
    def only_estimated(self) -> str:
        """Why there is no verdict, only an estimate; empty where there is one.

        Seeds at which a side diverged are left out of its mean, so that it must not win by what is left.
        """
        if self.estimates or self.paired is None:
            return self.estimates
        either = (True, True)
        gains = {"better": (True, False), "worse": (False, True), "equivalent": either, "different": either}
        wins = gains.get(self._tested, (False, False))
        sides = zip((self.treatment, self.baseline), self.diverged, wins, strict=True)
        lost = [
            f"{name} diverged or ran out of memory at seed {ranges(list(seeds))}"
            for name, seeds, won in sides
            if seeds and won
        ]
        return "; ".join(lost) + (", and what is left may favour it" if lost else "")

    @property
    def verdict_in_words(self) -> str:
        """The verdict as people are told it."""
        return IN_WORDS.get(self.verdict, self.verdict)


@dataclass(frozen=True)
class Aggregate:
    """One pair over several tasks: the mean of the tasks' mean differences.

    Attributes:
        tasks: The label of each, and the suites that asked about it.
        matching: How the treatment was matched, and the baseline.
        fewest: The smallest number of paired seeds among the tasks.
    """

    tasks: tuple[tuple[str, tuple[str, ...]], ...]
    treatment: str
    baseline: str
    matching: tuple[str, str]
    metric_label: str
    unit: str
    fewest: int
    effect: float
    interval: Interval


def compare(
    pair: Pair,
    names: Mapping[Entry, str],
    cells: Mapping[Entry, Sequence[Record]],
    elsewhere: Mapping[Entry, Sequence[Record]],
) -> Comparison:
    """Compare two entries of one section.

    Args:
        pair: What is compared with what.
        names: Short names of the entries.
        cells: All cells of the section by entry, finished or not.
        elsewhere: Cells of the same suite and task under other protocols, to say why there is nothing to
            compare with.
    """
    pools = [list(cells.get(e, ())) or list(elsewhere.get(e, ())) for e in (pair.treatment, pair.baseline)]
    some = next((record for pool in pools for record in pool), None)
    measurement = next((r.measures[r.metric] for p in pools for r in p if r.metric in r.measures), None)
    blank = Comparison(
        pair,
        names[pair.treatment],
        names[pair.baseline],
        "missing",
        capitalised(measurement.label if measurement else some.metric if some else ""),
        measurement.unit if measurement else "",
        measurement.direction if measurement else "none",
        margin=declared_margin(record for pool in pools for record in pool),
    )
    finished = [[r for r in pool if math.isfinite(headline(r))] for pool in pools]
    absent = [
        _absence(name, pool)
        for name, pool, done in zip((blank.treatment, blank.baseline), pools, finished, strict=True)
        if not done
    ]
    if absent:
        return replace(blank, reason="; ".join(absent))
    reasons = refusals(*finished)
    if reasons:
        return replace(blank, state="refused", reason="; ".join(reasons))
    return _paired(blank, pools, finished)


def _absence(name: str, pool: Sequence[Record]) -> str:
    if not pool:
        return f"{name} has no cell here"
    states = sorted({record.status for record in pool})
    return f"{name} has no finished cell ({', '.join(states)})"


def _paired(blank: Comparison, pools: list[list[Record]], finished: list[list[Record]]) -> Comparison:
    first, second = ({record.seed: record for record in done} for done in finished)
    seeds = tuple(sorted(first.keys() & second.keys()))
    if not seeds:
        return replace(blank, reason="the two share no finished seed")
    a = [headline(first[seed]) for seed in seeds]
    b = [headline(second[seed]) for seed in seeds]
    # A fixed seed: the same records give the same page, digit for digit.
    paired = compare_paired(a, b, blank.direction, np.random.default_rng(0))
    costs = _costs([first[s] for s in seeds], [second[s] for s in seeds])
    return replace(
        blank,
        state="compared",
        seeds=seeds,
        first=tuple(a),
        second=tuple(b),
        paired=paired,
        diverged=_diverged(pools),
        costs=costs,
        caveats=(*_caveats(blank, pools, seeds, paired), *_compute(blank, costs), *_scope(pools)),
    )


def _diverged(pools: Sequence[Sequence[Record]]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Seeds that each of two sides alone lost by itself, and not by its machine."""
    treatment, baseline = ({r.seed for r in pool if r.status in LOST_ITSELF} for pool in pools)
    return (tuple(sorted(treatment - baseline)), tuple(sorted(baseline - treatment)))


def _costs(first: Sequence[Record], second: Sequence[Record]) -> Costs:
    pairs = [pair for pair in zip(first, second, strict=True) if all(map(timed_alone, pair))]
    same = [(a, b) for a, b in pairs if machine(a) == machine(b)]
    timed = ([a for a, _ in same], [b for _, b in same])
    slowness = next((r for name in speed_measures() if math.isfinite(r := _ratio(*timed, name))), math.nan)
    return Costs(_ratio(first, second, basis("size")), _ratio(first, second, basis("compute")), 1 / slowness)


def _ratio(first: Sequence[Record], second: Sequence[Record], measure: str) -> float:
    pairs = [(value_of(x, measure), value_of(y, measure)) for x, y in zip(first, second, strict=True)]
    ratios = [x / y for x, y in pairs if math.isfinite(x) and math.isfinite(y) and x > 0 and y > 0]
    return float(np.median(ratios)) if ratios else math.nan


def _caveats(blank: Comparison, pools: list[list[Record]], seeds: Sequence[int], paired: Paired) -> list[str]:
    notes: list[str] = []
    named = list(zip((blank.treatment, blank.baseline), pools, strict=True))
    for name, pool in named:
        for status in sorted({record.status for record in pool} - {"ok"}):
            lost = [record.seed for record in pool if record.status == status]
            notes.append(f"{name} {status} at seed {ranges(lost)}: left out, which may favour it")
    for name, pool in named:
        notes += [f"{name} is flagged: {flag}" for flag in sorted({f for r in pool for f in r.flags})]
        loose = [r for r in pool if r.matching and r.matching.converged is False]
        notes += [f"{name}: its match by measured time did not settle ({_unsettled(loose)})"] if loose else []
    for name, pool in named:
        rest = sorted({record.seed for record in pool if record.status == "ok"} - set(seeds))
        notes += [f"{name} has unpaired seeds {ranges(rest)}, left out"] if rest else []
    if paired.n > 1 and paired.std == 0:
        notes.append("every seed gave the same difference, so the interval has no width")
    return notes


def _compute(blank: Comparison, costs: Costs) -> list[str]:
    """A note where one side spends clearly more: what it gains may be what it spends."""
    if not math.isfinite(costs.flops) or max(costs.flops, 1 / costs.flops) <= COMPUTE:
        return []
    more, less = (blank.treatment, blank.baseline) if costs.flops > 1 else (blank.baseline, blank.treatment)
    return [f"{more} spends more FLOPs than {less}"]


def _scope(pools: list[list[Record]]) -> list[str]:
    everything = [record for pool in pools for record in pool]
    notes = scope_notes(everything) + control_notes(everything) + origin_notes(everything)
    return (position_notes(*pools) if len(pools) == 2 else []) + notes


def _unsettled(records: Sequence[Record]) -> str:
    """How far the step times of a matching were off, how well that was known, and what was allowed."""
    matchings = [r.matching for r in records if r.matching]
    worst = max((abs(m.residual) for m in matchings if m.residual is not None), default=math.nan)
    spread = max((m.spread for m in matchings if m.spread is not None), default=math.nan)
    known = f", known to ± {spread:.1%}" if math.isfinite(spread) else ", with too few steps timed to know it"
    asked = [match["tolerance"] for r in records if (match := r.spec.get("match")) and "tolerance" in match]
    allowed = max(map(float, asked), default=math.nan)
    return f"off by {worst:.1%}{known}" + (f"; both may be {allowed:.1%}" if math.isfinite(allowed) else "")

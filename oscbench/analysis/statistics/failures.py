"""Seeds that fail: a rate with its exact interval, and the rest apart from them.

Where a run either learns its task or does not, the values of its seeds have two heaps, and a t interval over both covers half of what it
says (46 % at six seeds). So how often a seed fails is one question, and how good the others are another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy import stats

from oscbench.analysis.frame import value_of
from oscbench.analysis.statistics.seeds import Interval, exact_proportion_interval
from oscbench.records import Record


@dataclass(frozen=True)
class Threshold:
    """When a seed has failed: declared beforehand, by the task or the paper.

    Attributes:
        measure: Name of the measure that decides, most often the headline.
        level: In the measure's own unit.
        direction: `higher` or `lower` is better; a seed fails on the other side of the level.
    """

    measure: str
    level: float
    direction: str = "higher"

    def fails(self, record: Record) -> bool | None:
        """Whether a cell failed; a diverged one did. None where it did not finish for another reason, or lacks the measure."""
        if record.status == "diverged":
            return True
        value = value_of(record, self.measure)
        if record.status != "ok" or math.isnan(value):
            return None
        return value < self.level if self.direction == "higher" else value > self.level


@dataclass(frozen=True)
class Failures:
    """How often an entry's seeds fail.

    Attributes:
        n: Seeds that could be judged.
        seeds: Those that failed.
        rate: Their share, with its exact (Clopper–Pearson) 95 % interval.
    """

    n: int
    seeds: tuple[int, ...]
    rate: float
    interval: Interval


def failures(cells: Sequence[Record], threshold: Threshold) -> Failures | None:
    """The rate of failing seeds among the cells of one entry; None where none can be judged."""
    judged = {record.seed: fails for record in cells if (fails := threshold.fails(record)) is not None}
    if not judged:
        return None
    failed = tuple(sorted(seed for seed, fails in judged.items() if fails))
    interval = exact_proportion_interval(len(failed), len(judged))
    return Failures(len(judged), failed, len(failed) / len(judged), interval)


def fewer_failures_p(first: Sequence[Record], second: Sequence[Record], threshold: Threshold) -> float:
    """Two-sided exact p of McNemar's test that two entries fail equally often, paired by seed; NaN without a shared seed.

    Only seeds where one fails and the other does not tell them apart; of n such seeds no p below 2/2ⁿ is possible.
    """
    a, b = (_by_seed(cells, threshold) for cells in (first, second))
    shared = a.keys() & b.keys()
    if not shared:
        return math.nan
    only_first = sum(a[seed] and not b[seed] for seed in shared)
    only_second = sum(b[seed] and not a[seed] for seed in shared)
    unlike = only_first + only_second
    return float(stats.binomtest(only_first, unlike).pvalue) if unlike else 1.0


def _by_seed(cells: Sequence[Record], threshold: Threshold) -> Mapping[int, bool]:
    return {r.seed: fails for r in cells if (fails := threshold.fails(r)) is not None}

"""Values of one setting side by side: does it matter, and which values are worse than the best?

A grid in a suite gives entries whose variant ends in the setting, `gamma=0.05`. In each experiment one permutation test over all values
says whether the setting matters at all. A value is called worse than the best one where the same test says that of every set of values
that the two are in, the pair among them (closed testing: Marcus, Peritz and Gabriel, Biometrika 63, 1976): the best value was picked on
these numbers, and whichever of equals is picked, the set of its equals is among those tested.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, combinations

import numpy as np

from oscbench import words
from oscbench.analysis.comparison import Comparison, compare
from oscbench.analysis.experiment import Experiment, Standing
from oscbench.analysis.families import correct
from oscbench.analysis.frame import headline
from oscbench.analysis.selection import Pair
from oscbench.analysis.statistics.seeds import ALPHA, within_seeds_p

_SETTING = re.compile(r"(?:(.*)\+)?([A-Za-z_]\w*)=([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)")


MOST_OTHERS = 8
"""Values beside a pair whose sets are all tested: 256 tests."""
UNDECIDED = ("underpowered", "one seed: no test", "refused", "missing")


@dataclass(frozen=True)
class Grid:
    """One mechanism at several values of one setting in a section, ascending.

    Attributes:
        name: of the mechanism, with what else its variants share.
        key: the setting.
        points: every value, finished or not.
        others: finished entries of the section that are in no grid, which a reader measures this one by.
    """

    experiment: Experiment
    name: str
    key: str
    points: tuple[tuple[float, Standing], ...]
    others: tuple[Standing, ...]

    @property
    def label(self) -> str:
        """The mechanism, for people."""
        return self.points[0][1].cells[-1].card.label + self.name.removeprefix(
            self.points[0][1].entry.mechanism
        )

    @property
    def place(self) -> str:
        """The task and suite in words."""
        return f"{words.lowered(self.experiment.task_label)} ({self.experiment.suite})"

    @cached_property
    def whole(self) -> dict[float, Standing]:
        """Values that finished at as many seeds as any: one that lost seeds to divergence is no candidate."""
        most = max(len(standing.finished) for _, standing in self.points)
        return {value: s for value, s in self.points if len(s.finished) == most}

    @property
    def lost(self) -> list[float]:
        """Values that did not."""
        return [value for value, _ in self.points if value not in self.whole]

    @cached_property
    def means(self) -> dict[float, float]:
        """Mean headline over seeds at each value that finished."""
        return {value: float(np.mean(s.values)) for value, s in self.points if s.finished}

    @cached_property
    def best(self) -> float:
        """The value with the best mean; the smallest of equals."""
        sign = -1 if self.experiment.direction == "higher" else 1
        return min(self.whole, key=lambda value: (sign * self.means[value], value))

    @cached_property
    def p(self) -> float:
        """Of the test whether the values differ at all; NaN where two values or two seeds are not shared."""
        return self._apart(frozenset(self.whole))

    @cached_property
    def _found(self) -> dict[frozenset[float], float]:
        return {}

    def _apart(self, values: frozenset[float]) -> float:
        """p that none of these values differs from another, over the seeds that all of them finished."""
        if values not in self._found:
            rows = [{r.seed: headline(r) for r in s.finished} for value, s in self.points if value in values]
            seeds = sorted(set.intersection(*map(set, rows)))
            table = [[row[seed] for row in rows] for seed in seeds]
            enough = len(rows) > 1 and len(seeds) > 1
            self._found[values] = within_seeds_p(table, np.random.default_rng(0)) if enough else math.nan
        return self._found[values]

    def _closed(self, value: float) -> float:
        """The largest p of all sets of whole values that hold a value and the best one.

        Of very many values, and of one that lost seeds, whose sets would be tested on few, the pair's over all pairs, which is larger.
        """
        pair = frozenset((value, self.best))
        others = [one for one in self.whole if one not in pair]
        if value not in self.whole or len(others) > MOST_OTHERS:
            return min(1.0, self._apart(pair) * math.comb(len(self.means), 2))
        subsets = chain.from_iterable(combinations(others, size) for size in range(len(others) + 1))
        return max(self._apart(pair | frozenset(subset)) for subset in subsets)

    @cached_property
    def against_best(self) -> dict[float, Comparison]:
        """Every other finished value minus the best one; its corrected p is that of closed testing."""
        standings = {value: standing for value, standing in self.points if standing.finished}
        cells = {s.entry: s.cells for s in standings.values()}
        names = {s.entry: f"{self.key} {value:g}" for value, s in standings.items()}
        top = standings[self.best].entry
        others = [value for value in standings if value != self.best]
        found = [compare(Pair(standings[value].entry, top), names, cells, {}) for value in others]
        alone = {value: correct([one])[0] for value, one in zip(others, found, strict=True)}
        return {
            value: replace(one, p_holm=self._closed(value)) if math.isfinite(one.p_holm) else one
            for value, one in alone.items()
        }

    @property
    def worse(self) -> list[float]:
        """Values that are clearly worse than the best; none where the values do not clearly differ at all."""
        matters = self.p <= ALPHA
        return [value for value, c in self.against_best.items() if matters and c.verdict == "worse"]

    @property
    def undecided(self) -> list[float]:
        """Values of which nothing could have been told."""
        return [value for value, c in self.against_best.items() if c.verdict in UNDECIDED]


def grids(experiments: Sequence[Experiment]) -> list[Grid]:
    """Every mechanism with at least three finished values of one setting in a section where better has a direction."""
    found = []
    for experiment in experiments:
        if experiment.direction not in ("higher", "lower") or experiment.split:
            continue
        groups: dict[tuple[str, str], dict[float, Standing]] = {}
        for standing in experiment.standings:
            if match := _SETTING.fullmatch(standing.entry.variant):
                name = standing.entry.mechanism + (f":{match[1]}" if match[1] else "")
                groups.setdefault((name, match[2]), {})[float(match[3])] = standing
        kept = {
            key: points
            for key, points in groups.items()
            if sum(bool(s.finished) for s in points.values()) > 2
        }
        inside = {standing.entry for points in kept.values() for standing in points.values()}
        others = tuple(s for s in experiment.standings if s.finished and s.entry not in inside)
        found += [
            Grid(experiment, name, key, tuple(sorted(points.items())), others)
            for (name, key), points in kept.items()
        ]
    return found

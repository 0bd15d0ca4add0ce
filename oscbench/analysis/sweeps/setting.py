"""Values of one setting side by side: does it matter, and which values are worse than the best?

A grid in a suite gives entries whose variant ends in the setting, `gamma=0.05`. In each experiment one permutation test over all values
says whether the setting matters at all; only then are values called worse than the best one, paired by seed and Holm-corrected.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from oscbench import words
from oscbench.analysis.comparison import Comparison, compare
from oscbench.analysis.experiment import Experiment, Standing
from oscbench.analysis.families import correct
from oscbench.analysis.frame import headline
from oscbench.analysis.selection import Pair
from oscbench.analysis.statistics.seeds import ALPHA, within_seeds_p

_SETTING = re.compile(r"(?:(.*)\+)?([A-Za-z_]\w*)=([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)")


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
        rows = [{r.seed: headline(r) for r in standing.finished} for standing in self.whole.values()]
        seeds = sorted(set.intersection(*(set(row) for row in rows)))
        if len(rows) < 2 or len(seeds) < 2:
            return math.nan
        return within_seeds_p([[row[seed] for row in rows] for seed in seeds], np.random.default_rng(0))

    @cached_property
    def against_best(self) -> dict[float, Comparison]:
        """Every other finished value minus the best one, corrected over them."""
        standings = {value: standing for value, standing in self.points if standing.finished}
        cells = {s.entry: s.cells for s in standings.values()}
        names = {s.entry: f"{self.key} {value:g}" for value, s in standings.items()}
        top = standings[self.best].entry
        others = [value for value in standings if value != self.best]
        found = [compare(Pair(standings[value].entry, top), names, cells, {}) for value in others]
        return dict(zip(others, correct(found), strict=True))

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

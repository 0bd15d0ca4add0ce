"""Power laws of a suite that varies over a number: one for every entry that one can be fitted to."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from oscbench import words
from oscbench.analysis.experiment import Experiment
from oscbench.analysis.frame import value_of
from oscbench.analysis.statistics.power_law import Scaling, ScalingError, fit_scaling
from oscbench.analysis.sweeps.sweep import Sweep
from oscbench.roles import basis
from oscbench.settings import SPENT

PARAMETERS = "parameters"


@dataclass(frozen=True)
class Fit:
    """The law of one entry.

    Attributes:
        name: of the entry.
        over: what x is, the varied number or `parameters`.
        scaling: the law with its points and intervals.
    """

    name: str
    over: str
    scaling: Scaling


@dataclass(frozen=True)
class Fits:
    """All laws of a suite.

    Attributes:
        of: what falls as a power law, in words.
        unit: of it.
        found: one for every entry and x that a law can be fitted to.
        refused: why the others have none; empty where all have one.
    """

    of: str
    unit: str
    found: tuple[Fit, ...]
    refused: str

    @property
    def drawn(self) -> list[Fit]:
        """Those over the parameters, where the suite varies a size, and else over its number."""
        return [fit for fit in self.found if fit.over == self.found[-1].over]


def scaling_fits(sweep: Sweep) -> Fits:
    """Fit every entry, to its error where its metric is a share that is better when higher."""
    last = sweep.last
    is_error = last.unit == "fraction" and last.direction == "higher"
    label = words.lowered(last.metric_label)
    # Over a size the law is fitted to the parameters too.
    overs = (sweep.key, PARAMETERS) if sweep.key in SPENT and SPENT[sweep.key].is_size else (sweep.key,)
    found: list[Fit] = []
    refused: dict[str, list[str]] = {}
    for over in overs:
        for name in sweep.names:
            try:
                # A fixed seed: the same records give the same page, digit for digit.
                generator = np.random.default_rng(0)
                results = _results(sweep, name, over, is_error)
                found.append(Fit(name, over, fit_scaling(results, generator=generator)))
            except ScalingError as error:
                refused.setdefault(str(error), []).append(name)
    why = "; ".join(f"none for {', '.join(dict.fromkeys(n))}: {reason}" for reason, n in refused.items())
    return Fits(f"1 {words.MINUS} {label}" if is_error else label, last.unit, tuple(found), why)


def _results(sweep: Sweep, name: str, over: str, is_error: bool) -> dict[float, dict[int, float]]:
    """Size -> seed -> what is fitted, at the values where an entry finished."""
    results = {}
    for value, experiment in sweep.points:
        found = sweep.by_seed(experiment, name)
        if found:
            x = value if over == sweep.key else _parameters(sweep, experiment, name)
            results[x] = {seed: 1 - y if is_error else y for seed, y in found.items()}
    return results


def _parameters(sweep: Sweep, experiment: Experiment, name: str) -> float:
    """An entry's parameters at a point, after matching; NaN where a cell has no count."""
    standing = sweep.standing(experiment, name)
    counts = [value_of(record, basis("size")) for record in standing.finished] if standing else []
    return float(np.median(counts)) if counts else math.nan

"""Whether two entries are alike: two one-sided tests against a margin, since "no difference found" shows nothing by itself."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from oscbench.analysis.statistics.seeds import ALPHA, Interval, mean_interval
from oscbench.errors import UserError
from oscbench.records import Record

_UNITS = {"points": ("fraction", 0.01), "bits": ("bits/character", 1.0)}
"""Words of a declared margin -> the unit of a record, and what one of the words is in it."""
_DEFAULTS = {"fraction": 0.005, "bits/character": 0.01}
_DECLARED = re.compile(r"\s*(?:±\s*)?(\d+(?:\.\d*)?|\.\d+)\s*([a-z]+)\s*")


@dataclass(frozen=True)
class Margin:
    """The largest difference that counts as none.

    Attributes:
        value: Positive, in `unit`.
        unit: As in a record's measurement.
        declared: Whether the suite said it; else it is the default of its unit.
    """

    value: float
    unit: str
    declared: bool = False


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided t tests of paired differences against a margin.

    Attributes:
        margin: What they were tested against.
        p: The larger of both tests' p; NaN below two seeds.
        interval: The 90 % t interval of the mean, which lies within the margin exactly where p < 0.05.
        p_adjusted: p after correction over the comparisons of one question; as `p` in one alone.
    """

    margin: Margin
    p: float
    interval: Interval
    p_adjusted: float

    @property
    def shown(self) -> bool:
        """Whether the two are equivalent within the margin, after correction."""
        return self.p_adjusted <= ALPHA


def read_margin(text: str) -> Margin:
    """A margin as a suite declares it: a number and its unit, `0.5 points` or `0.01 bits`.

    Raises:
        UserError: it has no unit, another one, or is not above 0.
    """
    found = _DECLARED.fullmatch(str(text))
    allowed = "a number above 0 with its unit, as in `0.5 points` (of a percentage) or `0.01 bits`"
    if found is None or found[2] not in _UNITS or float(found[1]) <= 0:
        raise UserError(f"margin: got {text!r}; allowed: {allowed}")
    unit, size = _UNITS[found[2]]
    return Margin(float(found[1]) * size, unit, declared=True)


def spoken(unit: str) -> str:
    """The word that a margin in a record's unit is written with: points, bits, or none."""
    return next((word for word, (own, _) in _UNITS.items() if own == unit), "")


def default_margin(unit: str) -> Margin | None:
    """Half a point between fractions, a hundredth of a bit between code lengths; None where nothing is usual."""
    return Margin(_DEFAULTS[unit], unit) if unit in _DEFAULTS else None


def declared_margin(records: Iterable[Record]) -> Margin | None:
    """The margin that the suite of these cells declares for their headline metric, else the default of its unit.

    A declared margin in another unit than the metric's says nothing about it. Of several, from cells that ran before the suite was
    changed, the smallest counts: a margin is not widened after the fact.
    """
    cells = list(records)
    units = {m.unit for r in cells if (m := r.measures.get(r.metric)) is not None}
    said = [read_margin(text) for r in cells if (text := r.spec_given.get("margin")) is not None]
    fitting = [margin for margin in said if margin.unit in units]
    if fitting:
        return min(fitting, key=lambda margin: margin.value)
    return next(filter(None, map(default_margin, sorted(units))), None)


def two_one_sided(differences: ArrayLike, margin: Margin) -> Equivalence:
    """Test that the mean of paired differences lies within ± margin.

    Schuirmann, J. Pharmacokinetics and Biopharmaceutics 15 (1987): both "it is at most -margin" and "it is at least +margin" must be
    rejected, each at the level of the whole.

    Args:
        differences: One a seed, in the margin's unit.
        margin: What counts as no difference.
    """
    values = np.asarray(differences, dtype=np.float64)
    interval = mean_interval(values, 1 - 2 * ALPHA)
    if values.size < 2:
        return Equivalence(margin, math.nan, interval, math.nan)
    error = float(values.std(ddof=1)) / math.sqrt(values.size)
    room = margin.value - abs(float(values.mean()))
    # By symmetry the side on which the mean lies has the larger p. Values on a grid may agree by luck, so that without a spread it is
    # the p of the exact sign-flip test of that side.
    alike = 0.5**values.size if room > 0 else 1.0
    p = float(stats.t.sf(room / error, values.size - 1)) if error else alike
    return Equivalence(margin, p, interval, p)

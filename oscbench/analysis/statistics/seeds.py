"""Statistics over seeds: what a few paired runs can say, and what they cannot.

Rows of a two-dimensional array are groups, columns are seeds; everything here works on many groups at
once. Nothing draws random numbers unless a generator is handed in.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

LEVEL = 0.95
ALPHA = 0.05
BCA_FROM = 10
_RESAMPLES = 9999
# Sums of the same numbers in another order differ in their last bits; equal to so many decimals of the largest difference, they tie.
_TIE_DECIMALS = 12

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """Two ends in the unit of the value; NaN where there is none."""

    low: float
    high: float

    @property
    def exists(self) -> bool:
        """Whether both ends are numbers."""
        return math.isfinite(self.low) and math.isfinite(self.high)


@dataclass(frozen=True)
class Summary:
    """One group of seeds. `interval` is the 95 % t interval of the mean.

    `bca` the bootstrap's beside it from ten seeds.
    """

    n: int
    mean: float
    median: float
    iqm: float
    std: float
    interval: Interval
    bca: Interval | None


@dataclass(frozen=True)
class Paired:
    """Differences by seed, first minus second.

    `p` comes from the sign-flip permutation test; `improvement` is the probability that the first is the
    better one at a seed (ties half), with its exact interval; both are None where the metric has no better
    side, and with one seed, of which no probability can be told.
    """

    n: int
    mean: float
    median: float
    std: float
    interval: Interval
    bca: Interval | None
    p: float
    improvement: float | None
    improvement_interval: Interval | None


def interquartile_mean(values: ArrayLike) -> float:
    """Mean without the lowest and the highest quarter (whole seeds, so below four seeds it is the mean)."""
    return float(stats.trim_mean(np.asarray(values, dtype=np.float64), 0.25))


def t_interval(values: ArrayLike, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Ends of the t interval of each row's mean; NaN below two seeds.

    Args:
        values: [..., seeds], finite.
        level: Coverage on normal data.
    """
    array = np.asarray(values, dtype=np.float64)
    n = array.shape[-1]
    if n < 2:
        empty = np.full(array.shape[:-1], np.nan)
        return empty, empty.copy()
    half = stats.t.ppf(0.5 + level / 2, n - 1) * array.std(axis=-1, ddof=1) / math.sqrt(n)
    mean = array.mean(axis=-1)
    return mean - half, mean + half


def mean_interval(values: ArrayLike, level: float = LEVEL) -> Interval:
    """The t interval of one group, with a word where it is none or of no width."""
    array = np.asarray(values, dtype=np.float64)
    low, high = t_interval(array, level)
    if array.size < 2:
        return Interval(math.nan, math.nan)
    return Interval(float(low), float(high))


def upper_end(mean: float, high: float, unit: str) -> float:
    """An interval's upper end where it can lie: a t interval of shares near 1 passes 1, and a share does not."""
    return min(high, max(mean, 1.0)) if unit == "fraction" else high


def welch_interval(values: ArrayLike, mean: float, std: float, n: int) -> Interval:
    """95 % interval of our mean minus a mean that is known by its standard deviation over `n` seeds alone.

    Welch's, for unequal spreads and unpaired seeds; none below two seeds on either side.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size < 2 or n < 2:
        return Interval(math.nan, math.nan)
    gap = float(array.mean()) - mean
    ours, theirs = float(array.var(ddof=1)) / array.size, std**2 / n
    if ours + theirs == 0.0:
        return Interval(gap, gap)
    freedom = (ours + theirs) ** 2 / (ours**2 / (array.size - 1) + theirs**2 / (n - 1))
    half = float(stats.t.ppf(0.5 + LEVEL / 2, freedom)) * math.sqrt(ours + theirs)
    return Interval(gap - half, gap + half)


def bca_interval(values: ArrayLike, rng: np.random.Generator) -> Interval | None:
    """BCa bootstrap interval of the mean, None below ten seeds, where its true coverage is far from 95 %."""
    array = np.asarray(values, dtype=np.float64)
    if array.size < BCA_FROM:
        return None
    if np.ptp(array) == 0:  # scipy gives NaN here
        return Interval(float(array[0]), float(array[0]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        found = stats.bootstrap(
            (array,), np.mean, confidence_level=LEVEL, method="BCa", n_resamples=_RESAMPLES, rng=rng
        ).confidence_interval
    interval = Interval(float(found.low), float(found.high))
    return interval if interval.exists else Interval(math.nan, math.nan)


def summarise(values: ArrayLike, rng: np.random.Generator) -> Summary:
    """Describe one group of finite values.

    Raises:
        ValueError: there is no value, or one is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0 or not np.isfinite(array).all():
        raise ValueError("a summary needs one row of finite values")
    return Summary(
        n=array.size,
        mean=float(array.mean()),
        median=float(np.median(array)),
        iqm=interquartile_mean(array),
        std=float(array.std(ddof=1)) if array.size > 1 else math.nan,
        interval=mean_interval(array),
        bca=bca_interval(array, rng),
    )


def sign_flip_p(differences: ArrayLike, rng: np.random.Generator) -> float:
    """Two-sided p of the paired sign-flip permutation test of the mean; exact up to 13 seeds, NaN below two.

    With n seeds no p below 2/2ⁿ is possible. Accuracies lie on a grid, so many sign flips tie with what was seen; they count as
    ties although their sums differ in the last bits.
    """
    array = np.asarray(differences, dtype=np.float64)
    if array.size < 2:
        return math.nan
    if not array.any():
        return 1.0
    found = stats.permutation_test(
        (array / np.abs(array).max(),),
        lambda x, axis: np.round(np.mean(x, axis=axis), _TIE_DECIMALS),
        permutation_type="samples",
        vectorized=True,
        n_resamples=_RESAMPLES,
        rng=rng,
    )
    return float(found.pvalue)


def within_seeds_p(rows: ArrayLike, rng: np.random.Generator) -> float:
    """p of the permutation test that no treatment differs from another, where every seed ran all of them.

    Under the null the results of a seed are exchangeable among the treatments, so they are permuted within each seed; the statistic is the
    variance of the treatments' means over seeds. Fisher, The Design of Experiments (1935), randomised blocks.

    Args:
        rows: [seeds, treatments] results.
        rng: Draws of permutations where there are too many to take all.

    Returns:
        NaN with fewer than two seeds or treatments; 1 where nothing differs.
    """
    array = np.asarray(rows, dtype=np.float64)
    if min(array.shape) < 2:
        return math.nan
    if not np.ptp(array, axis=1).any():
        return 1.0
    found = stats.permutation_test(
        tuple(array / np.ptp(array, axis=1).max()),
        lambda *seeds, axis: np.round(
            np.var(np.mean(np.stack(np.broadcast_arrays(*seeds)), axis=0), axis=axis), _TIE_DECIMALS
        ),
        permutation_type="pairings",
        alternative="greater",
        vectorized=True,
        n_resamples=_RESAMPLES,
        rng=rng,
    )
    return float(found.pvalue)


def exact_proportion_interval(wins: float, n: int) -> Interval:
    """Clopper–Pearson interval of a proportion; half wins (ties) are allowed.

    Args:
        wins: Number of wins plus half the ties.
        n: Number of trials, at least 1.
    """
    tail = (1 - LEVEL) / 2
    low = float(stats.beta.ppf(tail, wins, n - wins + 1)) if wins > 0 else 0.0
    high = float(stats.beta.ppf(1 - tail, wins + 1, n - wins)) if wins < n else 1.0
    return Interval(low, high)


def compare_paired(first: ArrayLike, second: ArrayLike, direction: str, rng: np.random.Generator) -> Paired:
    """Compare two entries seed by seed.

    Args:
        first: Value of each seed.
        second: Value of the same seeds in the same order.
        direction: `higher` or `lower` is better, or `none`.
        rng: For the bootstrap, and for the permutation test beyond 13 seeds.

    Raises:
        ValueError: the shapes differ, or a value is not finite.
    """
    a = np.asarray(first, dtype=np.float64)
    b = np.asarray(second, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1 or a.size == 0:
        raise ValueError("paired values need two rows of one length")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("paired values must be finite")
    # Rounding that is far below the values' own resolution is no difference: 0.1 + 0.2 and 0.3 tie.
    difference = np.where(np.isclose(a, b, rtol=1e-12, atol=0.0), 0.0, a - b)
    improvement, improvement_interval = None, None
    if direction in ("higher", "lower") and a.size > 1:
        gain = difference if direction == "higher" else -difference
        wins = float((gain > 0).sum() + 0.5 * (gain == 0).sum())
        improvement = wins / a.size
        improvement_interval = exact_proportion_interval(wins, a.size)
    return Paired(
        n=a.size,
        mean=float(difference.mean()),
        median=float(np.median(difference)),
        std=float(difference.std(ddof=1)) if a.size > 1 else math.nan,
        interval=mean_interval(difference),
        bca=bca_interval(difference, rng),
        p=sign_flip_p(difference, rng),
        improvement=improvement,
        improvement_interval=improvement_interval,
    )


@dataclass(frozen=True)
class Censored:
    """A to-target measure: steps, seconds, FLOPs or joules to reach something that some runs never reached.

    Quantiles that fall among the runs that never got there are infinite: only "more than was tried" is
    known of them.
    """

    n: int
    reached: int
    median: float
    low_quartile: float
    high_quartile: float


def summarise_censored(values: ArrayLike) -> Censored:
    """Describe a to-target measure.

    NaN stands for a run that never got there, which is worse than every one that did.

    Raises:
        ValueError: there is no run.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        raise ValueError("no run")
    missed = np.isnan(array)
    filled = np.where(missed, np.inf, array)
    low, middle, high = (_censored_quantile(filled, share) for share in (0.25, 0.5, 0.75))
    return Censored(array.size, int((~missed).sum()), middle, low, high)


def _censored_quantile(values: Floats, share: float) -> float:
    """The usual quantile, between two runs a mean of both; infinite as soon as one of them is."""
    below, above = (float(np.quantile(values, share, method=side)) for side in ("lower", "higher"))
    return above if below == above or math.isinf(above) else float(np.quantile(values, share))


def aggregate_over_tasks(differences: Sequence[ArrayLike]) -> tuple[float, Interval]:
    """Mean over tasks of each task's mean difference, with its t interval stratified by task.

    The variance of the mean is Σ s²ₜ/nₜ over the square of the number of tasks, its degrees of freedom are Satterthwaite's (Biometrics
    Bulletin 2, 1946), so that of one task this is the t interval of its mean. The tasks are taken as given: it says nothing
    about other tasks. From six seeds on it covers at least 93 % on normal differences and on gamma ones of skewness 1, with one task or
    five; of skewness 2, 89 % with one task and 93 % with five (`tests/analysis/test_coverage.py` measures it). A percentile bootstrap over
    seeds covers 84 % at six seeds of one task.

    Args:
        differences: For each task the paired differences of its seeds, in a unit that the tasks share.

    Raises:
        ValueError: no task, or a task without a seed.
    """
    rows = [np.asarray(row, dtype=np.float64) for row in differences]
    if not rows or any(row.size == 0 for row in rows):
        raise ValueError("an aggregate needs at least one task, and a seed in each")
    point = float(np.mean([row.mean() for row in rows]))
    if min(row.size for row in rows) < 2:
        return point, Interval(math.nan, math.nan)
    counts = np.array([row.size for row in rows])
    half = float(stratified_half_width(np.array([row.var(ddof=1) for row in rows]), counts))
    return point, Interval(point - half, point + half)


def stratified_half_width(variances: ArrayLike, counts: ArrayLike, level: float = LEVEL) -> Floats:
    """Half the width of the t interval of a mean of several groups' means.

    Args:
        variances: [..., groups] of the values in each group, with n - 1 in the denominator.
        counts: [groups] numbers of values, each at least 2.
        level: Coverage on normal data.
    """
    n = np.asarray(counts, dtype=np.float64)
    of_means = np.asarray(variances, dtype=np.float64) / n
    total = of_means.sum(axis=-1)
    spread = (of_means**2 / (n - 1)).sum(axis=-1)
    freedom = np.divide(total**2, spread, out=np.ones_like(total), where=spread > 0)
    return np.asarray(stats.t.ppf(0.5 + level / 2, freedom) * np.sqrt(total) / n.size)

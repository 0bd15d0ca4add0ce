"""How a result grows with size or data: a power law with and without an offset, bootstrapped over seeds (no torch).

    y = scale · x^(-exponent) + offset

The offset is what no size takes away; without it the law is a straight line in logarithms. Errors are taken as relative,
so both are fitted to log y. Five sizes are the least: the law with an offset has three numbers of its own.

The percentile bootstrap over few seeds is too narrow: in simulation its 95 % interval holds the true exponent in 0.84 of cases with
five seeds, 0.89 with eight and 0.93 with twenty. Without an offset the exponent is a weighted sum of logarithms of means, so that a
t interval stands beside it, which held it in 0.95 from three seeds on.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import OptimizeWarning, curve_fit

MIN_POINTS = 5
STARTS = (0.0, 0.5, 0.9, 0.99)
"""Shares of the smallest y that the search for an offset starts from; the best of all fits is taken."""
Array = NDArray[np.float64]


class ScalingError(ValueError):
    """Points that no power law can be fitted to, and why."""


@dataclass(frozen=True)
class PowerLaw:
    """y = scale · x^(-exponent) + offset; `exponent` is positive where y falls.

    Attributes:
        scale: y - offset at x = 1.
        exponent: of x.
        offset: what y tends to; 0 where the law has none.
        residuals: log y - log(law), point by point, for a plot.
        rms: root of their mean square: 0.01 is about 1 %.
    """

    scale: float
    exponent: float
    offset: float
    residuals: tuple[float, ...]
    rms: float

    def at(self, x: float) -> float:
        """The law at x."""
        return float(self.scale * x**-self.exponent + self.offset)


@dataclass(frozen=True)
class Interval:
    """Two ends."""

    low: float
    high: float


@dataclass(frozen=True)
class Scaling:
    """A law fitted to means over seeds, with what resampling the seeds does to it.

    Attributes:
        x: sizes, ascending.
        y: mean over the seeds at each.
        seeds: how many each has.
        law: fitted to these means.
        exponent: percentiles of the bootstrap's exponents, too narrow with few seeds; None with one seed a size.
        exponent_t: t interval of the exponent; None with one seed at a size, or in a law with an offset.
        offset: percentiles of its offset; None with one seed a size, or in a law without an offset.
        resamples: bootstrap fits behind the intervals.
        lost: resamples that no law could be fitted to, left out.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]
    seeds: tuple[int, ...]
    law: PowerLaw
    exponent: Interval | None
    exponent_t: Interval | None
    offset: Interval | None
    resamples: int
    lost: int


def fit_power_law(x: Sequence[float], y: Sequence[float], *, with_offset: bool) -> PowerLaw:
    """Least squares of log y.

    Raises:
        ScalingError: fewer than five different x, a value that is not positive and finite, or no fit that converges.
    """
    xs, ys = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if xs.shape != ys.shape or xs.ndim != 1:
        raise ScalingError(f"{xs.size} sizes and {ys.size} results do not pair")
    if len(set(xs.tolist())) < MIN_POINTS:
        raise ScalingError(
            f"{len(set(xs.tolist()))} sizes are too few for a scaling law; at least {MIN_POINTS} are needed"
        )
    if not (np.isfinite(xs).all() and np.isfinite(ys).all() and (xs > 0).all() and (ys > 0).all()):
        raise ScalingError("a power law needs sizes and results that are positive and finite")
    middle = float(
        np.exp(np.log(xs).mean())
    )  # centred, so that scale and exponent hardly pull at one another
    u, v = np.log(xs / middle), np.log(ys)
    level, exponent, offset = _with_offset(u, v, float(ys.min())) if with_offset else (*_straight(u, v), 0.0)
    fitted = np.log(np.exp(level - exponent * u) + offset)
    residuals = v - fitted
    return PowerLaw(
        scale=math.exp(level + exponent * math.log(middle)),
        exponent=exponent,
        offset=offset,
        residuals=tuple(residuals.tolist()),
        rms=float(np.sqrt(np.mean(residuals**2))),
    )


def _straight(u: Array, v: Array) -> tuple[float, float]:
    slope = float(v @ _pulls(u))
    return float(v.mean()) - slope * float(u.mean()), -slope


def _pulls(u: Array) -> Array:
    """Weights with which the v at each u add up to the slope of the straight line through them, by least squares."""
    away = u - u.mean()
    weights: Array = away / (away @ away)
    return weights


def _with_offset(u: Array, v: Array, smallest: float) -> tuple[float, float, float]:
    """Level, exponent and offset; the offset is sought as a share of the smallest y, between none and all of it."""

    def law(u: Array, level: float, exponent: float, share: float) -> Array:
        bent: Array = np.logaddexp(
            level - exponent * u, math.log(smallest) + np.log(np.maximum(share, 1e-300))
        )
        return bent

    best: tuple[float, tuple[float, float, float]] | None = None
    for share in STARTS:
        level, exponent = _straight(u, np.log(np.maximum(np.exp(v) - share * smallest, 1e-3 * smallest)))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", OptimizeWarning)  # a perfect fit has no covariance
                found, _ = curve_fit(
                    law,
                    u,
                    v,
                    p0=(level, exponent, share),
                    bounds=([-np.inf, -np.inf, 0.0], [np.inf, np.inf, 1.0]),
                    xtol=1e-12,
                    ftol=1e-12,
                    gtol=1e-12,
                    max_nfev=5000,
                )
        except RuntimeError:
            continue
        error = float(np.sum((law(u, *found) - v) ** 2))
        if best is None or error < best[0]:
            best = (error, (float(found[0]), float(found[1]), float(found[2]) * smallest))
    if best is None:
        raise ScalingError("no power law with an offset converges on these points")
    return best[1]


def fit_scaling(
    results: Mapping[float, Mapping[int, float]],
    *,
    with_offset: bool,
    generator: np.random.Generator,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> Scaling:
    """Fit a law to the means over seeds, and again to as many means over resampled seeds.

    Where every size has the same seeds they are drawn together, since a seed's data and order are the same at every size;
    otherwise each size draws its own.

    Args:
        results: size -> seed -> y.
        with_offset: whether the law has an offset.
        generator: of the bootstrap.
        resamples: of the seeds.
        confidence: of the intervals.

    Raises:
        ScalingError: as `fit_power_law`, or a size without a result.
    """
    sizes = sorted(results)
    if any(not results[size] for size in sizes):
        raise ScalingError("a size has no result")
    values = [np.array([results[size][seed] for seed in sorted(results[size])]) for size in sizes]
    means = [float(v.mean()) for v in values]
    law = fit_power_law(sizes, means, with_offset=with_offset)
    seeds = tuple(len(v) for v in values)
    if max(seeds) == 1:
        return Scaling(tuple(sizes), tuple(means), seeds, law, None, None, None, 0, 0)
    together = len({tuple(sorted(results[size])) for size in sizes}) == 1
    drawn = _resampled(values, together, resamples, generator)
    exponents, offsets = _bent_again(sizes, drawn) if with_offset else (_exponents(sizes, drawn), None)
    return Scaling(
        x=tuple(sizes),
        y=tuple(means),
        seeds=seeds,
        law=law,
        exponent=_interval(exponents, confidence),
        exponent_t=None if with_offset else _t_interval(law.exponent, sizes, values, together, confidence),
        offset=None if offsets is None else _interval(offsets, confidence),
        resamples=resamples,
        lost=resamples - len(exponents),
    )


def _resampled(
    values: Sequence[Array], together: bool, resamples: int, generator: np.random.Generator
) -> Array:
    """[resamples, sizes] means over drawn seeds, which are the same at every size if they are drawn together."""
    if together:
        count = len(values[0])
        places = generator.integers(count, size=(resamples, count))
        return np.stack([v[places].mean(axis=1) for v in values], axis=1)
    rows = [[v[generator.integers(len(v), size=len(v))].mean() for v in values] for _ in range(resamples)]
    return np.array(rows)


def _exponents(sizes: Sequence[float], drawn: Array) -> Array:
    """Exponents of the laws without an offset through each row of means; rows that carry no law are left out."""
    kept = drawn[(np.isfinite(drawn) & (drawn > 0)).all(axis=1)]
    found: Array = -(np.log(kept) @ _pulls(np.log(sizes)))
    return found


def _bent_again(sizes: Sequence[float], drawn: Array) -> tuple[Array, Array]:
    """Exponents and offsets of the laws with an offset through each row of means, of those that a law can be fitted to."""
    laws = []
    for row in drawn:
        try:
            laws.append(fit_power_law(sizes, row.tolist(), with_offset=True))
        except ScalingError:
            continue
    return np.array([law.exponent for law in laws]), np.array([law.offset for law in laws])


def _interval(values: Array, confidence: float) -> Interval | None:
    if not values.size:
        return None
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))


def _t_interval(
    exponent: float, sizes: Sequence[float], values: Sequence[Array], together: bool, confidence: float
) -> Interval | None:
    """t interval of an exponent from what each seed adds to it, to first order in its distance from the mean.

    Seeds that all sizes share add up over the sizes before their spread is taken, so that what is common to all sizes cancels;
    else each size has a spread of its own, with degrees of freedom after Welch and Satterthwaite.
    """
    if min(len(v) for v in values) < 2:
        return None
    added = [pull * v / v.mean() for pull, v in zip(_pulls(np.log(sizes)), values, strict=True)]
    groups = [np.sum(added, axis=0)] if together else added
    parts = np.array([group.var(ddof=1) / len(group) for group in groups])
    variance = float(parts.sum())
    if variance == 0.0:
        return Interval(exponent, exponent)
    freedom = variance**2 / sum(part**2 / (len(g) - 1) for part, g in zip(parts, groups, strict=True))
    half = float(stats.t.ppf((1 + confidence) / 2, freedom)) * math.sqrt(variance)
    return Interval(exponent - half, exponent + half)

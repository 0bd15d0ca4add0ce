"""How a result grows with size or data: a power law with and without an offset, bootstrapped over seeds (no torch).

    y = scale · x^(-exponent) + offset

The offset is what no size takes away; without it the law is a straight line in logarithms. Errors are taken as relative,
so both are fitted to log y. Five sizes are the least: the law with an offset has three numbers of its own.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
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
    """Percentiles of the bootstrap."""

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
        exponent: interval of the law's exponent; None with one seed a size.
        offset: interval of its offset; None with one seed a size, or in a law without an offset.
        resamples: bootstrap fits behind the intervals.
        lost: resamples that no law could be fitted to, left out.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]
    seeds: tuple[int, ...]
    law: PowerLaw
    exponent: Interval | None
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
    slope, level = np.polyfit(u, v, 1)
    return float(level), float(-slope)


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
        return Scaling(tuple(sizes), tuple(means), seeds, law, None, None, 0, 0)
    together = len({tuple(sorted(results[size])) for size in sizes}) == 1
    laws = []
    for _ in range(resamples):
        drawn = [
            float(v[places].mean())
            for v, places in zip(values, _draw(seeds, together, generator), strict=True)
        ]
        try:
            laws.append(fit_power_law(sizes, drawn, with_offset=with_offset))
        except ScalingError:
            continue
    return Scaling(
        x=tuple(sizes),
        y=tuple(means),
        seeds=seeds,
        law=law,
        exponent=_interval([one.exponent for one in laws], confidence),
        offset=_interval([one.offset for one in laws], confidence) if with_offset else None,
        resamples=resamples,
        lost=resamples - len(laws),
    )


def _draw(seeds: Sequence[int], together: bool, generator: np.random.Generator) -> list[NDArray[np.int64]]:
    """Places of the drawn seeds at each size."""
    if together:
        return [generator.integers(seeds[0], size=seeds[0])] * len(seeds)
    return [generator.integers(count, size=count) for count in seeds]


def _interval(values: Sequence[float], confidence: float) -> Interval | None:
    if not values:
        return None
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))

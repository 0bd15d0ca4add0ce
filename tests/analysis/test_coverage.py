"""How often intervals over few seeds hold what they should: measured, since what they say is not what they do."""

from __future__ import annotations

import numpy as np
import pytest

from oscbench.analysis.statistics.seeds import aggregate_over_tasks, stratified_half_width

TRIALS = 40_000


def draws(skewness: float, tasks: int, seeds: int) -> np.ndarray:
    """Differences of mean 0 and variance 1, tasks of one to five times the spread; a gamma's skewness is 2/√shape."""
    rng = np.random.default_rng([int(skewness), tasks, seeds])
    shape = (TRIALS, tasks, seeds)
    if not skewness:
        values = rng.normal(size=shape)
    else:
        order = 4 / skewness**2
        values = (rng.gamma(order, size=shape) - order) / np.sqrt(order)
    return values * np.arange(1, tasks + 1)[:, None]


def coverage(skewness: float, tasks: int, seeds: int) -> float:
    values = draws(skewness, tasks, seeds)
    half = stratified_half_width(values.var(axis=-1, ddof=1), np.full(tasks, seeds))
    return float((np.abs(values.mean(axis=(1, 2))) <= half).mean())


@pytest.mark.parametrize("seeds", [6, 8, 10, 20])
@pytest.mark.parametrize("tasks", [1, 5])
@pytest.mark.parametrize("skewness", [0.0, 1.0])
def test_interval_over_tasks_covers(skewness: float, tasks: int, seeds: int) -> None:
    assert 0.93 <= coverage(skewness, tasks, seeds) <= 0.97


def test_coverage_of_very_skew_differences_is_what_the_docstring_says() -> None:
    one, five = coverage(2.0, 1, 6), coverage(2.0, 5, 6)
    said = aggregate_over_tasks.__doc__ or ""
    assert f"{100 * one:.0f} % with one task and {100 * five:.0f} % with five" in " ".join(said.split())


def test_the_vectorised_width_is_the_one_that_a_report_gives() -> None:
    values = draws(1.0, 3, 7)[:20]
    half = stratified_half_width(values.var(axis=-1, ddof=1), [7, 7, 7])
    for row, width in zip(values, half, strict=True):
        point, interval = aggregate_over_tasks(list(row))
        assert (interval.low, interval.high) == pytest.approx((point - width, point + width))

"""Seeds that fail are counted, and the others described without them."""

from __future__ import annotations

import math

import pytest
from scipy import stats
from synthetic_records import make_record

from oscbench.analysis.statistics.failures import Threshold, failures, fewer_failures_p

LEARNED = Threshold("accuracy", 0.85)


def cells(values: list[float], mechanism: str = "plain"):
    return [make_record(mechanism, seed, value=value) for seed, value in enumerate(values)]


def test_rate_with_its_exact_interval() -> None:
    found = failures(cells([0.97, 0.5, 0.98, 0.96, 0.52, 0.97]), LEARNED)
    assert found is not None
    assert (found.n, found.seeds, found.rate) == (6, (1, 4), pytest.approx(1 / 3))
    exact = stats.binomtest(2, 6).proportion_ci(method="exact")
    assert (found.interval.low, found.interval.high) == pytest.approx((exact.low, exact.high))


def test_diverged_cells_failed_and_crashed_ones_say_nothing() -> None:
    some = [
        *cells([0.97, 0.96]),
        make_record("plain", 2, status="diverged", reason="loss is NaN"),
        make_record("plain", 3, status="failed", reason="killed"),
    ]
    found = failures(some, LEARNED)
    assert found is not None
    assert (found.n, found.seeds) == (3, (2,))
    assert failures([some[3]], LEARNED) is None


def test_lower_is_better_where_the_threshold_says_so() -> None:
    level = Threshold("accuracy", 0.3, "lower")
    assert failures(cells([0.2, 0.4]), level).seeds == (1,)  # type: ignore[union-attr]


def test_rates_are_compared_seed_by_seed() -> None:
    good, bad = cells([0.97] * 8), cells([0.5] * 6 + [0.97] * 2, "wave")
    assert fewer_failures_p(good, bad, LEARNED) == pytest.approx(2 / 2**6)
    assert fewer_failures_p(bad, good, LEARNED) == pytest.approx(2 / 2**6)
    assert fewer_failures_p(good, good, LEARNED) == 1.0
    assert math.isnan(fewer_failures_p(good, [], LEARNED))


@pytest.mark.parametrize("direction", ["higher", "lower"])
def test_a_seed_at_the_level_has_not_failed(direction: str) -> None:
    at = make_record("plain", value=0.85)
    assert Threshold("accuracy", 0.85, direction).fails(at) is False

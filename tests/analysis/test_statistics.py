"""Intervals, tests and corrections on known distributions, scipy's own numbers and published values."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from oscbench.analysis.statistics.multiplicity import can_pass, holm, seeds_needed, simultaneous_level
from oscbench.analysis.statistics.seeds import (
    Interval,
    aggregate_over_tasks,
    bca_interval,
    compare_paired,
    exact_proportion_interval,
    interquartile_mean,
    mean_interval,
    sign_flip_p,
    summarise,
    summarise_censored,
    t_interval,
    welch_interval,
    within_seeds_p,
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("n", [2, 3, 6, 12])
def test_t_interval_covers_the_mean_of_normal_data_95_times_in_100(n: int) -> None:
    low, high = t_interval(rng(n).normal(3.0, 2.0, (8000, n)))
    assert ((low <= 3.0) & (high >= 3.0)).mean() == pytest.approx(0.95, abs=0.01)


def test_t_interval_agrees_with_scipy() -> None:
    values = rng().normal(size=7)
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    low, high = t_interval(values)
    assert (float(low), float(high)) == pytest.approx((expected.low, expected.high))


def test_one_seed_has_no_interval() -> None:
    interval = mean_interval([0.5])
    assert not interval.exists
    summary = summarise([0.5], rng())
    assert summary.mean == summary.median == summary.iqm == 0.5
    assert math.isnan(summary.std)


def test_equal_seeds_have_an_interval_without_width() -> None:
    summary = summarise([0.5] * 12, rng())
    assert summary.interval == Interval(0.5, 0.5)
    assert summary.bca == summary.interval


def test_bca_starts_at_ten_seeds_and_is_scipys() -> None:
    values = rng(3).normal(size=10)
    assert bca_interval(values[:9], rng()) is None
    found = bca_interval(values, rng(5))
    expected = stats.bootstrap(
        (values,), np.mean, method="BCa", n_resamples=9999, rng=rng(5)
    ).confidence_interval
    assert found == Interval(expected.low, expected.high)
    assert bca_interval(values, rng(5)) == found


def test_interquartile_mean_leaves_out_the_outer_quarters() -> None:
    assert interquartile_mean([0, 1, 2, 3, 4, 5, 6, 100]) == pytest.approx(3.5)
    assert interquartile_mean([1, 2, 9]) == pytest.approx(4.0)


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [[1.0, 2.0]]])
def test_a_summary_refuses_what_is_no_row_of_finite_values(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        summarise(values, rng())


@pytest.mark.parametrize(("n", "smallest"), [(3, 0.25), (5, 0.0625), (6, 0.03125)])
def test_sign_flip_reaches_its_smallest_p_and_no_less(n: int, smallest: float) -> None:
    assert sign_flip_p(np.arange(1, n + 1), rng()) == pytest.approx(smallest)


def test_sign_flip_agrees_with_the_literal_enumeration() -> None:
    values = rng(1).normal(0.4, 1.0, 8)
    signs = np.array(np.meshgrid(*[[1, -1]] * 8)).reshape(8, -1)
    means = (signs * values[:, None]).mean(axis=0)
    assert sign_flip_p(values, rng()) == pytest.approx((np.abs(means) >= abs(values.mean()) - 1e-12).mean())


def test_sign_flip_counts_ties_that_rounding_hides() -> None:
    # Accuracies over 2,000 items differ by whole items, so the exact p follows from integers; near a mean of 0 rounding is not small.
    draws = rng()
    signs = np.array(list(itertools.product([-1, 1], repeat=8)))
    for _ in range(100):
        items = draws.integers(-13, 14, size=8)
        items[-1] = draws.integers(-2, 3) - items[:-1].sum()
        before = draws.integers(1200, 1500, size=8)
        exact = (np.abs(signs @ items) >= abs(items.sum())).mean()
        assert sign_flip_p((before + items) / 2000 - before / 2000, rng()) == pytest.approx(exact)


def test_sign_flip_rejects_a_true_null_no_more_often_than_it_says() -> None:
    draws = rng(2).standard_t(3, (600, 7))
    rejected = np.mean([sign_flip_p(row, rng()) <= 0.05 for row in draws])
    assert 0.02 <= rejected <= 0.07


def test_permutation_within_seeds_agrees_with_the_literal_enumeration() -> None:
    rows = rng(3).normal(0.0, 1.0, (3, 3)) + np.array([0.0, 0.5, 2.0])
    orders = list(itertools.permutations(range(3)))
    drawn = [
        np.var([sum(rows[i, order[j]] for i, order in enumerate(chosen)) / 3 for j in range(3)])
        for chosen in itertools.product(orders, repeat=3)
    ]
    literal = np.mean(np.array(drawn) >= np.var(rows.mean(axis=0)) - 1e-12)
    assert within_seeds_p(rows, rng()) == pytest.approx(literal)


def test_permutation_within_seeds_keeps_its_size_and_sees_what_seeds_share() -> None:
    null = rng(4).normal(0.0, 1.0, (300, 6, 4)) + 5 * rng(5).normal(0.0, 1.0, (300, 6, 1))
    assert 0.02 <= np.mean([within_seeds_p(rows, rng()) <= 0.05 for rows in null]) <= 0.08
    shifted = null[:40] + np.array([0.0, 0.0, 0.0, 3.0])
    assert np.mean([within_seeds_p(rows, rng()) <= 0.05 for rows in shifted]) > 0.9
    assert within_seeds_p([[0.1, 0.1], [0.2, 0.2]], rng()) == 1.0
    assert math.isnan(within_seeds_p([[0.1, 0.2, 0.3]], rng()))


def test_tests_that_can_pass_nothing_cost_the_others_nothing() -> None:
    assert can_pass([8] * 4 + [3] * 3) == [True] * 4 + [False] * 3
    assert can_pass([8] * 7) == [False] * 7, "seven tests of 2/2⁸ pass nothing"
    assert can_pass([9] * 7) == [True] * 7
    assert can_pass([1, 0, 6]) == [False, False, True]
    assert can_pass([]) == []


@pytest.mark.parametrize("seeds", [[8, 8, 8, 3, 3], [10, 7, 6, 6], [6, 5, 4, 4, 4]])
def test_correction_of_unlike_seeds_keeps_the_error_of_the_family(seeds: list[int]) -> None:
    # Exact sign-flip p values under the null are uniform on multiples of 2/2ⁿ.
    draws, family, wrong = rng(), can_pass(seeds), 0
    for _ in range(4000):
        p = [draws.integers(1, 2 ** (n - 1) + 1) * 2.0 / 2**n for n in seeds]
        corrected = holm([value if member else math.nan for value, member in zip(p, family, strict=True)])
        wrong += any(value <= 0.05 for value in corrected)
    assert wrong / 4000 <= 0.06


def test_sign_flip_of_nothing() -> None:
    assert sign_flip_p([0.0, 0.0, 0.0], rng()) == 1.0
    assert math.isnan(sign_flip_p([0.3], rng()))


def test_holm_on_published_values() -> None:
    # Holm's step-down as in R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_holm_does_not_count_tests_that_were_not_made() -> None:
    adjusted = holm([0.02, math.nan, 0.03])
    assert adjusted[0] == pytest.approx(0.04)
    assert math.isnan(adjusted[1])
    assert holm([]) == []


@pytest.mark.parametrize(("comparisons", "seeds"), [(0, 6), (1, 6), (5, 8), (15, 10)])
def test_power_note_matches_the_rules_of_the_house(comparisons: int, seeds: int) -> None:
    assert seeds_needed(comparisons) == seeds


def test_exact_proportion_interval_agrees_with_scipy() -> None:
    for wins in range(7):
        expected = stats.binomtest(wins, 6).proportion_ci(method="exact")
        found = exact_proportion_interval(wins, 6)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_exact_proportion_interval_covers_at_least_what_it_says() -> None:
    wins = rng(4).binomial(8, 0.7, 4000)
    ends = {k: exact_proportion_interval(k, 8) for k in range(9)}
    assert np.mean([ends[k].low <= 0.7 <= ends[k].high for k in wins]) >= 0.95


def test_paired_differences_cancel_what_seeds_share() -> None:
    shared = rng(6).normal(0, 10.0, 8)
    paired = compare_paired(shared + 1.0, shared, "higher", rng())
    assert paired.mean == pytest.approx(1.0)
    assert paired.std == pytest.approx(0.0, abs=1e-12)


def test_direction_decides_what_an_improvement_is() -> None:
    a, b = [1.0, 2.0, 3.0, 4.0], [2.0, 3.0, 3.0, 3.0]
    assert compare_paired(a, b, "higher", rng()).improvement == pytest.approx(1.5 / 4)
    assert compare_paired(a, b, "lower", rng()).improvement == pytest.approx(2.5 / 4)
    assert compare_paired(a, b, "none", rng()).improvement is None
    assert compare_paired(a[:2], b[:2], "higher", rng()).improvement == 0.0
    assert compare_paired(a[:1], b[:1], "higher", rng()).improvement is None, "of one seed no probability"
    assert compare_paired(a[:1], b[:1], "higher", rng()).improvement_interval is None


def test_rounding_is_no_difference() -> None:
    paired = compare_paired([0.1 + 0.2] * 6, [0.3] * 6, "higher", rng())
    assert (paired.mean, paired.p, paired.improvement) == (0.0, 1.0, 0.5)


@pytest.mark.parametrize(("a", "b"), [([1.0], [1.0, 2.0]), ([], []), ([math.nan], [1.0])])
def test_pairs_must_be_pairs(a: list[float], b: list[float]) -> None:
    with pytest.raises(ValueError, match="paired"):
        compare_paired(a, b, "higher", rng())


def test_censored_runs_are_worse_than_all_others() -> None:
    nan = math.nan
    found = summarise_censored([10.0, 20.0, nan, 30.0, nan])
    assert (found.n, found.reached, found.median) == (5, 3, 30.0)
    assert found.high_quartile == math.inf
    assert summarise_censored([nan, nan, 5.0]).median == math.inf
    with pytest.raises(ValueError, match="no run"):
        summarise_censored([])


def test_medians_are_medians_also_among_runs_that_never_got_there() -> None:
    nan = math.nan
    assert summarise_censored([200.0, 230.0, 270.0, 290.0]).median == 250.0
    assert summarise_censored([200.0, 290.0, nan, nan]).median == math.inf, "half of them never did"
    assert summarise_censored([200.0, 250.0, 290.0, nan]).median == 270.0
    found = summarise_censored(list(range(9)))
    assert (found.low_quartile, found.median, found.high_quartile) == (2.0, 4.0, 6.0)


def test_aggregate_is_stratified_by_task() -> None:
    rows = [rng(i).normal(i, 1.0, 20) for i in range(3)]
    point, interval = aggregate_over_tasks(rows)
    assert point == pytest.approx(np.mean([row.mean() for row in rows]))
    # The standard error of each task's mean counts, and what lies between the tasks does not.
    error = math.sqrt(sum(row.var(ddof=1) / 20 for row in rows)) / 3
    assert interval.high - interval.low == pytest.approx(2 * 2.0 * error, rel=0.02)
    assert not aggregate_over_tasks([[1.0], [2.0, 3.0]])[1].exists
    with pytest.raises(ValueError, match="task"):
        aggregate_over_tasks([])


def test_aggregate_of_one_task_is_its_t_interval_and_of_two_is_welchs() -> None:
    one, two = rng(1).normal(size=6), rng(2).normal(size=9)
    low, high = t_interval(one)
    assert aggregate_over_tasks([one])[1] == Interval(pytest.approx(float(low)), pytest.approx(float(high)))
    # The mean of two means is half the difference of one and the other's mirror image.
    welch = stats.ttest_ind(one, -two, equal_var=False).confidence_interval(0.95)
    found = aggregate_over_tasks([one, two])[1]
    assert (found.low, found.high) == pytest.approx((welch.low / 2, welch.high / 2))


def test_adjusted_intervals_hold_together() -> None:
    rows = rng(7).normal(0.0, 1.0, (3000, 5, 8))
    low, high = t_interval(rows, simultaneous_level(5))
    assert ((low <= 0) & (high >= 0)).all(axis=1).mean() == pytest.approx(0.95, abs=0.012)
    assert simultaneous_level(1) == 0.95


def test_welch_interval_of_groups_of_other_sizes_and_spreads() -> None:
    ours, theirs = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], [-2.0, 1.0, 4.0]
    expected = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval()
    found = welch_interval(ours, 1.0, 3.0, 3)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))

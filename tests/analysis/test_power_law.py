"""Power laws: known exponents come back, intervals hold them, and too few points are refused."""

from __future__ import annotations

import numpy as np
import pytest

from oscbench.analysis.statistics.power_law import ScalingError, fit_power_law, fit_scaling

SIZES = [1e5, 3e5, 1e6, 3e6, 1e7, 3e7]


def law(x, scale, exponent, offset):
    return scale * x**-exponent + offset


@pytest.mark.parametrize("exponent", [0.07, 0.5, -0.3])
def test_exponent_comes_back(exponent):
    found = fit_power_law(SIZES, [law(x, 5.0, exponent, 0.0) for x in SIZES])
    assert found.exponent == pytest.approx(exponent, rel=1e-9)
    assert found.scale == pytest.approx(5.0, rel=1e-9)
    assert found.rms < 1e-12


def test_an_offset_that_is_there_shows_in_the_residuals():
    y = [law(x, 40.0, 0.3, 1.7) for x in SIZES]
    straight = fit_power_law(SIZES, y)
    assert straight.rms > 1e-4
    assert len(straight.residuals) == len(SIZES)
    assert straight.residuals[0] > 0 > straight.residuals[len(SIZES) // 2], "a bow, not noise"


def noisy(generator, seeds, *, own_seeds=False):
    """Six sizes with 2 % noise, of which half belongs to the seed and is shared by all sizes."""
    shared = generator.normal(0, 0.014, seeds)
    return {
        x: {
            seed + (100 * place if own_seeds else 0): law(x, 5.0, 0.1, 0.0)
            * float(np.exp(shared[seed] + generator.normal(0, 0.014)))
            for seed in range(seeds)
        }
        for place, x in enumerate(SIZES)
    }


@pytest.mark.parametrize("own_seeds", [False, True])
def test_interval_over_seeds_holds_the_exponent_and_is_the_same_again(own_seeds):
    results = noisy(np.random.default_rng(3), 8, own_seeds=own_seeds)
    found, again = (fit_scaling(results, generator=np.random.default_rng(0), resamples=200) for _ in range(2))
    assert found == again
    assert found.exponent.low < 0.1 < found.exponent.high
    assert found.exponent.low <= found.law.exponent <= found.exponent.high
    assert found.exponent.high - found.exponent.low < 0.02
    assert (found.seeds, found.lost) == ((8,) * 6, 0)


@pytest.mark.parametrize("own_seeds", [False, True])
def test_the_bootstrap_is_that_of_a_line_fitted_to_every_draw(own_seeds):
    results = noisy(np.random.default_rng(5), 6, own_seeds=own_seeds)
    found = fit_scaling(results, generator=np.random.default_rng(7), resamples=80)
    generator, slopes = np.random.default_rng(7), []
    for _ in range(80):
        shared = None if own_seeds else generator.integers(6, size=6)
        means = [
            np.array(list(by_seed.values()))[
                generator.integers(6, size=6) if shared is None else shared
            ].mean()
            for by_seed in results.values()
        ]
        slopes.append(-np.polyfit(np.log(SIZES), np.log(means), 1)[0])
    assert (found.exponent.low, found.exponent.high) == pytest.approx(np.quantile(slopes, [0.025, 0.975]))


def test_the_t_interval_covers_what_it_says_at_eight_seeds_and_the_bootstrap_less():
    generator, held, bootstrap, count = np.random.default_rng(11), 0, 0, 600
    for _ in range(count):
        found = fit_scaling(noisy(generator, 8), generator=generator, resamples=200)
        held += found.exponent_t.low <= 0.1 <= found.exponent_t.high
        bootstrap += found.exponent.low <= 0.1 <= found.exponent.high
    assert 0.925 < held / count < 0.975
    assert bootstrap / count < 0.92


def test_the_t_interval_covers_what_it_says_where_each_size_has_its_own_seeds():
    generator, held, count = np.random.default_rng(12), 0, 600
    for _ in range(count):
        results = {
            x: {100 * place + seed: law(x, 5.0, 0.1, 0.0) * y for seed, y in enumerate(noise)}
            for place, (x, noise) in enumerate(
                zip(SIZES, np.exp(generator.normal(0, 0.02, (6, 4))), strict=True)
            )
        }
        found = fit_scaling(results, generator=generator, resamples=2)
        held += found.exponent_t.low <= 0.1 <= found.exponent_t.high
    assert 0.925 < held / count < 0.975


def test_the_t_interval_is_that_of_exponents_seed_by_seed_where_seeds_are_near():
    results = noisy(np.random.default_rng(2), 5)
    found = fit_scaling(results, generator=np.random.default_rng(0)).exponent_t
    each = [fit_power_law(SIZES, [results[x][s] for x in SIZES]).exponent for s in range(5)]
    half = 2.7764451 * np.std(each, ddof=1) / 5**0.5
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.05)
    assert (found.high + found.low) / 2 == pytest.approx(np.mean(each), abs=1e-4)


def test_resamples_that_carry_no_law_are_counted():
    results = {x: {0: law(x, 5.0, 0.1, 0.0), 1: -1.0 if x == SIZES[0] else 1.0} for x in SIZES}
    found = fit_scaling(results, generator=np.random.default_rng(0), resamples=100)
    assert 10 < found.lost < 40, "both draws are the seed without a law in a quarter"


def test_seeds_that_all_sizes_share_are_drawn_together():
    """A seed that is worse everywhere by the same factor says nothing about the exponent."""
    factors = [0.8, 1.0, 1.3]
    results = {x: {seed: f * law(x, 5.0, 0.1, 0.0) for seed, f in enumerate(factors)} for x in SIZES}
    found = fit_scaling(results, generator=np.random.default_rng(0), resamples=50)
    assert found.exponent.high - found.exponent.low < 1e-9


def test_one_seed_gives_no_interval():
    results = {x: {0: law(x, 5.0, 0.1, 0.0)} for x in SIZES}
    found = fit_scaling(results, generator=np.random.default_rng(0))
    assert found.exponent is None
    assert found.exponent_t is None
    assert found.law.exponent == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        ([1, 2, 3, 4], [4, 3, 2, 1], "4 sizes are too few for a scaling law; at least 5 are needed"),
        ([1, 1, 2, 3, 4], [4, 4, 3, 2, 1], "4 sizes are too few"),
        ([1, 2, 3, 4, 5], [4, 3, 2, 1, 0], "positive and finite"),
        ([1, 2, 3, 4, 5], [4, 3, 2, 1, float("nan")], "positive and finite"),
        ([1, 2, 3, 4, 5], [4, 3, 2, 1], "do not pair"),
    ],
)
def test_points_that_carry_no_law_are_refused(x, y, expected):
    with pytest.raises(ScalingError, match=expected):
        fit_power_law(x, y)

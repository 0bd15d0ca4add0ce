"""Exponents of cost against N: exact for a power law, wide for what is none, nothing for what cannot be fitted."""

from __future__ import annotations

import pytest

from oscbench.analysis.costs.growth import fit_growth


def test_a_power_law_gives_its_exponent_and_no_width():
    growth = fit_growth([64, 128, 256, 512], [3.0 * n**1.5 for n in (64, 128, 256, 512)])
    assert growth.exponent == pytest.approx(1.5)
    assert growth.low == pytest.approx(1.5)
    assert growth.high == pytest.approx(1.5)
    assert growth.sizes == 4


def test_noise_widens_the_interval_around_the_truth():
    noise = (1.2, 0.9, 1.1, 0.85, 1.05)
    growth = fit_growth([2**k for k in range(6, 11)], [n * 4.0**k for k, n in enumerate(noise)])
    assert growth.low < 2.0 < growth.high
    assert growth.high - growth.low > 0.1


def test_two_sizes_have_an_exponent_and_no_interval():
    growth = fit_growth([10, 20], [1.0, 4.0])
    assert growth.exponent == pytest.approx(2.0)
    assert (growth.low, growth.high) == (None, None)


@pytest.mark.parametrize(("tokens", "costs"), [([10], [1.0]), ([10, 10], [1.0, 2.0]), ([10, 20], [0.0, 1.0])])
def test_what_cannot_be_fitted_gives_nothing(tokens, costs):
    assert fit_growth(tokens, costs) is None

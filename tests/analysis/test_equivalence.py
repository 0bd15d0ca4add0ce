"""Two one-sided tests: scipy's own p, their size at the margin, and margins as suites declare them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from synthetic_records import make_record

from oscbench.analysis.statistics.equivalence import (
    Margin,
    declared_margin,
    default_margin,
    read_margin,
    two_one_sided,
)
from oscbench.errors import UserError

POINT = Margin(0.005, "fraction")


@pytest.mark.parametrize("shift", [-0.004, 0.0, 0.002, 0.009])
def test_p_is_the_larger_of_two_one_sided_t_tests(shift: float) -> None:
    values = np.random.default_rng(1).normal(shift, 0.004, 8)
    below = stats.ttest_1samp(values, -0.005, alternative="greater").pvalue
    above = stats.ttest_1samp(values, 0.005, alternative="less").pvalue
    found = two_one_sided(values, POINT)
    assert found.p == pytest.approx(max(below, above))
    inside = found.interval.low > -0.005 and found.interval.high < 0.005
    assert (found.p < 0.05) == inside, "the 90 % interval says the same"


def test_what_differs_by_the_margin_is_called_equivalent_in_five_of_a_hundred() -> None:
    rows = np.random.default_rng(2).normal(0.005, 0.002, (4000, 8))
    shown = np.mean([two_one_sided(row, POINT).shown for row in rows])
    assert shown == pytest.approx(0.05, abs=0.012)


def test_few_or_equal_seeds() -> None:
    assert math.isnan(two_one_sided([0.001], POINT).p)
    assert not two_one_sided([0.001], POINT).shown
    assert two_one_sided([0.001] * 4, POINT).p == 1 / 2**4, "four on a grid may agree by luck"
    assert two_one_sided([0.006] * 4, POINT).p == 1.0


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("0.5 points", 0.005, "fraction"),
        ("±0.01 bits", 0.01, "bits/character"),
        ("1points", 0.01, "fraction"),
    ],
)
def test_declared_margins(text: str, value: float, unit: str) -> None:
    assert read_margin(text) == Margin(pytest.approx(value), unit, declared=True)


@pytest.mark.parametrize("text", ["0.5", "0.5 %", "0 points", "-1 points", "half a point", ""])
def test_a_margin_without_a_known_unit_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="a number above 0 with its unit"):
        read_margin(text)


def test_the_suites_margin_counts_and_else_the_default_of_the_unit() -> None:
    plain = make_record("plain")
    said = [plain.model_copy(update={"spec_given": {"margin": text}}) for text in ("1 points", "0.2 points")]
    assert declared_margin([plain]) == default_margin("fraction") == Margin(0.005, "fraction")
    assert declared_margin(said) == Margin(0.002, "fraction", declared=True), "never widened afterwards"
    other = plain.model_copy(update={"spec_given": {"margin": "0.01 bits"}})
    assert declared_margin([other]) == default_margin("fraction"), "bits say nothing about accuracy"
    assert default_margin("perplexity") is None


def test_the_smallest_declared_margin_counts_whatever_their_order() -> None:
    plain = make_record("plain")
    said = [plain.model_copy(update={"spec_given": {"margin": one}}) for one in ("0.2 points", "1 points")]
    found = [declared_margin(some) for some in (said, said[::-1])]
    assert [one.value for one in found if one] == pytest.approx([0.002, 0.002])

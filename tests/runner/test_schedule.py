"""The learning rate over a run."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from oscbench.runner.training.loop import learning_rate_factor
from oscbench.suite.schema import Train


def test_the_learning_rate_rises_linearly_and_falls_on_a_cosine_to_its_end() -> None:
    factors = [learning_rate_factor(step, 2000, 0.05, 0.1) for step in range(2001)]
    assert factors[:100] == pytest.approx([(step + 1) / 100 for step in range(100)])
    # nanoGPT: min + 0.5 (1 + cos(pi (step - warm-up)/(steps - warm-up))) (top - min), 1e-4 and 1e-3
    for step in (100, 700, 1500, 2000):
        ratio = (step - 100) / 1900
        assert 1e-3 * factors[step] == pytest.approx(1e-4 + 0.5 * (1 + math.cos(math.pi * ratio)) * 9e-4)
    assert learning_rate_factor(2000, 2000, 0.05) == pytest.approx(0.0)


def test_the_end_of_the_schedule_stands_in_a_recipe_only_where_it_is_asked_for() -> None:
    assert "final_learning_rate" not in Train(steps=10).resolved()
    assert Train(steps=10, final_learning_rate=1e-4).resolved()["final_learning_rate"] == 1e-4
    with pytest.raises(ValidationError, match=r"final_learning_rate 0\.01 is more than learning_rate 0\.001"):
        Train(steps=10, final_learning_rate=1e-2)

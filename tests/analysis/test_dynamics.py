"""When a quantity of a layer had gone half of its way."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from oscbench.analysis.dynamics import COLUMNS, CONCENTRATION, SYNCHRONY, half_way, half_ways

STEPS = [0.0, 1.0, 2.0, 4.0, 8.0, 16.0]


@pytest.mark.parametrize(
    ("values", "step"),
    [
        ([0.0, 0.0, 0.25, 0.5, 0.75, 1.0], 4.0),
        ([1.0, 1.0, 0.75, 0.5, 0.25, 0.0], 4.0),  # a way down is a way
        (
            [0.2, 0.2, 0.2, 0.2, 0.8, 0.8],
            4.0 * math.sqrt(2.0),
        ),  # between two looks, evenly by the step's logarithm
        ([0.0, 0.0, 0.5, 1.0, 0.4, 0.4], 2.0),  # of the farthest point, not of the last
        ([0.0, 0.5, 0.5, 0.5, 0.5, 0.5], 1.0),  # before the first step nothing can be told apart
        ([0.5, 0.5, 0.5, 0.505, 0.5, 0.495], math.nan),  # it stayed where it was
    ],
)
def test_half_of_the_way(values: list[float], step: float) -> None:
    assert half_way(STEPS, values) == pytest.approx(step, nan_ok=True)


def test_every_cell_and_layer_has_its_own() -> None:
    rows = [
        ("suite", "task", entry, seed, quantity, layer, step, min(1.0, max(0.0, (step - 1.0) / width)))
        for entry, width in (("a", 15.0), ("b", 7.0))
        for seed in (0, 1)
        for quantity in (CONCENTRATION, SYNCHRONY)
        for layer in (0, 1)
        for step in reversed(STEPS)
        if quantity == CONCENTRATION or entry == "a"
    ]
    found = half_ways(pd.DataFrame(rows, columns=list(COLUMNS)))
    assert found.shape == (8, 3)
    assert list(found.columns) == [CONCENTRATION, SYNCHRONY, "later"]
    # Half of 15 lies between steps 8 and 16, at 7/15 and 15/15 of the way.
    assert found.loc[("a", 1, 0), "gini"] == pytest.approx(8.0 * 2.0 ** ((0.5 - 7 / 15) / (8 / 15)))
    assert found.loc[("b", 0, 1), "gini"] == pytest.approx(4.0 * 2.0 ** ((0.5 - 3 / 7) / (4 / 7)))
    assert found[SYNCHRONY].isna().sum() == found["later"].isna().sum() == 4
    assert found.loc["a", "later"].eq(0.0).all()

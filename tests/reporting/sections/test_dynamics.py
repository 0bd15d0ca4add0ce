"""What layers did while they trained: the table from Python, the picture, and its place on the page."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic_records import make_record

import oscbench
from oscbench import plot
from oscbench.records import Curve, Record
from oscbench.reporting.page.blocks import walk
from oscbench.reporting.page.figure import Plan
from oscbench.reporting.report import study_of
from oscbench.reporting.sections import at_work, curves

Save = Callable[..., Path]
STEPS = (0.0, 1.0, 4.0, 16.0, 64.0)


def value(quantity: str, layer: int, seed: int, at: int) -> float:
    """A made-up quantity, told apart by everything that it depends on."""
    return 0.1 + 0.05 * layer + 0.1 * at + 0.02 * seed + (0.03 if quantity == "gini" else 0.0)


def followed(mechanism: str, seed: int, *quantities: str, layers: int = 6) -> Record:
    """A record whose measure looked while it trained."""
    found = {
        f"{quantity}/{layer}": Curve(
            label=quantity,
            unit="1",
            layer=layer,
            x=STEPS,
            y=tuple(value(quantity, layer, seed, at) for at in range(len(STEPS))),
        )
        for quantity in quantities
        for layer in range(layers)
    }
    record = make_record(mechanism, seed)
    return record.model_copy(update={"curves": record.curves | found})


@pytest.fixture
def folder(save: Save) -> Path:
    """Two entries over three seeds, one of which has no phases."""
    cells = [followed("wave", seed, "order_parameter", "gini") for seed in range(3)]
    return save([*cells, *(followed("plain", seed, "gini") for seed in range(3))])


def test_every_value_stands_in_a_row_of_the_table(folder: Path) -> None:
    table = oscbench.dynamics(folder)
    assert len(table) == 3 * (2 + 1) * 6 * len(STEPS)
    row = table.query(
        "entry == 'wave:default' and seed == 2 and quantity == 'gini' and layer == 5 and step == 16"
    )
    assert row["value"].tolist() == [value("gini", 5, 2, 3)]


def test_lines_are_means_over_seeds_at_layers_from_the_first_to_the_last(folder: Path) -> None:
    figure = plot.dynamics(oscbench.dynamics(folder))
    assert [axes.get_title(loc="center") for axes in figure.axes[:4]] == [f"layer {n}" for n in (1, 3, 4, 6)]
    assert [axes.get_ylabel() for axes in figure.axes[::4]] == [
        "Order of all phases",
        "Concentration of\nattention (Gini)",
    ]
    order, gini = figure.axes[3], figure.axes[7]
    (line,) = [one for one in order.lines if len(one.get_xdata())]
    np.testing.assert_allclose(line.get_ydata(), [value("order_parameter", 5, 1, at) for at in range(5)])
    assert tuple(line.get_xdata()) == STEPS
    assert len([one for one in gini.lines if len(one.get_xdata())]) == 2
    assert gini.get_xscale() == "symlog", "steps in equal ratios stand evenly, and 0 beside them"
    spread = 4.303 * 0.02 / math.sqrt(3)  # t of two degrees of freedom
    band = order.collections[0].get_paths()[0].vertices[:, 1]
    assert band.min() == pytest.approx(value("order_parameter", 5, 1, 0) - spread, abs=1e-4)


def test_a_picture_that_would_be_empty_or_mixed_is_refused(folder: Path) -> None:
    table = oscbench.dynamics(folder)
    with pytest.raises(ValueError, match="none of locked_share"):
        plot.dynamics(table, quantities=["locked_share"])
    other = table.assign(task="text")
    with pytest.raises(ValueError, match="choose one"):
        plot.dynamics(pd.concat([table, other]))


def test_the_page_shows_them_once_among_what_is_at_work(folder: Path, save: Save) -> None:
    study = study_of(folder, (), ())
    pictures = [block.draw() for block in walk(at_work.section().blocks(study)) if isinstance(block, Plan)]
    (picture,) = [one for one in pictures if one.name.endswith("over-training")]
    assert "wave 0.37 to 0.77" in picture.alt, "order in layer 6, the mean of seeds 0 to 2"
    plans = [block for block in walk(curves.section().blocks(study)) if isinstance(block, Plan)]
    assert len(plans) == len(make_record().curves), "and no learning curve of each layer"
    without = study_of(save([make_record("wave", seed) for seed in range(3)], "without"), (), ())
    drawn = [block.draw() for block in walk(at_work.section().blocks(without)) if isinstance(block, Plan)]
    assert not any(one.name.endswith("over-training") for one in drawn)


def test_what_was_never_a_number_is_not_drawn(save: Save) -> None:
    def broken(seed: int) -> Record:
        record = followed("wave", seed, "gini")
        nothing = {
            k: c.model_copy(update={"y": (math.nan,) * len(c.y)})
            for k, c in record.curves.items()
            if c.layer is not None
        }
        kept = {k: c for k, c in record.curves.items() if c.layer is None}
        return record.model_copy(update={"curves": kept | nothing})

    study = study_of(save([broken(seed) for seed in range(3)]), (), ())
    drawn = [block.draw() for block in walk(at_work.section().blocks(study)) if isinstance(block, Plan)]
    assert not any(one.name.endswith("over-training") for one in drawn)


def test_the_page_says_what_came_first(save: Save) -> None:
    def late(seed: int) -> Record:
        """Synchrony goes every way a look later than concentration, seed 2 two looks."""
        record = followed("wave", seed, "gini", layers=2)
        curves = {
            name.replace("gini", "weighted_synchrony"): one.model_copy(
                update={"y": (one.y[0],) * (2 if seed == 2 else 1) + one.y[: -2 if seed == 2 else -1]}
            )
            for name, one in record.curves.items()
            if name.startswith("gini")
        }
        return record.model_copy(update={"curves": record.curves | curves})

    study = study_of(save([late(seed) for seed in range(3)], "late"), (), ())
    (told,) = at_work.which_came_first(study.experiments[0])
    # Half of four even looks is the third, step 4; half of the three that are left lies between it and step 16.
    assert told.startswith("wave: concentration of attention had gone half of its way at step 4, synchrony")
    # A doubling later, and two at seed 2, where half of the way is step 16.
    assert "+1.33" in told
    assert "doublings of the step later (means over layers, 3 seeds)" in told
    plain = study_of(save([followed("plain", seed, "gini") for seed in range(3)], "plain"), (), ())
    assert at_work.which_came_first(plain.experiments[0]) == ()

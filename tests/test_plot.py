"""Pictures show what the numbers say."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

import oscbench
from oscbench import plot

SMALL = {"width": 16, "heads": 2, "layers": 3}


def rendered(figure: Figure) -> bytes:
    """The picture as PNG."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=50)
    return file.getvalue()


def row(**changes: object) -> dict[str, object]:
    """One comparison."""
    base = {
        "task": "Digits",
        "treatment": "kope:default",
        "baseline": "softmax:default",
        "unit": "fraction",
        "direction": "higher",
    }
    return base | {"n": 8, "difference": 0.02, "low": 0.01, "high": 0.03} | changes


def test_forest_puts_better_to_the_right_and_units_apart() -> None:
    worse = {"treatment": "torus:default", "task": "Text", "unit": "bits", "direction": "lower"}
    table = pd.DataFrame([row(), row(**worse, difference=0.4, low=0.3, high=0.5), row(difference=np.nan)])
    figure = plot.forest(table, title="What came out")
    points, bits = figure.axes
    assert "[points]" in points.get_xlabel()
    assert "[bits]" in bits.get_xlabel()
    dots = [
        [line.get_xdata()[0] for line in axes.lines if line.get_marker() not in ("None", "")]
        for axes in (points, bits)
    ]
    assert dots == [[pytest.approx(2.0)], [pytest.approx(-0.4)]]
    assert [text.get_text() for text in points.get_yticklabels()] == ["kope − softmax, 8 seeds"]
    assert rendered(figure)
    with pytest.raises(ValueError, match="no comparison"):
        plot.forest(table[table["difference"].isna()])


def test_attention_lies_over_the_image_without_cls() -> None:
    model = oscbench.build_model("softmax", "digits", model=SMALL)
    figure = plot.attention(model, torch.randn(2, 1, 8, 8))
    fields = [axes.collections[0].get_array() for axes in figure.axes[:3]]
    assert all(np.asarray(field).size == 16 for field in fields)
    assert all(0.0 < float(np.asarray(field).sum()) < 1.0 for field in fields), "CLS's own share is left out"
    assert rendered(figure)
    assert model.training, "the model is as it was"


def test_phases_and_order_of_kope() -> None:
    models = {
        name: oscbench.build_model("kope", "digits", model=SMALL, settings=settings)
        for name, settings in (("kope", {"mix": False}), ("frozen", {"mix": False, "dynamics": "frozen"}))
    }
    images = torch.randn(2, 1, 8, 8)
    shown = [axes.images[0].get_array() for axes in plot.phases(models["frozen"], images).axes]
    assert all(np.array_equal(field, shown[0]) for field in shown), "frozen phases stay"
    figure = plot.order(models, images)
    by_layer = [line.get_ydata() for line in figure.axes[0].lines if len(line.get_ydata()) == 3]
    assert np.ptp(by_layer[1]) == pytest.approx(0.0, abs=1e-6)
    assert np.ptp(by_layer[0]) > 0.0
    with pytest.raises(ValueError, match="no phases"):
        plot.phases(oscbench.build_model("softmax", "digits", model=SMALL), images)


def test_locking_says_the_share_of_pairs() -> None:
    model = oscbench.build_model("ssa", "digits", model=SMALL)
    images = torch.randn(2, 1, 8, 8)
    titles = [axes.get_title() for axes in plot.locking(model, images).axes]
    assert titles[0].startswith("layer 1: ")
    every = [
        axes.get_title()
        for axes in plot.locking(oscbench.build_model("softmax", "digits", model=SMALL), images).axes
    ]
    assert every[0] == "layer 1: 100% of pairs"

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
from oscbench.ops.fixed_query.ode import settle
from oscbench.reporting.page.at_work import path_to_rest

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


def test_forest_tells_suites_of_one_task_apart() -> None:
    table = pd.DataFrame([row(suite="one"), row(suite="two"), row(suite="two", task="Text")])
    said = [text.get_text() for text in plot.forest(table).axes[0].texts]
    assert {"Digits (one)", "Digits (two)", "Text"} <= set(said)


def test_dynamics_names_what_the_table_lacks() -> None:
    seen = [("s", "t", "kope:default", 0, "gini", layer, step, 0.5) for layer in (0, 1) for step in (0, 10)]
    table = pd.DataFrame(
        seen, columns=["suite", "task", "entry", "seed", "quantity", "layer", "step", "value"]
    )
    assert rendered(plot.dynamics(table, quantities="gini"))
    with pytest.raises(ValueError, match="no 'ginni'; did you mean \"gini\""):
        plot.dynamics(table, quantities=["gini", "ginni"])
    with pytest.raises(ValueError, match=r"none of oscbench\.dynamics"):
        plot.dynamics(table.drop(columns="quantity"))


def test_what_is_not_there_is_named() -> None:
    images = torch.randn(2, 1, 8, 8)
    model = oscbench.build_model("kope", "digits", model=SMALL)
    with pytest.raises(ValueError, match="sample: got 2; the batch has 2 samples"):
        plot.attention(model, images, sample=2)
    assert np.array_equal(
        fields(plot.phases(model, images, sample=-1))[2], fields(plot.phases(model, images, sample=1))[2]
    )
    for call, told in (
        (lambda: plot.attention(model, images, query=17), "query: got 17; there are 17"),
        (lambda: plot.phases(model, images, head=2), "head: got 2; there are 2"),
        (lambda: plot.phases(model, images, oscillator=4), "oscillator: got 4; there are 4"),
        (lambda: plot.locking(model, images, head=-3), "head: got -3; there are 2"),
    ):
        with pytest.raises(ValueError, match=told):
            call()
    with pytest.raises(RuntimeError):
        plot.attention(model, torch.randn(2, 3, 8, 8))
    assert model.training, "the model is as it was, whatever went wrong"


def fields(figure: Figure) -> list[np.ndarray]:
    """What the panels of the layers show, without the input before them."""
    return [np.ma.filled(axes.images[0].get_array(), np.nan) for axes in figure.axes[1:4]]


def test_attention_lies_over_the_image_without_cls() -> None:
    model = oscbench.build_model("softmax", "digits", model=SMALL)
    images = torch.randn(2, 1, 8, 8)
    figure = plot.attention(model, images)
    shown = fields(figure)
    assert [field.shape for field in shown] == [(4, 4)] * 3
    assert all(0.0 < float(field.sum()) < 1.0 for field in shown), "CLS's own share is left out"
    heard = model(images[:1], diagnostics=True).diagnostics[1]["attention"][0, :, 0, 1:].mean(0)
    np.testing.assert_allclose(shown[1].ravel(), heard.detach().numpy(), rtol=1e-5)
    assert rendered(figure)
    assert model.training, "the model is as it was"


def test_phases_and_order_of_kope() -> None:
    models = {
        name: oscbench.build_model("kope", "digits", model=SMALL, settings=settings)
        for name, settings in (("kope", {"mix": False}), ("frozen", {"mix": False, "dynamics": "frozen"}))
    }
    images = torch.randn(2, 1, 8, 8)
    shown = fields(plot.phases(models["frozen"], images))
    assert all(np.array_equal(field, shown[0]) for field in shown), "frozen phases stay"
    figure = plot.order(models, images)
    by_layer = [line.get_ydata() for line in figure.axes[0].lines if len(line.get_ydata()) == 3]
    assert np.ptp(by_layer[1]) == pytest.approx(0.0, abs=1e-6)
    assert np.ptp(by_layer[0]) > 0.0
    with pytest.raises(ValueError, match="no phases"):
        plot.phases(oscbench.build_model("softmax", "digits", model=SMALL), images)


def test_locking_draws_a_line_for_each_locked_pair() -> None:
    model = oscbench.build_model("ssa", "digits", model=SMALL)
    images = torch.randn(2, 1, 8, 8)
    pairs = model(images[1:], diagnostics=True).diagnostics[0]["attention"][0, 0].detach().numpy()
    first = plot.locking(model, images, sample=1).axes[0]
    locked = (pairs > 0) | (pairs.T > 0)
    assert len(first.collections[0].get_segments()) == int(np.triu(locked, 1).sum())
    off = ~np.eye(len(pairs), dtype=bool)
    assert first.get_title(loc="center") == f"layer 1: {(pairs > 0)[off].mean():.0%} of pairs"
    every = plot.locking(oscbench.build_model("softmax", "digits", model=SMALL), images).axes
    assert every[0].get_title(loc="center") == "layer 1: 100% of pairs"


def test_oscillators_end_at_their_fixed_points() -> None:
    model = oscbench.build_model("fixed_query", "digits", model=SMALL, settings={"d_osc": 3})
    figure = plot.settling(model, torch.randn(2, 1, 8, 8))
    angles = np.array([line.get_ydata() for line in figure.axes[3].lines])
    assert np.all(np.diff(angles) <= 1e-9), "none turns back"
    assert np.median(angles[:, -1]) < 0.02
    assert np.median(angles[:, 0]) > 0.5
    assert rendered(figure)
    with pytest.raises(ValueError, match="no pull"):
        plot.settling(oscbench.build_model("softmax", "digits", model=SMALL), torch.randn(2, 1, 8, 8))


def test_the_way_to_rest_is_that_of_the_integrated_dynamics() -> None:
    generator = torch.Generator().manual_seed(0)
    start, pull = (
        torch.nn.functional.normalize(
            torch.randn(1, 1, 40, 5, generator=generator, dtype=torch.float64), dim=-1
        )
        for _ in range(2)
    )
    for horizon in (0.5, 2.0):
        wanted = settle(pull, start, solver="rk4", horizon=horizon, num_steps=200).state
        found = path_to_rest(start.numpy(), pull.numpy(), np.array([0.0, horizon]))
        np.testing.assert_allclose(found[0], start.numpy(), atol=1e-12)
        np.testing.assert_allclose(found[1], wanted.numpy(), atol=1e-6)


def test_a_sequence_shows_every_pair() -> None:
    model = oscbench.build_model("rope", "char_lm", model=SMALL, task_settings={"length": 12})
    figure = plot.attention(model, torch.randint(256, (1, 12)))
    assert [axes.images[0].get_array().shape for axes in figure.axes[:3]] == [(12, 12)] * 3

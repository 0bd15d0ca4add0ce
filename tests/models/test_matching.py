"""Matching brings every mechanism to the reference's cost, and refuses when it cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from oscbench import catalog
from oscbench.models.backbones.vision import Vision, VisionConfig
from oscbench.models.matching import (
    MatchingError,
    StepRatio,
    match,
    match_time,
    median_with_spread,
    num_parameters,
)
from oscbench.tasks import ImageInputs

INPUTS = ImageInputs(channels=3, height=12, width=8, num_classes=5)


def builder(name: str, **model: Any) -> Any:
    found = catalog.load("mechanisms", name)
    config = VisionConfig(**{"width": 32, "heads": 2, "layers": 2, "patch": 2, **model})
    return lambda hidden: Vision(config, INPUTS, found, found.Config(), hidden=hidden, seed=0)


def costs_steps(name: str) -> bool:
    """Whether its steps cost more FLOPs than the reference has in all, which no MLP can make up for."""
    return name == "akorn"


@pytest.mark.parametrize("by", ["params", "flops"])
@pytest.mark.parametrize("name", catalog.names("mechanisms"))
def test_residual_is_within_one_percent_and_true(name: str, by: Any) -> None:
    if by == "flops" and costs_steps(name):
        with pytest.raises(MatchingError, match=r"matching by flops: .* at 1 hidden units"):
            match(by, builder(name), builder("softmax"))
        return
    matched = match(by, builder(name), builder("softmax"))
    assert matched.residual is not None
    assert abs(matched.residual) <= 0.01
    model, reference = builder(name)(matched.hidden), builder("softmax")(None)
    count = num_parameters if by == "params" else lambda built: built.flops()
    assert count(model) == matched.value
    assert count(reference) == matched.target


def test_reference_matches_itself_exactly_and_none_moves_nothing() -> None:
    assert match("params", builder("softmax"), builder("softmax")).residual == 0.0
    untouched = match("none", builder("kope"), builder("softmax"))
    assert untouched.hidden == 128
    assert untouched.residual is None


def test_impossible_match_is_refused_with_the_numbers() -> None:
    with pytest.raises(
        MatchingError, match=r"matching by params: the nearest model has [\d,]+ against [\d,]+"
    ):
        match("params", builder("softmax", width=64), builder("softmax", width=32, mlp_ratio=0.1))


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_images_become_patches_in_reading_order(pool: Any) -> None:
    model = builder("softmax", pool=pool)(None)
    rows, columns = 6, 4
    assert model.num_tokens == rows * columns + (pool == "cls")
    images = torch.zeros(1, 3, 12, 8)
    images[0, :, 2:4, 6:8] = 1.0  # the patch in row 1, column 3
    with torch.no_grad():
        model.patches.bias.zero_()
        embedded = model.embed(images) - model.embed(torch.zeros_like(images))
    touched = embedded[0].abs().sum(-1).nonzero().flatten().tolist()
    assert touched == [(pool == "cls") + 1 * columns + 3]


def test_patch_that_does_not_divide_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match="patch 5 does not divide images of 12 × 8"):
        builder("softmax", patch=5)(None)


@pytest.mark.parametrize(
    ("mode", "has_table"), [("auto", True), ("learned", True), ("none", False), ("sinusoidal", False)]
)
def test_positions_are_the_backbones(mode: Any, has_table: bool) -> None:
    names = dict(builder("softmax", position=mode)(None).named_parameters())
    assert ("added.table.weight" in names) == has_table
    assert "added.table.weight" not in dict(builder("rope")(None).named_parameters())


def test_parameters_of_the_block_are_the_published_ones() -> None:
    """facts.md 2.2: at width 512 and 8 heads an OSN block has 3,152,393 parameters and a softmax block 3,152,384."""
    from oscbench.mechanisms import Shape
    from oscbench.models.trunk import Trunk

    counts = {}
    for name in ("softmax", "ssa"):
        found = catalog.load("mechanisms", name)
        shape = Shape(512, 8, 1, 4, 1, torch.Generator())
        trunk = Trunk(found(found.Config(), shape), hidden=2048)
        counts[name] = num_parameters(trunk) - num_parameters(trunk.final_norm)
    assert counts == {"softmax": 3_152_384, "ssa": 3_152_393}


def stopwatch(
    fixed: float, each: float, noise: Callable[[int], float] = lambda call: 1.0, spread: float | None = 0.001
) -> tuple[Callable[[int], StepRatio], list[int]]:
    """A measurer for which a step takes `fixed + each · hidden` of the reference's, and the list of what it was asked."""
    asked: list[int] = []

    def measure(hidden: int) -> StepRatio:
        asked.append(hidden)
        ratio = (fixed + each * hidden) * noise(len(asked))
        return StepRatio(ratio, spread, 11, ratio * 0.02, 0.02)

    return measure, asked


@pytest.mark.parametrize(("fixed", "each"), [(0.3, 0.7 / 128), (0.6, 0.01), (0.1, 0.001), (0.9, 0.003)])
def test_time_is_matched_and_what_is_recorded_was_measured_afresh(fixed: float, each: float) -> None:
    measure, asked = stopwatch(fixed, each)
    matched = match_time(128, measure, 0.02)
    assert matched.converged
    assert matched.residual == pytest.approx(fixed + each * matched.hidden - 1.0)
    assert abs(matched.residual) <= 0.02
    assert asked[-2:] == [matched.hidden, matched.hidden], (
        "a try that was chosen for being near proves nothing"
    )
    assert [units for units, _ in matched.details["tried"]] == asked
    assert (matched.target, matched.value) == (0.02, pytest.approx(0.02 * (1.0 + matched.residual)))


def test_noise_that_reaches_beyond_the_tolerance_is_told() -> None:
    measure, asked = stopwatch(0.3, 0.7 / 128, noise=lambda call: 1.0 + (0.05 if call % 2 else -0.05))
    matched = match_time(128, measure, 0.01)
    assert matched.converged is False
    assert len(asked) <= 15
    assert 100 < matched.hidden < 160


@pytest.mark.parametrize("spread", [None, 0.03])
def test_residual_whose_spread_is_too_wide_or_unknown_has_not_converged(spread: float | None) -> None:
    matched = match_time(128, stopwatch(0.3, 0.7 / 128, spread=spread)[0], 0.02)
    assert matched.residual == pytest.approx(0.0)
    assert matched.converged is False
    assert matched.spread == spread


def test_mechanism_that_is_too_slow_without_any_mlp_is_refused() -> None:
    with pytest.raises(MatchingError, match=r"with one hidden unit a training step still takes 1\.4"):
        match_time(128, stopwatch(1.4, 0.001)[0], 0.02)


def test_steps_in_the_time_end_the_search_at_the_nearest_model() -> None:
    """Kernels take widths in blocks, so that no model may lie within the tolerance."""

    def measure(hidden: int) -> StepRatio:
        return StepRatio(0.9 if hidden < 96 else 1.2, 0.001, 11, 1.0, 1.0)

    matched = match_time(128, measure, 0.02)
    assert matched.hidden < 96
    assert matched.residual == pytest.approx(-0.1)
    assert matched.converged is False


def test_spread_is_that_of_a_notched_box_and_needs_five_rounds() -> None:
    assert median_with_spread([1.0, 2.0, 3.0, 4.0]) == (2.5, None)
    median, spread = median_with_spread([1.0, 1.0, 1.0, 1.0, 1.0, 9.0])
    assert median == 1.0
    assert spread is not None
    assert spread > 0
    assert median_with_spread([1.0] * 9) == (1.0, 0.0)


def test_models_to_be_matched_by_time_are_planned_with_their_usual_width() -> None:
    planned = match("time", builder("kope"), builder("softmax"))
    assert (planned.hidden, planned.residual, planned.converged) == (128, None, None)

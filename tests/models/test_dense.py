"""Dense prediction: pixels come from their own token, tokens from everywhere, and grids may grow where positions go on."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from oscbench import catalog
from oscbench.models.backbones.dense import Dense, DenseConfig, images_of
from oscbench.models.backbones.vision import patches_of
from oscbench.ops.dispatch import UnsupportedError
from oscbench.ops.flops import flop_counter
from oscbench.tasks import ImageInputs

INPUTS = ImageInputs(channels=2, height=8, width=12, num_classes=3)
MECHANISMS = catalog.names("mechanisms")


def dense(name: str = "softmax", settings: dict[str, Any] | None = None, **model: Any) -> Dense:
    found = catalog.load("mechanisms", name)
    config = DenseConfig(**{"width": 16, "heads": 2, "layers": 2, "patch": 4, **model})
    made = Dense(config, INPUTS, found, found.Config(**(settings or {})), hidden=None, seed=0)
    return made.double().eval()


def images(height: int = 8, width: int = 12, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 2, height, width, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_patches_come_back_where_they_were(size: int) -> None:
    given = images()
    assert torch.equal(images_of(patches_of(given, size), size, 12), given)


# At its published start a token of SSA hears itself alone.
@pytest.mark.parametrize("name", [name for name in MECHANISMS if name != "ssa"])
def test_each_pixel_has_logits_that_every_patch_moves(name: str) -> None:
    model = dense(name)
    given = images()
    before = model(given).prediction
    assert before.shape == (2, 3, 8, 12)
    given[0, :, 4:, 8:] += 1.0
    moved = (model(given).prediction - before).abs().amax(1)
    assert bool((moved[0] > 0).all()), "the far corner reaches all pixels through the mechanism"
    assert bool((moved[1] == 0).all())


def test_a_pixel_is_read_from_its_own_token() -> None:
    model = dense()
    features = torch.randn(1, 6, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    before = images_of(model.read_out(features), 4, 12)
    features[0, 4] += 1.0  # the second row's second patch
    moved = (images_of(model.read_out(features), 4, 12) != before).any(1)[0]
    expected = torch.zeros(8, 12, dtype=torch.bool)
    expected[4:, 4:8] = True
    assert torch.equal(moved, expected)


@pytest.mark.parametrize("name", ["rope", "kope", "torus", "uniform"])
def test_without_learned_positions_a_larger_grid_is_the_same_function(name: str) -> None:
    model = dense(name, position="none")
    wide = model(images(12, 16)).prediction
    assert wide.shape == (2, 3, 12, 16)
    larger = catalog.load("mechanisms", name)
    other = ImageInputs(2, 12, 16, 3)
    fresh = Dense(model.config, other, larger, larger.Config(), hidden=None, seed=0).double().eval()
    fresh.load_state_dict(model.state_dict())
    assert torch.allclose(fresh(images(12, 16)).prediction, wide)


def test_learned_positions_and_odd_sizes_refuse() -> None:
    model = dense()
    with pytest.raises(
        UnsupportedError, match="learned positions are those of 2 × 3 patches, an image has 3 × 4"
    ):
        model(images(12, 16))
    # As many patches, in another shape.
    with pytest.raises(UnsupportedError, match="an image has 3 × 2"):
        model(images(12, 8))
    with pytest.raises(UnsupportedError, match="patch 4 does not divide images of 8 × 10"):
        model(images(8, 10))
    with pytest.raises(ValueError, match="patch 5 does not divide images of 8 × 12"):
        dense(patch=5)


@pytest.mark.parametrize("name", ["softmax", "rope", "kope"])
def test_flops_are_those_that_run(name: str) -> None:
    model = dense(name).float()
    with flop_counter() as counter, torch.no_grad():
        model(images()[:1].float())
    assert counter.get_total_flops() == model.flops()

"""Blocks that are taken several times: the same block by hand, its cost and its diagnostics; token by token in test_generation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from measure_subjects import make_subject
from torch import Tensor, nn

from oscbench import catalog
from oscbench.measures import Subject
from oscbench.measures.operations import OperationCount, OperationsConfig
from oscbench.models.backbones.dense import Dense, DenseConfig
from oscbench.ops.flops import flop_counter
from oscbench.settings import spelled
from oscbench.tasks import ImageInputs

MECHANISMS = catalog.names("mechanisms")


def dense(name: str, **model: Any) -> Dense:
    found = catalog.load("mechanisms", name)
    config = DenseConfig(**{"width": 16, "heads": 2, "layers": 2, "repeats": 3, **model})
    inputs = ImageInputs(channels=1, height=16, width=16, num_classes=3)
    return Dense(config, inputs, found, found.Config(), hidden=24, seed=0).double().eval()


def images() -> Tensor:
    return torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@torch.no_grad()
@pytest.mark.parametrize("name", MECHANISMS)
def test_a_block_that_is_repeated_is_the_block_after_itself(name: str) -> None:
    model = dense(name, layers=1)
    trunk = model.trunk
    trunk.final_norm = nn.Identity()
    tokens, context = trunk.mechanism.stream.enter(model.embed(images())), model.context(images())
    whole = trunk.run(tokens, context)
    trunk.repeats, state = 1, None
    for _ in range(3):
        once = trunk.run(tokens, context, state)
        tokens, state = once.tokens, once.state
    assert torch.equal(whole.tokens, tokens)


@torch.no_grad()
@pytest.mark.parametrize("name", ["softmax", "kope", "torus"])
def test_blocks_come_in_turn_each_as_often(name: str) -> None:
    """Which repeating the whole trunk is not."""
    model = dense(name)
    calls: list[int] = []
    for layer, norm in enumerate(model.trunk.mixing_norms):
        norm.register_forward_hook(lambda *_, layer=layer: calls.append(layer))
    model(images())
    assert calls == [0, 0, 0, 1, 1, 1]


@torch.no_grad()
@pytest.mark.parametrize("name", ["kope", "torus", "ssa"])
def test_diagnostics_and_calibrations_are_one_a_layer(name: str) -> None:
    model = dense(name)
    plain = dense(name, repeats=1)
    assert len(model(images(), diagnostics=True).diagnostics) == 2
    assert len(model.calibrate(images())) == len(plain.calibrate(images()))


@torch.no_grad()
@pytest.mark.parametrize("name", MECHANISMS)
def test_flops_are_counted_in_every_repeat(name: str) -> None:
    model = dense(name).float()
    with flop_counter() as counter:
        model(images()[:1].float())
    assert model.flops() == counter.get_total_flops()


def operations(subject: Subject) -> Any:
    found = OperationCount(OperationsConfig()).after(subject).measures["operations"]
    return found.details["counts"]


@pytest.mark.parametrize("name", MECHANISMS)
def test_operations_hold_as_many_products_as_flops(name: str) -> None:
    subject = make_subject(name, repeats=3)
    assert 2 * operations(subject)["multiply_adds"] == subject.model.flops()


def test_operations_are_those_of_as_many_blocks() -> None:
    assert operations(make_subject(layers=1, repeats=3)) == operations(make_subject(layers=3))


def test_once_is_what_a_model_is_without_the_setting() -> None:
    assert "repeats" not in spelled(DenseConfig())
    assert spelled(DenseConfig(repeats=2))["repeats"] == 2
    one, two = dense("softmax", repeats=1).state_dict(), dense("softmax").state_dict()
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one)

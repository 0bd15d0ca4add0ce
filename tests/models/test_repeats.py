"""Blocks that are taken several times: the same block by hand, its cost, its diagnostics and its cache."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from measure_subjects import make_subject
from torch import Tensor, nn

from oscbench import catalog
from oscbench.measures.operations import OperationCount, OperationsConfig
from oscbench.models.backbones.dense import Dense, DenseConfig
from oscbench.models.backbones.sequence import Sequence, SequenceConfig
from oscbench.ops.decode import Cache
from oscbench.ops.flops import flop_counter
from oscbench.settings import spelled
from oscbench.tasks import ImageInputs, SequenceInputs

MECHANISMS = catalog.names("mechanisms")
SEEN = [name for name in MECHANISMS if catalog.load("mechanisms", name).traits.cacheable]


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
    trunk = dense(name, layers=1).trunk
    model = dense(name, layers=1)
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


@pytest.mark.parametrize("name", MECHANISMS)
def test_operations_hold_as_many_products_as_flops(name: str) -> None:
    subject = make_subject(name, repeats=3)
    counts = OperationCount(OperationsConfig()).after(subject).measures["operations"].details["counts"]
    assert 2 * counts["multiply_adds"] == subject.model.flops()


def test_operations_are_those_of_as_many_blocks() -> None:
    many, deep = (
        OperationCount(OperationsConfig())
        .after(make_subject(**model))
        .measures["operations"]
        .details["counts"]
        for model in ({"layers": 1, "repeats": 3}, {"layers": 3})
    )
    assert many == deep


@torch.no_grad()
@pytest.mark.parametrize("name", SEEN)
def test_one_token_at_a_time_gives_the_logits_of_the_full_pass(name: str) -> None:
    found = catalog.load("mechanisms", name)
    config = SequenceConfig(width=16, heads=2, layers=2, repeats=3, position="learned")
    inputs = SequenceInputs(vocabulary=11, length=12, num_outputs=11, is_causal=True, padding=0)
    model = Sequence(config, inputs, found, found.Config(), hidden=None, seed=0).double().eval()
    ids = torch.randint(1, 11, (2, 12), generator=torch.Generator().manual_seed(0))
    model.trunk.calibrate(model.embed(ids), model.context(ids))
    cache = Cache(12)
    stepped = torch.cat([model.proceed(part, cache) for part in (ids[:, :5], *ids[:, 5:].split(1, 1))], 1)
    full = model(ids).prediction
    assert float(((stepped - full).norm(dim=-1) / full.norm(dim=-1)).max()) < 1e-9


def test_once_is_what_a_model_is_without_the_setting() -> None:
    assert "repeats" not in spelled(DenseConfig())
    assert spelled(DenseConfig(repeats=2))["repeats"] == 2
    one, two = dense("softmax", repeats=1).state_dict(), dense("softmax").state_dict()
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one)

"""A mechanism may let parts of it learn at another rate, and a recipe the first layers; weight decay may move from step to step."""

from __future__ import annotations

import math

import pytest
import torch
from measure_subjects import make_subject
from pydantic import ValidationError

from oscbench.models.rates import cosine, set_weight_decay
from oscbench.runner.plan import make_plan
from oscbench.runner.training import loop
from oscbench.runner.training.loop import learning_rate_factor, make_optimizer, train
from oscbench.runner.training.specs import parts_of
from oscbench.suite import load_suite
from oscbench.suite.schema import Train

SETTINGS = {"learning_rate": 1e-3, "weight_decay": 0.1, "beta2": 0.99}


def built(tiny, mechanism):
    (cell,) = make_plan(
        load_suite(str(tiny(mechanisms=f"[{mechanism}]", model="{width: 8, heads: 2, layers: 3}"))),
        only=[],
        device="cpu",
    )
    parts = parts_of(cell.spec)
    return parts.build(
        cell.spec["mechanism"], 16, 0, parts.task_class.describe(parts.task_config)
    ), cell.identity


@pytest.mark.parametrize("coupling", ["shared", "per_block"])
def test_coupling_learns_at_its_own_rate_and_nothing_else_does(tiny, coupling):
    settings = f"{{coupling_rate: 0.5, coupling: {coupling}}}"
    model, _ = built(tiny, f"{{name: kope, variant: x, settings: {settings}}}")
    optimizer = make_optimizer(model, SETTINGS)
    rates, decays = {}, {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            rates[parameter], decays[parameter] = group["lr"], group["weight_decay"]
    assert len(rates) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        assert rates[parameter] == (5e-4 if ".couplings." in name else 1e-3), name
    coupling_module = model.trunk.mechanism.couplings[0]
    assert decays[coupling_module.q.weight] == 0.1
    assert decays[coupling_module.q.bias] == 0.0
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.1)
    assert sorted({round(group["lr"], 9) for group in optimizer.param_groups}) == [5e-5, 1e-4]


def test_rate_of_one_is_the_recipe_and_the_same_cell(tiny):
    plain, identity = built(tiny, "{name: kope, variant: x}")
    spelled_out, same = built(tiny, "{name: kope, variant: x, settings: {coupling_rate: 1.0}}")
    assert identity == same
    groups = [make_optimizer(model, SETTINGS).param_groups for model in (plain, spelled_out)]
    assert [len(group["params"]) for group in groups[0]] == [len(group["params"]) for group in groups[1]]
    assert len(groups[0]) == 2


def rates_of(model, **changes):
    optimizer = make_optimizer(model, SETTINGS | changes)
    found = {parameter: group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    return {name: found[parameter] for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("coupling", ["shared", "per_block"])
def test_layers_learn_the_slower_the_nearer_they_are_to_the_inputs(tiny, coupling):
    settings = f"{{coupling_rate: 0.5, coupling: {coupling}}}"
    model, _ = built(tiny, f"{{name: kope, variant: x, settings: {settings}}}")
    found = rates_of(model, layer_decay=0.9)
    layers = 3
    powers = {"trunk.final_norm.weight": 0, "head.weight": 0, "trunk.mechanism.mixing": 0}
    powers |= {"patches.weight": layers + 1, "cls.weight": layers + 1, "added.table.weight": layers + 1}
    for layer in range(layers):
        for name in (
            f"mixing_norms.{layer}.weight",
            f"mlps.{layer}.up.weight",
            f"mechanism.layers.{layer}.out.bias",
        ):
            powers[f"trunk.{name}"] = layers - layer
    for name, power in powers.items():
        assert found[name] == pytest.approx(1e-3 * 0.9**power, rel=1e-12), name
    assert found["trunk.mechanism.couplings.0.q.weight"] == 5e-4, (
        "all blocks share it, or it lies between two"
    )
    assert len(found) == len(list(model.parameters()))


def test_every_matrix_decays_at_every_depth_and_nothing_else(tiny):
    model, _ = built(tiny, "{name: kope, variant: x}")
    optimizer = make_optimizer(model, SETTINGS | {"layer_decay": 0.9, "final_weight_decay": 0.4})
    set_weight_decay(optimizer, 0.25)
    decays = {
        parameter: group["weight_decay"] for group in optimizer.param_groups for parameter in group["params"]
    }
    plain = make_optimizer(model, SETTINGS)
    for group in plain.param_groups:
        for parameter in group["params"]:
            assert decays[parameter] == (0.25 if group["weight_decay"] else 0.0)


def test_weight_decay_moves_by_a_cosine(monkeypatch):
    found = [cosine(step, 10, 0.04, 0.4) for step in range(10)]
    written = [0.4 + 0.5 * (0.04 - 0.4) * (1.0 + math.cos(math.pi * step / 10)) for step in range(10)]
    assert found == pytest.approx(written, abs=1e-15)
    assert found[0] == pytest.approx(0.04)
    seen = []
    monkeypatch.setattr(loop, "set_weight_decay", lambda optimizer, value: seen.append(value))
    subject = make_subject("softmax")
    recipe = {"steps": 5, "batch_size": 64, "warmup": 0.1, "clip": 1.0, **SETTINGS, "final_weight_decay": 0.4}
    train(subject, recipe, 0, lambda done, total: None)
    assert seen == [cosine(step, 5, 0.1, 0.4) for step in range(5)]


def test_a_recipe_says_neither_where_it_wants_neither(tiny):
    spelled = "{epochs: 1, final_weight_decay: null, layer_decay: 1.0}"
    one, same, other = (
        make_plan(load_suite(str(tiny(mechanisms="[softmax]", train=train))), only=[], device="cpu")[0]
        for train in ("{epochs: 1}", spelled, "{epochs: 1, final_weight_decay: 0.4, layer_decay: 0.9}")
    )
    assert one.identity == same.identity
    assert one.spec["train"] == same.spec["train"]
    assert other.protocol != one.protocol


def test_a_captured_step_cannot_have_a_moving_weight_decay(tiny, oscbench):
    path = tiny(train="{epochs: 1, graph: true, final_weight_decay: 0.4}", mechanisms="[softmax]")
    ended = oscbench("run", path, "--dry-run")
    assert ended.code == 2
    assert len(ended.err.strip().splitlines()) == 1
    assert "leave out graph or final_weight_decay" in ended.err


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

"""A mechanism may let parts of it learn at another rate; everything else is the recipe's."""

from __future__ import annotations

import pytest
import torch

from oscbench.runner.plan import make_plan
from oscbench.runner.training.loop import make_optimizer
from oscbench.runner.training.specs import parts_of
from oscbench.suite import load_suite

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

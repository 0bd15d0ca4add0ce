"""Every part of a recipe reaches the optimiser, the schedule and the step."""

from __future__ import annotations

import pytest
import torch
from measure_subjects import make_subject
from torch import nn

from oscbench.models.step import take_step
from oscbench.runner.training.loop import data_generators, make_optimizer, make_schedule

RECIPE = {"learning_rate": 1e-3, "weight_decay": 0.1, "beta2": 0.97, "warmup": 0.25, "clip": 0.01}


def test_the_second_momentum_is_the_recipes() -> None:
    optimizer = make_optimizer(make_subject().model, RECIPE)
    assert {group["betas"] for group in optimizer.param_groups} == {(0.9, 0.97)}


@pytest.mark.parametrize(("name", "settings"), [("softmax", {}), ("torus", {"gate": "static"}), ("kope", {})])
def test_what_is_one_row_a_layer_or_head_does_not_decay(name, settings) -> None:
    """CLS, torus's gate, lag and step, KoPE's scale of its coupling."""
    model = make_subject(name, settings).model
    decays = {p: g["weight_decay"] for g in make_optimizer(model, RECIPE).param_groups for p in g["params"]}
    for key, parameter in model.named_parameters():
        rows = 1 if parameter.dim() < 2 else min(parameter.shape[-2:])
        assert decays[parameter] == (0.1 if rows > 1 else 0.0), key
    assert decays[model.cls.weight] == 0.0


def test_the_schedule_is_the_recipes_from_its_warm_up_to_its_end() -> None:
    model = make_subject().model
    recipe = RECIPE | {"final_learning_rate": 2e-4}
    optimizer = make_optimizer(model, recipe)
    schedule = make_schedule(optimizer, recipe, 20)
    rates = []
    for _ in range(21):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[:5] == pytest.approx([2e-4, 4e-4, 6e-4, 8e-4, 1e-3])
    assert rates[20] == pytest.approx(2e-4)


def test_a_step_clips_all_gradients_together() -> None:
    subject = make_subject()
    batch = next(subject.task.training_batches(16, *data_generators(0)))
    norms = {}
    for clip in (None, 0.01):
        optimizer = torch.optim.SGD(subject.model.parameters(), lr=0.0)
        take_step(subject.model, subject.task, batch, optimizer, clip)
        norms[clip] = float(torch.stack([p.grad.norm() for p in subject.model.parameters()]).norm())
    assert norms[None] > 0.1
    assert norms[0.01] == pytest.approx(0.01, rel=1e-3)


def test_every_dropout_is_the_settings_and_none_is_on_in_an_evaluation() -> None:
    subject = make_subject(dropout=0.3)
    found = [module.p for module in subject.model.modules() if isinstance(module, nn.Dropout)]
    assert found == [0.3] * (1 + 2), "of embeddings, and of the MLP of each block"
    first, again = (subject.task.evaluate(subject.model, "validation", subject.device) for _ in range(2))
    subject.model.eval()
    assert first == again == subject.task.evaluate(subject.model, "validation", subject.device)

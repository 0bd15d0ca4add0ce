"""Rounding: twins of one float's difference part where dynamics stretch differences, and stay together where they do not."""

from __future__ import annotations

import copy

import pytest
import torch
from measure_subjects import make_subject

from oscbench.measures.rounding import FLAG, LIMIT, Rounding, RoundingConfig, growth, nudge
from oscbench.models.trunk import Output
from oscbench.runner.training.loop import rehearsal, train

RECIPE = {
    "steps": 300,
    "batch_size": 32,
    "learning_rate": 2e-3,
    "weight_decay": 0.05,
    "warmup": 0.1,
    "beta2": 0.99,
    "clip": 1.0,
}


def rehearsed(name, settings=None, **changes):
    """A subject that can rehearse."""
    subject = make_subject(name, settings)
    subject.model.calibrate(next(subject.task.batches("validation", 32)).inputs)
    subject.rehearse = rehearsal(subject, RECIPE | changes, seed=0)
    return subject


def test_every_weight_moves_by_one_float():
    model = make_subject("softmax").model
    moved = copy.deepcopy(model)
    nudge(moved)
    again = copy.deepcopy(model)
    nudge(again)
    ups = 0
    for before, after, same in zip(model.parameters(), moved.parameters(), again.parameters(), strict=True):
        assert torch.equal(after, same), "its coin has a seed"
        up = torch.nextafter(before, torch.tensor(torch.inf))
        down = torch.nextafter(before, torch.tensor(-torch.inf))
        assert bool(((after == up) | (after == down)).all())
        ups += int((after == up).sum())
    assert 0.4 < ups / sum(p.numel() for p in model.parameters()) < 0.6


class Scores(torch.nn.Module):
    def __init__(self, values):
        super().__init__()
        self.values = torch.tensor(values)

    def forward(self, inputs):
        return Output(self.values, [])


def test_the_distance_is_relative_in_epsilons_and_leaves_out_what_cannot_be_said():
    eps = torch.finfo(torch.float32).eps
    plain, other = Scores([3.0, 4.0, -torch.inf]), Scores([3.0, 4.0 + 50 * eps, -torch.inf])
    assert growth(plain, other, torch.zeros(1)) == pytest.approx(10.0, rel=0.05)
    assert growth(plain, plain, torch.zeros(1)) == 0.0


def test_dynamics_that_stretch_differences_are_flagged_and_others_are_not():
    stable = Rounding(RoundingConfig()).before(rehearsed("softmax"))
    value = stable.measures["rounding_growth"]
    assert 0.0 < value.value < LIMIT / 10
    assert stable.flags == []
    assert value.details["steps"] == 50
    chaotic = Rounding(RoundingConfig()).before(rehearsed("ssa", {"init_locked": 0.5}))
    assert chaotic.measures["rounding_growth"].value > 10 * LIMIT
    assert chaotic.flags == [FLAG]


def test_looking_changes_neither_the_model_nor_its_training():
    def trained(look):
        subject = rehearsed("kope", steps=12)
        before = copy.deepcopy(subject.model.state_dict())
        if look:
            torch.manual_seed(5)
            Rounding(RoundingConfig(steps=3)).before(subject)
            assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(5)))
            assert all(torch.equal(value, before[name]) for name, value in subject.model.state_dict().items())
            assert subject.model.training
            assert (subject.history.losses, subject.history.validation) == ([], [])
        train(subject, RECIPE | {"steps": 12}, 0, lambda done, total: None)
        return subject

    plain, looked = trained(look=False), trained(look=True)
    assert plain.history.losses == looked.history.losses
    assert all(
        torch.equal(a, b) for a, b in zip(plain.model.parameters(), looked.model.parameters(), strict=True)
    )


def test_a_rehearsal_is_the_beginning_of_the_training():
    subject = rehearsed("softmax")
    rehearsal_model = copy.deepcopy(subject.model)
    assert subject.rehearse(rehearsal_model, 4)
    train(subject, RECIPE, 0, lambda done, total: None, until=4)
    assert len(subject.history.losses) == 4
    assert all(
        torch.equal(a, b)
        for a, b in zip(rehearsal_model.parameters(), subject.model.parameters(), strict=True)
    )


def test_where_nothing_can_be_told_the_reason_is():
    (nothing,) = Rounding(RoundingConfig()).before(make_subject("softmax")).measures.values()
    assert (nothing.value, nothing.method, nothing.reason) == (
        None,
        "unavailable",
        "unavailable: nothing is trained",
    )
    diverging = rehearsed("softmax", learning_rate=1e30, clip=None)
    found = Rounding(RoundingConfig(steps=9)).before(diverging)
    assert found.flags == []
    assert found.measures["rounding_growth"].reason == "unavailable: the loss is no number within 9 steps"

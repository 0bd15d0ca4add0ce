"""Each law is broken by a mechanism that breaks it and kept by softmax; and a run refuses who hears the future."""

from __future__ import annotations

import lawless_mechanisms as lawless
import pytest
import torch

from oscbench import catalog
from oscbench.errors import PartError
from oscbench.mechanisms.softmax import Softmax, SoftmaxConfig
from oscbench.models.backbones.sequence import Sequence, SequenceConfig
from oscbench.models.laws import LAWS, broken
from oscbench.runner.training.causality import foreseen, prove_causal
from oscbench.tasks import SequenceInputs

BREAKERS = {
    "causal": (lawless.Foresees, "tokens before token 1 changed by"),
    "padding": (lawless.HearsPadding, "not causally, real tokens change by"),
    "order": (
        lawless.DeniesOrder,
        "it does not tell order apart by itself, and its traits say order_sensitive=True",
    ),
    "diagnostics": (lawless.ChangesUnderLooks, "gives another result when diagnostics are asked for"),
    "gradients": (lawless.Spare, "mechanism.spare gets no gradient: nothing reads it"),
    "precision": (lawless.Rounds, "in torch.float32 it is"),
    "images": (lawless.NeedsCompany, "what comes out of a single token is not finite"),
    "start": (lawless.StartsAnew, "mechanism.drawn starts otherwise each time: draw it from shape.generator"),
    "cost": (lawless.Flat, "twice the tokens cost"),
    "flops": (lawless.Undercounts, "PyTorch counts"),
}


def test_every_law_has_a_breaker():
    assert list(BREAKERS) == [law.name for law in LAWS]


@pytest.mark.parametrize("name", BREAKERS)
def test_a_law_is_broken_by_whom_breaks_it_and_by_nobody_else(name):
    mechanism, told = BREAKERS[name]
    found = dict(zip(BREAKERS, broken(mechanism, {}), strict=True))
    also = {"cost": {"flops"}, "start": {"precision"}}.get(name, set())
    assert found[name].startswith(told)
    assert {law for law, what in found.items() if what is not None} == {name} | also


def test_softmax_keeps_all():
    assert broken(Softmax, {}) == [None] * len(LAWS)


def test_a_mechanism_that_raises_breaks_what_it_was_asked_for():
    class Raises(Softmax):
        def mix(self, layer, tokens, state, context):
            raise RuntimeError("not written yet")

    found = dict(zip(BREAKERS, broken(Raises, {}), strict=True))
    assert found["causal"] == "RuntimeError: not written yet"
    assert found["cost"] is None


def model(mechanism, config, *, is_causal=True, inputs=None):
    inputs = inputs or SequenceInputs(vocabulary=7, length=6, num_outputs=7, is_causal=is_causal)
    settings = SequenceConfig(width=16, heads=2, layers=2)
    return Sequence(settings, inputs, mechanism, config, hidden=None, seed=0)


IDS = torch.arange(12).reshape(2, 6) % 7


@pytest.mark.parametrize("name", catalog.names("mechanisms"))
def test_no_mechanism_of_ours_hears_the_future_in_a_model(name):
    mechanism = catalog.load("mechanisms", name)
    for settings in ({}, *mechanism.examples):
        made = model(mechanism, mechanism.Config.model_validate(settings))
        made.calibrate(IDS)
        made.train()
        prove_causal(made, IDS)
        assert made.training


def test_who_hears_the_future_is_refused_where_the_task_is_causal():
    hears = model(lawless.Foresees, SoftmaxConfig())
    assert foreseen(hears, IDS) > 0.01
    with pytest.raises(PartError, match="mechanism Foresees hears the future: its outputs change by"):
        prove_causal(hears, IDS)
    prove_causal(model(lawless.Foresees, SoftmaxConfig(), is_causal=False), IDS)
    prove_causal(hears, IDS[:, :1])

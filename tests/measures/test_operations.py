"""Operations: half of the FLOPs are their matrix part, weights are the user's, solvers count every read."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from measure_subjects import make_subject

from oscbench import catalog, ops
from oscbench.measures import Subject
from oscbench.measures.evaluations import Evaluations
from oscbench.measures.operations import OperationCount, OperationsConfig
from oscbench.mechanisms.softmax import Softmax, SoftmaxConfig
from oscbench.models.backbones.grid import Grid, GridConfig
from oscbench.ops.operations import KINDS, Operations, attention_operations
from oscbench.tasks import Batch, GridInputs

ODE = {"dynamics": "ode", "solver": "rk4", "num_steps": 5}


def settings_of(name):
    found = catalog.load("mechanisms", name)
    return [{}, *getattr(found, "examples", ())]


CASES = [
    pytest.param(name, settings, id=f"{name}-{index}")
    for name in catalog.names("mechanisms")
    for index, settings in enumerate(settings_of(name))
]


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_matrix_products_are_half_of_the_flops(name, settings):
    mechanism = make_subject(name, settings).model.trunk.mechanism
    for tokens in (3, 17):
        assert mechanism.operations(tokens).multiply_adds * 2 == mechanism.flops(tokens)


@pytest.mark.parametrize("name", catalog.names("mechanisms"))
def test_the_whole_model(name):
    subject = make_subject(name)
    found = OperationCount(OperationsConfig()).after(subject).measures
    counts = found["operations"].details["counts"]
    assert set(counts) == set(KINDS)
    assert 2 * counts["multiply_adds"] == subject.model.flops()
    assert found["operations"].value == sum(counts.values()) + 9 * counts["exponentials"]


def test_weights_are_the_users():
    subject = make_subject()
    plain = OperationCount(OperationsConfig(weights=dict.fromkeys(KINDS, 0.0) | {"exponentials": 1.0}))
    found = plain.after(subject).measures["operations"]
    assert found.value == found.details["counts"]["exponentials"]
    with pytest.raises(ValueError, match='"sines"'):
        OperationsConfig(weights={"sines": 1.0})
    with pytest.raises(ValueError, match="0 or more"):
        OperationsConfig(weights={"roots": -1.0})
    with pytest.raises(ValueError, match='"sines"'):
        Operations().equivalents({"sines": 1.0})


def test_a_solver_counts_as_often_as_it_reads():
    subject = make_subject("fixed_query", ODE)
    evaluations = Evaluations(Evaluations.Config()).after(subject).measures["evaluations"]
    # Two layers, five steps of four evaluations each.
    assert evaluations.value == 2 * 5 * 4
    assert evaluations.details == {"by_layer": [20.0, 20.0]}
    solved = OperationCount(OperationsConfig()).after(subject).measures["operations"]
    closed = OperationCount(OperationsConfig()).after(make_subject("fixed_query")).measures["operations"]
    rows = 2 * 2 * subject.model.num_tokens
    assert solved.details["counts"]["divisions"] - closed.details["counts"]["divisions"] == 20 * rows


def test_who_solves_nothing_has_no_evaluations():
    found = Evaluations(Evaluations.Config()).before(make_subject("kope")).measures["evaluations_start"]
    assert (found.value, found.reason) == (0, None)


def test_a_solver_that_does_not_say_is_unknown_not_zero():
    subject = make_subject("softmax")
    mechanism = subject.model.trunk.mechanism
    mechanism.traits = dataclasses.replace(mechanism.traits, iterative=True)
    found = Evaluations(Evaluations.Config()).after(subject).measures["evaluations"]
    assert found.value is None
    assert "reports no" in found.reason
    assert OperationCount(OperationsConfig()).after(subject).measures["operations"].value is None


def test_a_model_of_several_passes_is_unknown_and_not_counted_once():
    """Matrix products would be of all loops, and exponentials of one."""
    inputs = GridInputs(rows=2, columns=2, vocabulary=5, num_outputs=5)
    for loops in (1, 3):
        model = Grid(
            GridConfig(width=8, heads=2, layers=1, loops=loops),
            inputs,
            Softmax,
            SoftmaxConfig(),
            hidden=8,
            seed=0,
        )
        ids = torch.zeros(2, 4, dtype=torch.long)
        subject = Subject(model, None, Batch(ids, ids), torch.device("cpu"), 2)
        found = OperationCount(OperationsConfig()).after(subject).measures["operations"]
        assert (found.value is None) == (loops > 1)
        if loops > 1:
            assert found.reason == "a sample goes through this model's blocks more than once"


def test_other_implementations_stand_apart():
    found = OperationCount(OperationsConfig()).after(make_subject("fixed_query")).measures
    assert set(found) == {"operations"} | {f"operations_{w}" for w in ("digital", "hybrid", "physical")}
    assert found["operations_physical"].value < found["operations_hybrid"].value
    assert found["operations_hybrid"].value < found["operations_digital"].value


@pytest.mark.parametrize("op_name", ops.op_names())
def test_a_batch_costs_its_examples(op_name):
    sizes = ops.op_of(op_name).sample_sizes
    one = attention_operations(op_name, 1, 2, 9, 8, **sizes)
    assert attention_operations(op_name, 3, 2, 9, 8, **sizes) == 3 * one
    assert one.exponentials == 2 * 9 * 9

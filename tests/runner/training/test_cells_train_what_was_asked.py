"""A cell's model, order, data and recipe are those of its spec: its seed, and what a search chose."""

from __future__ import annotations

from dataclasses import replace

import pytest

from oscbench.runner.cell import run_cell
from oscbench.runner.plan import make_plan
from oscbench.runner.training import kind
from oscbench.runner.training.space import with_values
from oscbench.suite import load_suite


@pytest.fixture
def noted(monkeypatch):
    """What `train` was given by the cells that ran: the start of the head, the recipe, the seed, and the data's hash."""
    seen = []

    def train(subject, settings, seed, *rest, **more):
        start = subject.model.head.weight.detach().clone()
        seen.append((start, dict(settings), seed, subject.task.data_hash()))
        subject.history.losses.append(1.0)

    monkeypatch.setattr(kind, "train", train)
    return seen


def test_a_cell_trains_at_its_seed_with_what_was_chosen_for_it(tiny, noted) -> None:
    suite = tiny(
        task="{name: digits, draw: per_seed}",
        mechanisms="[softmax]",
        seeds="[3, 4]",
        train="{steps: 2, batch_size: 64, learning_rate: 1e-3}",
        measures="[params]",
    )
    three, four = make_plan(load_suite(str(suite)), only=[], device="cpu")
    chosen = replace(four, spec=with_values(four.spec, {"train.learning_rate": 4e-3}, "tune"))
    for cell in (three, four, chosen):
        record = run_cell(cell, lambda done, total: None)
        assert record.status == "ok", record.reason
    (first, recipe, seed, data), (second, _, other, others), (_, tuned, _, _) = noted
    assert (seed, other) == (3, 4)
    assert not first.equal(second), "start values are the seed's"
    assert data != others, "and so are data that are drawn for each"
    assert (recipe["learning_rate"], tuned["learning_rate"]) == (1e-3, 4e-3)
    assert {key: tuned[key] for key in tuned if key != "learning_rate"} == {
        key: recipe[key] for key in recipe if key != "learning_rate"
    }

"""Scores before training: those of the model at its start, and nothing is moved by looking."""

from __future__ import annotations

import torch
from measure_subjects import make_subject

from oscbench.measures import MeasureConfig
from oscbench.measures.untrained import Untrained


def test_it_is_the_score_of_the_start_and_looking_moves_nothing():
    subject = make_subject()
    before = {name: value.clone() for name, value in subject.model.state_dict().items()}
    drawn = torch.get_rng_state()
    found = Untrained(MeasureConfig()).before(subject).measures
    assert torch.equal(torch.get_rng_state(), drawn)
    assert subject.model.training
    for name, value in subject.model.state_dict().items():
        assert torch.equal(value, before[name]), name
    wanted = subject.task.evaluate(subject.model, "test", subject.device)
    assert set(found) == {f"untrained_{name}" for name in wanted}
    metric = subject.task.metric
    headline = found[f"untrained_{metric.name}"]
    assert headline.value == wanted[metric.name].value
    assert headline.n == wanted[metric.name].count
    assert (headline.unit, headline.direction) == (metric.unit, metric.direction)
    assert headline.label == f"{metric.label}, before training"
    assert Untrained(MeasureConfig()).after(subject).measures == {}

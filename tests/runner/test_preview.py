"""A dry run takes seconds, however large the steps of the suite are."""

from __future__ import annotations

import pytest
import torch

from oscbench.records import Store
from oscbench.runner.plan import make_plan
from oscbench.runner.preview.cells import preview
from oscbench.runner.training import preview as previewing
from oscbench.runner.training.preview import TIMED_FLOPS, timed_batch
from oscbench.suite import load_suite


@pytest.mark.parametrize(
    ("flops", "expected"), [(1e6, 128), (TIMED_FLOPS / 3 / 128, 128), (TIMED_FLOPS / 31, 10), (1e15, 1)]
)
def test_a_large_step_is_timed_on_fewer_examples_on_a_processor_alone(flops, expected):
    assert timed_batch(128, round(flops), torch.device("cpu")) == expected
    assert timed_batch(128, round(flops), torch.device("cuda")) == 128


def test_fewer_examples_are_counted_up_to_the_whole_step(tiny, tmp_path, monkeypatch):
    loaded = load_suite(str(tiny(mechanisms="[softmax]")))
    cells, store = make_plan(loaded, only=[], device="cpu"), Store(tmp_path)
    taken = []

    def train(subject, settings, seed, progress):
        taken.append((settings["batch_size"], subject.batch_size))
        subject.history.step_seconds.append(100.0)

    monkeypatch.setattr(previewing, "train", train)
    (whole,) = preview(cells, store)
    monkeypatch.setattr(previewing, "TIMED_FLOPS", 3 * whole.flops * 16)
    (part,) = preview(cells, store)
    assert taken == [(128, 128), (16, 16)]
    assert whole.steps == part.steps
    # What is not a step is counted once; here steps take no time, so it is what they claim to have taken, below nothing.
    assert part.estimate + 100 == pytest.approx(8 * (whole.estimate + 100), rel=0.01)

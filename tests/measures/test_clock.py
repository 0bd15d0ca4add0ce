"""Interleaved timing, with a clock that says what the test wants."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from measure_subjects import make_subject

from oscbench.instruments.clock import Contender, Effort, Timed, WallClock, interleave, paired_ratio
from oscbench.measures.latency import Latency, LatencyConfig


class FakeClock:
    """Says for each contender what its function returns, and moves the time that `interleave` reads."""

    name = "fake"

    def __init__(self):
        self.time, self.visits = 0.0, []

    def sample(self, contender, repeats):
        seconds = contender.run()
        self.time += seconds * repeats
        self.visits.append((contender, repeats))
        return seconds

    def now(self):
        return self.time


def constant(seconds):
    return Contender(lambda: seconds)


def test_rounds_visit_all_each_in_an_order_of_its_own():
    clock = FakeClock()
    fast, slow = constant(0.01), constant(0.03)
    found = interleave({"fast": fast, "slow": slow}, clock, Effort(min_rounds=7), clock.now)
    visits = [contender for contender, _ in clock.visits[-14:]]
    rounds = list(zip(visits[::2], visits[1::2], strict=True))
    assert set(rounds) == {(fast, slow), (slow, fast)}
    assert found["fast"].median == 0.01
    assert len(found["slow"].samples) == 7
    assert found["slow"].converged
    assert paired_ratio(found["slow"], found["fast"]) == pytest.approx([3.0] * 7)


def test_short_calls_are_repeated_inside_a_sample():
    clock = FakeClock()
    found = interleave({"short": constant(1e-4), "long": constant(0.5)}, clock, Effort(), clock.now)
    assert found["short"].repeats == 20
    assert found["long"].repeats == 1


def test_it_warms_up_until_the_median_is_stable():
    falling = itertools.chain([5.0, 4.0, 3.0, 2.0], itertools.repeat(1.0))
    clock = FakeClock()
    found = interleave({"it": Contender(lambda: next(falling))}, clock, Effort(100.0), clock.now)
    assert set(found["it"].samples) == {1.0}
    assert found["it"].first == 5.0
    assert found["it"].warm_up >= 7


def test_noise_that_does_not_settle_ends_in_time_and_says_so():
    noise = itertools.cycle([0.1, 0.9, 0.2, 0.7])
    clock = FakeClock()
    found = interleave({"it": Contender(lambda: next(noise))}, clock, Effort(10.0), clock.now)
    assert not found["it"].converged
    assert clock.time < 11.0


def test_one_round_is_taken_however_long():
    clock = FakeClock()
    found = interleave({"it": constant(60.0)}, clock, Effort(10.0), clock.now)
    assert found["it"].samples == [60.0]
    assert not found["it"].converged
    assert found["it"].half_width() == math.inf


def test_what_is_prepared_is_not_timed():
    seen = []
    contender = Contender(seen.append, lambda: (len(seen),))
    assert WallClock().sample(contender, 3) >= 0.0
    assert seen == [0, 1, 2]


def test_latency_leaves_the_model_as_it_was():
    subject = make_subject("kope")
    before = {name: value.clone() for name, value in subject.model.state_dict().items()}
    config = LatencyConfig(
        seconds=0.02, min_rounds=1, batch_size=2, modes=("eager", "graph"), cached_tokens=()
    )
    found = Latency(config).after(subject).measures
    assert set(found) == {f"{p}{m}_s" for p in ("forward", "backward", "step") for m in ("", "_graph")}
    assert all(found[f"{p}_s"].value > 0 and found[f"{p}_s"].details["threads"] for p in ("forward", "step"))
    assert found["forward_graph_s"].value is None
    assert "CUDA device" in found["forward_graph_s"].reason
    assert all(torch.equal(before[name], value) for name, value in subject.model.state_dict().items())
    assert subject.model.training
    assert all(parameter.grad is None for parameter in subject.model.parameters())


def test_half_width_needs_five_samples():
    assert Timed(samples=[1.0] * 4).half_width() == math.inf
    assert Timed(samples=[1.0] * 5).half_width() == 0.0

"""Energy to a target: steps times joules where both are known, and a reason where one is not."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from oscbench.analysis.costs.targets import spent_to_target, steps_to_target
from oscbench.records import Curve, Measurement

CURVE = Curve(label="accuracy", unit="fraction", direction="higher", x=(10, 20, 30), y=(0.5, 0.8, 0.7))


def record(joules=2.0, batch_size=64, curves=True):
    energy = Measurement(
        value=joules,
        unit="J",
        label="energy",
        reason=None if joules else "no counter",
        details={"batch_size": 64},
    )
    spec = {"train": {"batch_size": batch_size}} if batch_size else {}
    return SimpleNamespace(
        curves={"accuracy": CURVE} if curves else {}, measures={"step_energy_j": energy}, spec=spec
    )


def test_steps_until_the_target():
    assert steps_to_target(CURVE, 0.75) == 20
    assert steps_to_target(CURVE, 0.9) is None
    falling = CURVE.model_copy(update={"direction": "lower"})
    assert steps_to_target(falling, 0.6) == 10


def test_joules_are_steps_times_joules_and_say_that_they_are_an_estimate():
    found = spent_to_target(record(), "accuracy", 0.8, "step_energy_j")
    assert (found.value, found.method) == (40.0, "estimated")


@pytest.mark.parametrize(
    ("given", "target", "reason"),
    [
        (record(), 0.9, "never reached in 30 steps"),
        (record(joules=None), 0.8, "no counter"),
        (record(batch_size=32), 0.8, "another batch size"),
        (record(batch_size=None), 0.8, "its training's size is not told"),
        (record(curves=False), 0.8, "no curve"),
    ],
)
def test_what_is_not_known_has_a_reason(given, target, reason):
    found = spent_to_target(given, "accuracy", target, "step_energy_j")
    assert found.value is None
    assert reason in found.reason

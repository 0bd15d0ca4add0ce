"""Costs: how they grow, what rounds leave open of a ratio of times, and what it took to reach a target."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
from synthetic_records import make_record

from oscbench.analysis.costs.growth import fit_growth
from oscbench.analysis.costs.targets import spent_to_target, steps_to_target
from oscbench.analysis.costs.timing import ratio_half_width
from oscbench.records import Curve, Measurement, Record


def timed(own: float | None = None, **halves: float | None) -> Record:
    known = {} if own is None else {"half_width": own}
    ratio = Measurement(value=1.2, unit="1", label="ratio", details={"reference": "softmax", **known})
    times = {
        f"step_s/{key}": Measurement(value=1.0, unit="s", label="time", details={"half_width": half})
        for key, half in halves.items()
    }
    return make_record().model_copy(update={"measures": {"step_ratio/ssa": ratio, **times}})


def test_a_ratios_own_width_stands() -> None:
    assert ratio_half_width(timed(0.02, ssa=0.3, softmax=0.4), "step_ratio/ssa") == 0.02


def test_what_a_time_is_over_itself_is_one() -> None:
    record = timed(ssa=0.3, softmax=0.4)
    same = record.measures | {"step_ratio/softmax": record.measures["step_ratio/ssa"]}
    assert ratio_half_width(record.model_copy(update={"measures": same}), "step_ratio/softmax") == 0.0


def test_of_older_records_two_widths_are_put_together() -> None:
    assert ratio_half_width(timed(ssa=0.03, softmax=0.04), "step_ratio/ssa") == pytest.approx(0.05)


@pytest.mark.parametrize("halves", [{"ssa": None, "softmax": 0.04}, {"ssa": 0.03}, {}])
def test_what_too_few_rounds_tell_is_open(halves: dict[str, float | None]) -> None:
    assert ratio_half_width(timed(**halves), "step_ratio/ssa") == math.inf


def test_a_power_law_gives_its_exponent_and_no_width():
    growth = fit_growth([64, 128, 256, 512], [3.0 * n**1.5 for n in (64, 128, 256, 512)])
    assert growth.exponent == pytest.approx(1.5)
    assert growth.low == pytest.approx(1.5)
    assert growth.high == pytest.approx(1.5)
    assert growth.sizes == 4


def test_noise_widens_the_interval_around_the_truth():
    noise = (1.2, 0.9, 1.1, 0.85, 1.05)
    growth = fit_growth([2**k for k in range(6, 11)], [n * 4.0**k for k, n in enumerate(noise)])
    assert growth.low < 2.0 < growth.high
    assert growth.high - growth.low > 0.1


def test_two_sizes_have_an_exponent_and_no_interval():
    growth = fit_growth([10, 20], [1.0, 4.0])
    assert growth.exponent == pytest.approx(2.0)
    assert (growth.low, growth.high) == (None, None)


@pytest.mark.parametrize(("tokens", "costs"), [([10], [1.0]), ([10, 10], [1.0, 2.0]), ([10, 20], [0.0, 1.0])])
def test_what_cannot_be_fitted_gives_nothing(tokens, costs):
    assert fit_growth(tokens, costs) is None


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

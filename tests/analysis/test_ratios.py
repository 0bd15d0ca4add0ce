"""What rounds leave open of a ratio of times."""

from __future__ import annotations

import math

import pytest
from synthetic_records import make_record

from oscbench.analysis.costs.timing import ratio_half_width
from oscbench.records import Measurement, Record


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

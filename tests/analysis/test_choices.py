"""Validation chooses in the metric's direction, few seeds are never equivalent, times of two machines are no ratio."""

from __future__ import annotations

import math

from claim_records import declaring
from synthetic_records import make_record

from oscbench.analysis.frame import Loaded
from oscbench.analysis.selection import headline_entries
from oscbench.analysis.study import assemble
from oscbench.records import Measurement


def only(records):
    (comparison,) = assemble(Loaded(tuple(records), (), ()), ["wave,plain"]).comparisons
    return comparison


def test_validation_chooses_the_lower_where_lower_is_better() -> None:
    def cell(variant: str, bits: float):
        record = make_record("wave", variant=variant)
        measured = Measurement(value=bits, unit="bits/character", label="validation bits", direction="lower")
        return record.model_copy(update={"measures": record.measures | {"validation_accuracy": measured}})

    found = headline_entries(
        [cell("position=learned", 1.7), cell("position=own", 1.5), cell("position=none", 1.9)]
    )
    assert found["wave"].variant == "position=own"


def test_seven_equal_seeds_are_not_called_equivalent() -> None:
    def told(seeds: int) -> str:
        return only(
            [make_record(m, s, value=0.8 + 0.01 * s) for m in ("plain", "wave") for s in range(seeds)]
        ).verdict

    assert (told(7), told(8)) == ("no clear difference", "equivalent")


def test_times_of_two_machines_make_no_ratio() -> None:
    records = [make_record(m, s) for m in ("plain", "wave") for s in range(3)]
    assert math.isfinite(only(records).costs.speed)
    other = [
        r.model_copy(update={"environment": r.environment | {"processor": r.mechanism}}) for r in records
    ]
    assert math.isnan(only(other).costs.speed)


def test_what_was_declared_is_corrected_alone() -> None:
    """Pairs that somebody explores beside it make no declared comparison harder to show, nor easier."""
    lifts = {"plain": 0.0, "wave": 0.02, "ring": 0.03, "tide": 0.04}
    records = declaring(
        [
            make_record(name, seed, value=0.8 + lift + 0.001 * ((seed * (at + 2)) % 5))
            for at, (name, lift) in enumerate(lifts.items())
            for seed in range(8)
        ],
        "wave - plain",
    )
    asked = ["wave,plain", "ring,plain", "tide,plain"]
    found = {c.treatment: c for c in assemble(Loaded(tuple(records), (), ()), asked).comparisons}
    assert [found[name].role for name in ("wave", "ring", "tide")] == ["confirms", "explores", "explores"]
    assert found["wave"].p_holm == found["wave"].paired.p == 2 / 2**8
    assert found["ring"].p_holm == found["tide"].p_holm == 2 * 2 / 2**8

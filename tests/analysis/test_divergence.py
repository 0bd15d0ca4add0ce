"""A side that lost seeds by itself gets no verdict that favours it."""

from __future__ import annotations

import pytest
from synthetic_records import make_record

from oscbench.analysis.frame import Loaded
from oscbench.analysis.study import assemble

LOW, HIGH = [0.80 + 0.001 * seed for seed in range(9)], [0.90 + 0.0011 * seed for seed in range(9)]


def verdict(wave: list[float], plain: list[float], loser: str, status: str = "diverged") -> tuple[str, str]:
    records = [
        make_record(m, s, value=v) for m, vs in (("wave", wave), ("plain", plain)) for s, v in enumerate(vs)
    ]
    records = [
        make_record(r.mechanism, r.seed, status=status, reason="nan")
        if (r.mechanism, r.seed) == (loser, 8)
        else r
        for r in records
    ]
    (comparison,) = assemble(Loaded(tuple(records), (), ()), ["wave,plain"]).comparisons
    assert comparison.paired is not None
    assert comparison.paired.n == 8
    return comparison.verdict, comparison.only_estimated


@pytest.mark.parametrize("status", ["diverged", "oom"])
def test_who_lost_a_seed_by_itself_does_not_win_by_what_is_left(status: str) -> None:
    told = "wave diverged or ran out of memory at seed 8, and what is left may favour it"
    assert verdict(HIGH, LOW, "wave", status) == ("estimates only", told)
    assert verdict(HIGH, LOW, "plain", status) == ("better", ""), "what plain lost favours plain"
    assert verdict(LOW, HIGH, "wave", status) == ("worse", "")
    assert verdict(LOW, HIGH, "plain", status)[0] == "estimates only"
    level = [value + 0.0001 * (-1) ** seed for seed, value in enumerate(LOW)]
    assert (
        verdict(level, LOW, "wave", status)[0] == verdict(level, LOW, "plain", status)[0] == "estimates only"
    )


def test_a_seed_that_its_machine_lost_takes_no_verdict() -> None:
    assert verdict(HIGH, LOW, "wave", "failed") == ("better", "")


def test_values_are_paired_by_their_seeds_also_where_one_in_the_middle_is_missing() -> None:
    records = [make_record("wave", s, value=0.5 + 0.03 * s) for s in (5, 0, 3, 1, 2, 4)]
    records += [make_record("plain", s, value=0.4 + 0.03 * s) for s in (0, 1, 3, 4, 5)]
    (comparison,) = assemble(Loaded(tuple(records), (), ()), ["wave,plain"]).comparisons
    assert comparison.seeds == (0, 1, 3, 4, 5)
    assert comparison.first == pytest.approx([0.5 + 0.03 * s for s in comparison.seeds])
    assert comparison.second == pytest.approx([0.4 + 0.03 * s for s in comparison.seeds])
    assert comparison.paired.std == pytest.approx(0.0, abs=1e-12)
    (turned,) = assemble(Loaded(tuple(records), (), ()), ["plain,wave"]).comparisons
    assert turned.first == comparison.second
    assert turned.second == comparison.first

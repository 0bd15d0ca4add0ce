"""A task that does not lift its best entry above a floor decides nothing, and says why."""

from __future__ import annotations

import pytest
from synthetic_records import make_record

from oscbench.analysis.floors import above_floor, is_floor
from oscbench.analysis.frame import Loaded
from oscbench.analysis.study import assemble
from oscbench.records import Record


def cells(mechanism: str, values: list[float], **changes: object) -> list[Record]:
    return [make_record(mechanism, seed, value=v, **changes) for seed, v in enumerate(values)]  # type: ignore[arg-type]


def floor(name: str, values: list[float], **changes: object) -> list[Record]:
    return [r.model_copy(update={"spec": r.spec | {"kind": "floor"}}) for r in cells(name, values, **changes)]


BEST = [0.741, 0.738, 0.745, 0.739, 0.742, 0.744, 0.740, 0.743]


def test_the_floor_is_paired_by_the_draw_of_data() -> None:
    one = floor("pixels", [0.70], data_hash="same")
    found = above_floor({"wave": cells("wave", BEST, data_hash="same"), "pixels": one})
    assert found is not None
    assert (found.best, found.floor, found.n) == ("wave", "pixels", 8)
    assert found.mean == pytest.approx(sum(BEST) / 8 - 0.70)
    assert found.decides
    assert found.reason == ""


def test_a_trained_floor_is_paired_by_seed() -> None:
    means = [v - 0.3 + 0.01 * s for s, v in enumerate(BEST[:3])]
    trained = [
        r.model_copy(update={"card": r.card.model_copy(update={"traits": {"floor": True}})})
        for r in cells("mean", means)
    ]
    assert all(map(is_floor, trained))
    found = above_floor({"wave": cells("wave", BEST), "mean": trained})
    assert found is not None
    assert (found.n, found.mean) == (3, pytest.approx(0.29))


def test_the_floor_that_is_least_below_counts_and_lower_may_be_better() -> None:
    low, high = floor("chance", [0.1], data_hash="d"), floor("pixels", [0.7], data_hash="d")
    found = above_floor({"wave": cells("wave", BEST, data_hash="d"), "chance": low, "pixels": high})
    assert found is not None
    assert found.floor == "pixels"
    assert above_floor({"wave": cells("wave", BEST)}) is None
    assert above_floor({"pixels": high}) is None


def test_a_reference_is_shown_and_withholds_nothing() -> None:
    """A simple model of the whole input may be ahead of all that was trained: a reader sees it, and comparisons stand."""
    linear = [
        r.model_copy(update={"card": r.card.model_copy(update={"traits": {"reference": True}})})
        for r in floor("linear", [0.9], data_hash="d")
    ]
    worse = [v - 0.05 for v in BEST]
    records = [
        *cells("wave", BEST, data_hash="d"),
        *cells("plain", worse, data_hash="d"),
        *floor("pixels", [0.5], data_hash="d"),
        *linear,
    ]
    (experiment,) = assemble(Loaded(tuple(records), (), ()), ()).experiments
    assert experiment.above_floor is not None
    assert experiment.above_floor.floor == "pixels"
    assert "linear" in {standing.entry.mechanism for standing in experiment.standings}
    assert [str(c.pair.treatment) for c in experiment.comparisons] == ["wave:default"], "nobody else"
    assert not experiment.comparisons[0].withheld


def test_verdicts_are_withheld_where_the_best_is_not_clearly_above_its_floor() -> None:
    worse = [v - 0.05 for v in BEST]
    records = [
        *cells("wave", BEST, data_hash="d"),
        *cells("plain", worse, data_hash="d"),
        *floor("pixels", [0.7345], data_hash="d"),
    ]
    ordered = tuple(sorted(records, key=lambda r: (r.suite, r.task)))
    made = assemble(Loaded(ordered, (), ()), ())
    (comparison,) = made.comparisons
    assert (comparison.treatment, comparison.baseline) == ("wave", "plain"), "a floor is compared with nobody"
    assert comparison.verdict == "withheld"
    assert "ahead of the floor pixels" in comparison.withheld
    assert "ranks no entries" in comparison.withheld
    (experiment,) = made.experiments
    assert experiment.above_floor is not None
    assert "pixels" in [s.name for s in experiment.standings], "it stands in the table"


def test_a_floor_that_ran_under_an_older_protocol_still_counts() -> None:
    """It is not run again where a suite's recipe or measures change, since its identity hashes the task alone."""

    def verdicts(*floors: Record) -> list[list[str]]:
        worse = [v - 0.05 for v in BEST]
        records = [*cells("wave", BEST, data_hash="d"), *cells("plain", worse, data_hash="d"), *floors]
        made = assemble(Loaded(tuple(sorted(records, key=lambda r: (r.suite, r.task))), (), ()), ())
        assert [e.split for e in made.experiments] == [False], "floors alone are no protocol"
        assert made.experiments[0].protocol == records[0].protocol
        return [[c.verdict for c in e.comparisons] for e in made.experiments]

    older, elsewhere = (
        floor("pixels", [0.7345], data_hash=data)[0].model_copy(update={"protocol": "older"})
        for data in ("d", "other")
    )
    assert verdicts() == [["better"]]
    assert verdicts(older) == [["withheld"]]
    assert verdicts(elsewhere) == [["better"]], "of other data it says nothing"


def test_over_values_a_verdict_falls_where_some_value_is_above_the_floor() -> None:
    def at(steps: int, lift: float) -> list[Record]:
        where = {"suite": f"x[train.steps={steps}]", "data_hash": "d"}
        return [
            *cells("wave", [v + lift for v in BEST], **where),
            *cells("plain", [v + lift - 0.05 for v in BEST], **where),
            *floor("pixels", [0.7345], **where),
        ]

    some = assemble(Loaded(tuple(at(100, 0.1) + at(50, 0.0)), (), ()), ())
    (whole,) = some.comparisons
    assert whole.verdict == "better"
    assert any(c.startswith("at training steps 50 the best entry") for c in whole.caveats)
    none = assemble(Loaded(tuple(at(100, 0.0) + at(50, 0.0)), (), ()), ())
    assert [c.verdict for c in none.comparisons] == ["withheld"]


def test_of_bits_the_best_is_lowest_and_must_be_below_its_floor() -> None:
    def bits(name: str, *values: float, kind: str = "train") -> list[Record]:
        return [
            r.model_copy(
                update={
                    "measures": {
                        "accuracy": r.measures["accuracy"].model_copy(
                            update={"unit": "bits/character", "direction": "lower"}
                        )
                    },
                    "spec": r.spec | {"kind": kind},
                }
            )
            for seed, value in enumerate(values)
            for r in [make_record(name, seed, value=value, data_hash="d")]
        ]

    floors = {name: bits(name, value, kind="floor") for name, value in (("grams", 2.5), ("chance", 8.0))}
    found = above_floor({"wave": bits("wave", 2.0, 2.1), "plain": bits("plain", 2.3, 2.4), **floors})
    assert found is not None
    assert (found.best, found.floor, found.mean) == ("wave", "grams", pytest.approx(0.45))
    behind = above_floor({"wave": bits("wave", 2.6, 2.7), "grams": floors["grams"]})
    assert behind is not None
    assert not behind.decides

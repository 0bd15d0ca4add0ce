"""Cost against quality: who is beaten, by whom, and how sure that is; and what it took to reach a target."""

from __future__ import annotations

import math

import pytest
from synthetic_records import make_record, replaced, toy_suite

from oscbench.analysis.costs.pareto import Point, fronts, places
from oscbench.analysis.experiment import Experiment
from oscbench.analysis.frame import Loaded
from oscbench.analysis.study import assemble
from oscbench.records import Curve, Matching, Measurement, Record
from oscbench.reporting.sections.energy import energy_reason, energy_table
from oscbench.reporting.sections.pareto import fronts_table
from oscbench.reporting.sections.targets import target_of, targets_table


def point(name: str, cost: float, quality: float, half: float = 0.0, cost_half: float = 0.0) -> Point:
    return Point(name, cost, (cost - cost_half, cost + cost_half), quality, (quality - half, quality + half))


def experiment(records: list[Record]) -> Experiment:
    (only,) = assemble(Loaded(tuple(records), (), ()), ()).experiments
    return only


def test_dominated_points_name_who_beats_them() -> None:
    found = places([point("a", 1, 0.5), point("b", 2, 0.9), point("c", 3, 0.8), point("d", 2, 0.4)])
    assert {n: p.state for n, p in found.items()} == {
        "a": "front",
        "b": "front",
        "c": "dominated",
        "d": "dominated",
    }
    assert found["c"].by == ("b",)
    assert found["d"].by == ("b", "a")


def test_overlapping_intervals_dominate_nobody_clearly() -> None:
    near = places([point("a", 1, 0.80, 0.05), point("b", 2, 0.75, 0.05)])
    assert (near["b"].state, near["b"].by) == ("unclear", ("a",))
    apart = places([point("a", 1, 0.90, 0.05), point("b", 2, 0.75, 0.05)])
    assert apart["b"].state == "dominated"
    blurred = places([point("a", 1, 0.90, 0.05, 0.8), point("b", 2, 0.75, 0.05, 0.8)])
    assert blurred["b"].state == "unclear"


def test_one_seed_dominates_nobody_clearly() -> None:
    alone = Point("a", 1.0, (1.0, 1.0), 0.9, (math.nan, math.nan))
    assert places([alone, point("b", 2, 0.5, 0.01)])["b"].state == "unclear"


def test_equal_points_are_both_on_the_front() -> None:
    found = places([point("a", 1, 0.5), point("b", 1, 0.5)])
    assert [p.state for p in found.values()] == ["front", "front"]


def test_costs_that_were_matched_count_as_equal() -> None:
    points = [point("a", 1000, 0.80, 0.001), point("b", 1002, 0.90, 0.001)]
    assert places(points)["a"].state == "front"
    assert places(points, tolerance=0.01)["a"].state == "dominated"


def test_a_section_has_a_front_for_each_cost_or_a_reason() -> None:
    found = {front.cost: front for front in fronts(experiment(toy_suite()))}
    assert found["Forward FLOPs a sample"].places["lock (dead)"].state == "dominated"
    assert found["Parameters"].places["lock (dead)"].state == "dominated", "within the matching's residual"
    assert (
        found["Operations a sample"].reason == "not measured: the suite does not list the measure operations"
    )
    table = fronts_table(experiment(toy_suite()), tuple(found.values()))
    assert table is not None
    assert len(table.rows) == 3
    assert "No front for operations a sample: not measured" in table.caption
    assert {row.get("state") for row in table.raw} >= {"front", "dominated"}


def test_a_control_matched_otherwise_leaves_matched_costs_equal() -> None:
    control = Matching(by="flops", reference="lock", hidden=9, control=True)
    wide = make_record("plain", 0, variant="wide").model_copy(update={"matching": control})
    wide = wide.model_copy(
        update={"spec": wide.spec | {"match": {"by": "params", "reference": {"name": "plain"}}}}
    )
    found = {front.cost: front for front in fronts(experiment([*toy_suite(), wide]))}
    assert found["Parameters"].places["lock (dead)"].state == "dominated"


def test_where_less_is_better_the_front_turns() -> None:
    cells = [
        replaced(r, {"accuracy": r.measures["accuracy"].model_copy(update={"direction": "lower"})})
        for r in toy_suite()
        if r.status == "ok"
    ]
    flops = next(f for f in fronts(experiment(cells)) if f.measure == "flops")
    assert flops.places["lock (dead)"].state == "front"
    assert flops.places["wave"].state == "dominated"


def test_times_of_several_machines_make_no_front() -> None:
    cells = [make_record("plain", s, environment={"processor": f"cpu {s}"}) for s in range(2)]
    found = {f.cost: f for f in fronts(experiment(cells))}
    assert found["Training time"].reason == "cells ran on more than one kind of machine"
    assert found["Parameters"].points


def test_energy_is_a_table_or_one_line() -> None:
    assert energy_reason(experiment(toy_suite())) == "unavailable: no counter"
    bare = [replaced(make_record("plain", 0), {})]
    bare = [
        r.model_copy(update={"measures": {k: v for k, v in r.measures.items() if k != "energy"}})
        for r in bare
    ]
    assert energy_reason(experiment(bare)) == "not measured: the suite does not list the measure energy"
    joules = Measurement(value=2.0, unit="J", label="energy", details={"counter": "RAPL"})
    table = energy_table(
        experiment([replaced(make_record("plain", s), {"step_energy_j": joules}) for s in range(2)])
    )
    assert table is not None
    assert [cell.text for cell in table.rows[0]] == ["plain", "n/a", "2.00 J", "n/a", "n/a", "RAPL"]


def climbing(mechanism: str, seed: int, top: float) -> Record:
    curve = Curve(
        label="validation accuracy",
        unit="fraction",
        direction="higher",
        x=(10, 20, 30),
        y=(0.2, top - 0.01, top),
    )
    measures = {
        "step_s": Measurement(value=0.5, unit="s", label="step"),
        "training_flops": Measurement(value=1e6, unit="FLOP", label="FLOPs a step"),
    }
    return replaced(make_record(mechanism, seed, value=top, curves={"validation_accuracy": curve}), measures)


def test_what_it_took_to_reach_the_target() -> None:
    cells = [climbing("plain", s, 0.9) for s in range(3)] + [climbing("ring", s, 0.6) for s in range(3)]
    chosen = target_of(experiment(cells))
    assert chosen is not None
    assert chosen[0] == pytest.approx(0.855)
    table = targets_table(experiment(cells))
    assert table is not None
    shown = {row[1].text: [cell.text for cell in row[2:]] for row in table.rows}
    assert shown["plain"] == ["3/3", "20.0", "20 to 20", "1", "10.0 s", "20.0 MFLOP", "n/a"]
    assert shown["ring"] == ["0/3", "never", "never to never", "n/a", *["never"] * 2, "n/a"]


def test_steps_are_set_against_the_reference_seed_by_seed() -> None:
    def at(mechanism: str, seed: int, step: int) -> Record:
        curve = Curve(label="v", unit="fraction", direction="higher", x=(step - 1, step), y=(0.1, 0.9))
        return make_record(mechanism, seed, value=0.9, curves={"validation_accuracy": curve})

    steps = {"plain": (100, 200, 400), "wave": (50, 100, 200)}
    cells = [at(name, seed, step) for name, own in steps.items() for seed, step in enumerate(own)]
    table = targets_table(experiment(cells), (0.5,))
    assert table is not None
    assert [c.heading for c in table.columns][3:6] == ["Steps", "Quartiles", "Over plain's"]
    shown = {row[1].text: [cell.text for cell in row[3:6]] for row in table.rows}
    assert shown == {"plain": ["200", "150 to 300", "1"], "wave": ["100", "75 to 150", "0.50× [0.50, 0.50]"]}


def test_targets_that_were_asked_for_stand_below_one_another() -> None:
    cells = [climbing("plain", s, 0.9) for s in range(3)] + [climbing("ring", s, 0.6) for s in range(3)]
    table = targets_table(experiment(cells), (0.1, 0.55, 0.9))
    assert table is not None
    steps = {(row[0].text, row[1].text): row[3].text for row in table.rows}
    assert steps["≥ 10.0 %", "ring"] == "10.0"
    assert steps["≥ 55.0 %", "ring"] == "20.0"
    assert steps["≥ 90.0 %", "plain"] == "30.0"
    assert steps["≥ 90.0 %", "ring"] == "never"
    assert {row["target"] for row in table.raw} == {0.1, 0.55, 0.9}


def test_without_a_reference_there_is_no_target() -> None:
    assert targets_table(experiment([make_record("wave", s, matching=None) for s in range(2)])) is None

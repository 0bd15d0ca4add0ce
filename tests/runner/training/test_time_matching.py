"""Matching by time: measured once for all seeds, kept by request and machine, never part of a request. No test reads a clock."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from oscbench.instruments.clock import Contender, Timed
from oscbench.models.matching import MatchingError
from oscbench.records import Matching, Store, identity
from oscbench.runner.matched_times import Measurements
from oscbench.runner.plan import make_plan
from oscbench.runner.training import match_time as step_time
from oscbench.runner.training.specs import match_spec, parts_of, request_key, time_requests
from oscbench.suite import load_suite

MATCH = "{by: time, reference: softmax, tolerance: 0.05}"
FOUND = {
    "by": "time",
    "hidden": 41,
    "target": 0.02,
    "value": 0.0202,
    "residual": 0.01,
    "spread": 0.004,
    "converged": True,
    "details": {"rounds": 11},
}


@pytest.fixture
def plan(tiny):
    def made(**changes):
        path = tiny(**({"match": MATCH, "seeds": 2} | changes))
        return make_plan(load_suite(str(path)), only=[], device="cpu")

    return made


def inputs_of(cell):
    parts = parts_of(cell.spec)
    return parts.task_class.describe(parts.task_config)


def test_planning_needs_no_measurement_and_a_request_holds_none(plan):
    cell = plan()[0]
    assert match_spec(cell.spec, inputs_of(cell)).hidden == 64
    assert replace(cell, measured={"x": FOUND}).identity == identity(cell.spec)


def test_seeds_share_a_request_and_mechanisms_do_not(plan):
    cells = plan()
    keys = {(cell.spec["mechanism"]["name"], cell.spec["seed"]): request_key(cell.spec) for cell in cells}
    assert keys["kope", 0] == keys["kope", 1] != keys["softmax", 0]
    wider = plan(model="{width: 32, heads: 2, layers: 1, patch: 4}")[0]
    assert request_key(wider.spec) != request_key(cells[0].spec)


NATURE = {"processor": "imagined", "cores": 2, "torch": "0"}


def measured_for(cells, measurements, measure):
    """The cells with what they wait for, measured one after another as a pool has it done."""
    given = []
    for cell in cells:
        while (request := measurements.lacking(cell, NATURE)) is not None:
            if not measurements.found(request):
                measurements.take(request, measure(request.cell))
        given.append(measurements.given_to(cell, NATURE))
    return given


def test_all_cells_of_a_run_get_one_measurement_which_is_kept(plan, tmp_path):
    cells, asked = plan(), []

    def measure(cell):
        asked.append(cell.spec["mechanism"]["name"])
        return FOUND

    store = Store(tmp_path / "results")
    given = measured_for(cells, Measurements(store), measure)
    assert sorted(asked) == ["kope", "softmax"]
    for cell in given:
        assert match_spec(cell.spec, inputs_of(cell), cell.measured).hidden == 41
    again = measured_for(cells, Measurements(store), lambda cell: pytest.fail("measured twice"))
    assert [cell.measured for cell in again] == [cell.measured for cell in given]
    measured_for(cells, Measurements(store, anew=True), measure)
    assert len(asked) == 4, "asked for anew: each once more, not once a seed"
    other = {**NATURE, "cores": 4}
    assert (
        Measurements(store).lacking(cells[0], other).key != Measurements(store).lacking(cells[0], NATURE).key
    )
    assert store.read_all() == ([], []), "what is shared is no record"


def test_measurement_that_breaks_is_left_to_the_cells_and_not_kept(plan, tmp_path):
    cells = plan()
    given = measured_for(cells, Measurements(Store(tmp_path / "results")), lambda cell: None)
    assert all(not cell.measured for cell in given)
    assert not list(tmp_path.rglob("*.json"))


def test_matching_that_is_impossible_is_kept_as_such(plan):
    cell = plan()[0]
    measured = {request_key(cell.spec): {"impossible": "matching by time: too slow", "details": {}}}
    with pytest.raises(MatchingError, match="too slow"):
        match_spec(cell.spec, inputs_of(cell), measured)


def test_control_by_time_needs_its_reference_first(plan):
    control = "{name: softmax, variant: slow, match: {reference: kope}}"
    cells = {
        cell.spec["variant"]: cell for cell in plan(mechanisms=f"[{{name: kope, variant: ours}}, {control}]")
    }
    requests = time_requests(cells["slow"].spec)
    assert [request["mechanism"]["name"] for request in requests] == ["kope", "softmax"]
    assert request_key(requests[0]) == request_key(cells["ours"].spec), "KoPE as the suite matches it"


def test_record_can_hold_what_was_measured():
    matching = Matching(reference="softmax", **FOUND)
    assert Matching.model_validate_json(matching.model_dump_json()) == matching


class Ruler:
    """A clock on which a step takes as long as what its contender returns."""

    name = "ruler"

    def sample(self, contender, repeats):
        return contender.run()


def test_search_finds_the_width_at_which_steps_take_equally_long(plan, monkeypatch):
    cell = plan()[-1]
    assert cell.spec["mechanism"]["name"] == "kope"

    def length(model, task, batch, settings):
        overhead = 0.02 if model.trunk.mechanism.label == "KoPE" else 0.0
        return Contender(lambda: 0.05 + overhead + 0.001 * model.trunk.hidden)

    monkeypatch.setattr(step_time, "training_step", length)
    monkeypatch.setattr(step_time, "clock_for", lambda device: Ruler())
    task = parts_of(cell.spec).task_class(parts_of(cell.spec).task_config)
    found = step_time.measure(cell.spec, task, torch.device("cpu"), {})
    assert json.loads(json.dumps(found)) == found
    assert abs(found["hidden"] - 44) <= 6, "0.02 s are 20 hidden units of the reference's 64"
    assert abs(found["residual"]) <= 0.05
    assert found["details"]["machine"]["torch"]
    known = step_time.measure_all(cell.spec, task, torch.device("cpu"), {request_key(cell.spec): found})
    assert known == {request_key(cell.spec): found}


def test_step_that_is_timed_is_a_whole_one_and_leaves_the_model_as_it_is(plan):
    cell = plan()[-1]
    parts = parts_of(cell.spec)
    task = parts.task_class(parts.task_config)
    model = parts.build(cell.spec["mechanism"], None, 0, task.inputs)
    batch = next(task.batches("validation", 4))
    contender = step_time.training_step(model, task, batch, cell.spec["train"])
    before = [parameter.detach().clone() for parameter in model.parameters()]
    loss = contender.run()
    assert float(loss.detach()) > 0
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_ratio_is_that_of_pairs_so_that_a_slow_spell_cancels():
    spell = [1.0, 1.0, 5.0, 5.0, 1.0, 1.0, 1.0]
    model, reference = Timed([1.1 * s for s in spell]), Timed(spell)
    found = step_time.step_ratio(model, reference)
    assert found.ratio == pytest.approx(1.1)
    assert found.spread == pytest.approx(0.0, abs=1e-12)
    assert found.rounds == 7

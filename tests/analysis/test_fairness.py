"""A control is compared, with a label that says how it was matched."""

from __future__ import annotations

from synthetic_records import make_record

from oscbench.analysis.choices import position_of
from oscbench.analysis.fairness import control_notes, position_notes, refusals, timed_alone
from oscbench.analysis.selection import Entry, pairs_by_reference
from oscbench.records import Matching

OWN = Matching(by="flops", reference="wave", target=1e6, value=1e6, residual=0.0, hidden=150, control=True)


def cells(mechanism, variant="default", matching=None, seeds=3):
    found = []
    for seed in range(seeds):
        record = make_record(mechanism, seed, variant=variant)
        spec = record.spec | {"match": {"by": "params", "reference": {"name": "plain"}}}
        changes = {"spec": spec} | ({"matching": matching} if matching else {})
        found.append(record.model_copy(update=changes))
    return found


def test_control_is_not_refused_but_labelled():
    wave, control = cells("wave"), cells("plain", "wave-flops", OWN)
    assert refusals(wave, control) == []
    assert control_notes([*wave, *control]) == [
        "plain:wave-flops is a control: matched by flops to wave, where the suite matches by params to plain"
    ]
    silent = [
        r.model_copy(update={"spec": {k: v for k, v in r.spec.items() if k != "match"}}) for r in control
    ]
    assert control_notes(silent) == ["plain:wave-flops is a control: matched by flops to wave"]


def test_unlike_matching_that_nobody_asked_for_is_still_refused():
    other = OWN.model_copy(update={"control": False})
    assert any("unlike matching" in reason for reason in refusals(cells("wave"), cells("plain", "x", other)))


def test_control_is_the_baseline_of_its_reference_alone():
    records = [*cells("plain"), *cells("wave"), *cells("ring"), *cells("plain", "wave-flops", OWN)]
    plain, control = Entry("plain", "default"), Entry("plain", "wave-flops")
    pairs = {(pair.treatment.mechanism, pair.baseline) for pair in pairs_by_reference(records)}
    assert pairs == {("wave", control), ("wave", plain), ("ring", plain)}


def at(position, given=True, own_model=None, traits=None, model="auto"):
    """Cells that stand at a position: as a plan says it, or as records from before it did."""
    found = []
    for record in cells("wave"):
        spec = record.spec | {"model": {"name": "vision", "position": model}}
        spec |= {"own_model": own_model} if own_model else {}
        card = record.card.model_copy(update={"traits": traits or {}})
        said = {"position": position} if given else {}
        found.append(record.model_copy(update={"spec": spec, "spec_given": said, "card": card}))
    return found


def test_position_is_what_the_plan_says_or_older_records_traits_say():
    both = {"needs_position": True, "order_sensitive": True}
    cases = [
        (at("learned+own"), "learned+own"),
        (at(None, given=False, traits=both), "learned+own"),
        (at(None, given=False, traits={"order_sensitive": True}), "own"),
        (at(None, given=False, traits={"needs_position": True}), "learned"),
        (at(None, given=False, traits=both, model="none"), "own"),
        (at(None, given=False, traits=both, own_model={"position": "none"}), "own"),
        (cells("wave"), ""),
    ]
    assert [position_of(made[0]) for made, _ in cases] == [expected for _, expected in cases]


def test_two_entries_that_differ_in_position_are_told_so_and_are_still_compared():
    ours, theirs = at("own", own_model={"position": "none"}), at("learned")
    assert position_notes(ours, theirs) == ["positions differ: own against learned"]
    assert position_notes(ours, ours) == []
    assert position_notes(ours, cells("wave")) == []
    assert refusals(ours, theirs) == []


def test_times_are_costs_only_of_cells_that_had_the_machine_to_themselves() -> None:
    alone = make_record("wave", 0)
    beside = alone.model_copy(update={"environment": alone.environment | {"load_average": 2.4}})
    unknown = alone.model_copy(update={"environment": {"threads": 1}})
    threaded = beside.model_copy(update={"environment": beside.environment | {"threads": 2}})
    assert [timed_alone(r) for r in (alone, beside, unknown, threaded)] == [True, False, False, True]

"""A control is compared, with a label that says how it was matched."""

from __future__ import annotations

from synthetic_records import make_record

from oscbench.analysis.fairness import control_notes, refusals
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


def test_unlike_matching_that_nobody_asked_for_is_still_refused():
    other = OWN.model_copy(update={"control": False})
    assert any("unlike matching" in reason for reason in refusals(cells("wave"), cells("plain", "x", other)))


def test_control_is_the_baseline_of_its_reference_alone():
    records = [*cells("plain"), *cells("wave"), *cells("ring"), *cells("plain", "wave-flops", OWN)]
    plain, control = Entry("plain", "default"), Entry("plain", "wave-flops")
    pairs = {(pair.treatment.mechanism, pair.baseline) for pair in pairs_by_reference(records)}
    assert pairs == {("wave", control), ("wave", plain), ("ring", plain)}

"""Records that are committed stay what a plan of today would ask for: no new setting gives their cells another identity."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from oscbench import catalog
from oscbench.mechanisms import MechanismConfig
from oscbench.records import Store, identity, protocol, suite_name
from oscbench.records.identity import canonical
from oscbench.settings import added, spelled
from oscbench.suite.errors import without_name
from oscbench.suite.schema import Train

REFERENCE = Path(__file__).parents[2] / "results" / "reference"


@pytest.fixture(scope="module")
def committed():
    records, damaged = Store(REFERENCE).read_all()
    assert not damaged
    assert len(records) > 1000
    return records


class Speller:
    """Writes specs anew through the settings as they are declared now; equal parts are written once."""

    def __init__(self):
        self.known = {}

    def named(self, kind, part):
        key = kind, canonical(part)
        if key not in self.known:
            config = catalog.load(kind, part["name"]).Config.model_validate(without_name(part))
            self.known[key] = {"name": part["name"], **spelled(config)}
        return self.known[key]

    def matching(self, part):
        return {**part, "reference": self.named("mechanisms", part["reference"])}

    def spec(self, spec):
        anew = {**spec, "train": Train.model_validate(spec["train"]).resolved()}
        anew |= {
            "mechanism": self.named("mechanisms", spec["mechanism"]),
            "task": self.named("tasks", spec["task"]),
            "model": self.named("backbones", spec["model"]),
            "measures": [self.named("measures", measure) for measure in spec["measures"]],
            "match": self.matching(spec["match"]),
        }
        if "own_match" in spec:
            anew["own_match"] = self.matching(spec["own_match"])
        return anew


def test_identity_and_protocol_of_every_committed_record_are_those_of_its_spec_written_anew(committed):
    speller, trained = Speller(), {}
    for record in committed:
        if record.spec["kind"] == "train":
            trained.setdefault(suite_name(record.suite), set()).add(record.protocol)
    for record in committed:
        spec = speller.spec(record.spec) if record.spec["kind"] == "train" else record.spec
        assert identity(spec) == record.identity, (record.suite, record.mechanism, record.variant)
        if spec["kind"] == "floor":  # bears the protocol of the cells that it stands under
            assert record.protocol in trained[suite_name(record.suite)], (record.suite, record.mechanism)
        else:
            assert protocol(spec) == record.protocol, (record.suite, record.mechanism, record.variant)


def test_committed_timings_bear_the_names_of_what_was_timed(committed):
    timings = [record for record in committed if record.spec["kind"] == "timing"]
    assert timings
    for record in timings:
        names = dict.fromkeys(contender["name"] for contender in record.spec["contenders"])
        assert record.mechanism == record.card.name == record.spec["mechanism"]["name"] == "+".join(names)
        assert len(names) > 1
        assert (record.card.idea, record.card.traits) == ("", {})


class Before(MechanismConfig):
    strength: float = 1.0


class After(Before):
    scale: float = added(1.0, neutral=1.0, gt=0.0)
    kind: str | None = added("new", neutral=None)


def test_added_setting_is_left_out_where_it_is_neutral_and_only_there():
    assert spelled(After(kind=None)) == spelled(Before())
    assert spelled(After()) == {"strength": 1.0, "kind": "new"}
    assert spelled(After(scale=2.0, kind=None)) == {"strength": 1.0, "scale": 2.0}
    assert After.model_validate(spelled(After(scale=2.0))) == After(scale=2.0)


def test_added_setting_keeps_its_bounds():
    with pytest.raises(ValidationError, match="greater than 0"):
        After(scale=0.0)

"""Floors of a suite: run beside its cells, once for each draw of the data, and compared with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import TINY

from oscbench.records import Record, Store
from oscbench.runner.floors import floor_cells
from oscbench.runner.plan import make_plan
from oscbench.runner.session import run_suite
from oscbench.suite import load_suite


def suite(folder: Path, **changed: object) -> str:
    """A file of the tiny suite with floors."""
    said = {**TINY, "mechanisms": "[softmax]", **changed}
    said.pop("floors")
    said |= {key: value for key, value in changed.items() if key == "floors"}
    path = folder / "tiny.yaml"
    path.write_text("\n".join(f"{key}: {value}" for key, value in said.items()))
    return str(path)


def planned(path: str) -> list[tuple[str, int]]:
    loaded = load_suite(path)
    cells = make_plan(loaded, only=[], device=None)
    return [(c.spec["mechanism"]["name"], c.spec["seed"]) for c in floor_cells(loaded, cells)]


def test_a_task_has_its_floors_once_unless_each_seed_has_data_of_its_own(tmp_path: Path) -> None:
    assert planned(suite(tmp_path, seeds=3)) == [("chance", 0), ("bag", 0), ("linear", 0)]
    assert planned(suite(tmp_path, seeds="[5, 7]")) == [("chance", 5), ("bag", 5), ("linear", 5)]
    each = suite(tmp_path, seeds="[5, 7]", task="{name: digits, draw: per_seed}")
    assert planned(each) == [(name, seed) for seed in (5, 7) for name in ("chance", "bag", "linear")]
    assert planned(suite(tmp_path, floors="false")) == []


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    folder = tmp_path_factory.mktemp("floors")
    assert run_suite(suite(folder), results=folder / "results", only=[], overrides=[], jobs=1) == 0
    found, damaged = Store(folder / "results").read_all()
    assert damaged == []
    return found


def test_floors_are_records_that_a_report_can_set_beside_cells(records: list[Record]) -> None:
    by_name = {record.mechanism: record for record in records}
    assert set(by_name) == {"softmax", "chance", "bag", "linear"}
    softmax, bag, linear = by_name["softmax"], by_name["bag"], by_name["linear"]
    assert (linear.card.label, linear.card.traits) == ("reference: linear", {"reference": True})
    assert linear.measures["accuracy"].value > 0.9, "it sees where pixels stand"
    assert bag.spec["kind"] == "floor"
    assert (bag.protocol, bag.data_hash, bag.metric) == (softmax.protocol, softmax.data_hash, softmax.metric)
    assert bag.measures["accuracy"].n == softmax.measures["accuracy"].n == 500
    assert 0.1 < by_name["chance"].measures["accuracy"].value < bag.measures["accuracy"].value < 0.6
    assert bag.measures["validation_accuracy"].n == 250
    assert "histogram" in bag.card.idea
    assert bag.card.traits["floor"]
    assert bag.identity != by_name["chance"].identity
    json.loads(bag.model_dump_json())


def test_what_counts_as_failed_stands_beside_the_headline(tmp_path: Path) -> None:
    path = suite(
        tmp_path,
        task="{name: agreement, training_sentences: 200, validation_sentences: 50, test_sentences: 100}",
        model="{width: 8, heads: 1, layers: 1}",
        train="{steps: 2, batch_size: 16}",
    )
    assert run_suite(path, results=tmp_path / "results", only=[], overrides=[], jobs=1) == 0
    found, _ = Store(tmp_path / "results").read_all()
    assert {record.mechanism for record in found} == {"softmax", "chance", "bag"}
    for record in found:
        declared = record.measures["accuracy"].details["failed"]
        assert declared == {"measure": "accuracy_hard", "level": 0.85, "direction": "higher"}
        assert record.measures["accuracy_hard"].details == {}


def test_chosen_cells_run_without_floors(tmp_path: Path) -> None:
    path = suite(tmp_path)
    chosen = ["mechanism=softmax"]
    assert run_suite(path, results=tmp_path / "results", only=chosen, overrides=[], jobs=1) == 0
    found, _ = Store(tmp_path / "results").read_all()
    assert [record.mechanism for record in found] == ["softmax"]

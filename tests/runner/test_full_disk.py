"""A disk that fills up in mid-run: what is finished is kept, nothing half written is left, and the same command goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_executor import NATURE, Fake, Watching

from oscbench.records import ResultsError, Store
from oscbench.runner.executors import Machine, Recorded, Trained
from oscbench.runner.matched_times import Measurements
from oscbench.runner.placement import Placement
from oscbench.runner.plan import make_plan
from oscbench.runner.pool import Pool
from oscbench.suite import load_suite


class Trains(Fake):
    """Every cell ends with weights."""

    def wait(self, seconds):
        found = []
        for one in super().wait(seconds):
            found += [Trained(one.ticket, b"weights")] if isinstance(one, Recorded) else []
            found.append(one)
        return found


def run(cells, store):
    def flow():
        yield cells

    fake = Trains([Machine("node0", 1, 0, nature=NATURE)])
    Pool(store, fake, Watching(), Placement(), Measurements(store), clock=fake.clock).run([flow()])


def test_a_disk_that_fills_up_keeps_the_record_and_says_how_it_goes_on(tiny, tmp_path, monkeypatch):
    def full(path, target):
        if target.suffix == ".safetensors":
            raise OSError(28, "No space left on device")
        return replaced(path, target)

    replaced = Path.replace
    monkeypatch.setattr(Path, "replace", full)
    wanted = make_plan(load_suite(str(tiny(mechanisms="[softmax]", seeds=3))), only=[], device="cpu")
    store = Store(tmp_path)
    with pytest.raises(ResultsError) as caught:
        run(wanted, store)
    told = "cannot be written (No space left on device); the record of this cell is there without them; the same command goes on"
    assert told in str(caught.value)
    assert [record.status for record in store.read_all()[0]] == ["ok"]
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".writing-")]
    monkeypatch.undo()
    run(wanted, Store(tmp_path))
    assert len(store.read_all()[0]) == 3
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2

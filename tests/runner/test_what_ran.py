"""A record says what ran, and a run finds what there is: files that are edited meanwhile, variables that come later, links."""

from __future__ import annotations

import hashlib
import os
import signal

import pytest
from command_line import end, start, wait_until
from records_made import record

from oscbench import catalog
from oscbench.analysis.costs.regression import read
from oscbench.records import Measurement, Store
from oscbench.records.asked import note
from oscbench.records.locks import file_system
from oscbench.runner import session
from oscbench.runner.executors import Machine, _child
from oscbench.runner.plan import make_plan
from oscbench.suite import load_suite

MINE = '''"""Mine.

Idea:
    Says which file it is from.
"""
from oscbench.mechanisms.softmax import Softmax
SCALE = 1.0
class Mine(Softmax):
    def notes(self):
        return [f"scale {SCALE}"]
mechanism = Mine
'''


def test_a_record_has_the_hash_of_the_code_that_ran_though_its_file_was_edited(tiny, tmp_path):
    file, results = tmp_path / "edited_mechanism.py", tmp_path / "results"
    file.write_text(MINE)
    first = hashlib.sha256(MINE.encode()).hexdigest()[:12]
    suite = tiny(mechanisms="['edited_mechanism:Mine']", seeds=8)
    process = start(
        "run", suite, "--results", results, "--jobs", 1, "--allow-imports", cwd=tmp_path, folders=[tmp_path]
    )
    try:
        wait_until(lambda: list(results.rglob("*.json")), "one cell has run")
        file.write_text(MINE.replace("1.0", "2.0"))
        code, _, err = end(process)
    finally:
        process.kill()
    assert code == 0, err
    found, _ = Store(results).read_all()
    assert len(found) == 8
    for one in found:
        assert "scale 1.0" in one.flags
        assert one.environment["sources"]["mechanisms/edited_mechanism:Mine"] == first
    assert "has changed since 8 of these cells ran" in err


def test_a_cells_process_has_our_variables_as_they_are_now(monkeypatch):
    monkeypatch.setenv("OSCBENCH_OF_A_TEST", "late")
    monkeypatch.setattr(_child, "start_server", lambda: None)
    environment, _ = _child._settled()
    assert environment["OSCBENCH_OF_A_TEST"] == "late"
    monkeypatch.setenv("OSCBENCH_OF_BEFORE", "early")
    monkeypatch.setattr(catalog, "note_imported", lambda hashes: None)
    monkeypatch.setattr("oscbench.runner.worker.work", lambda: None)
    before = {name: value for name, value in os.environ.items() if name.startswith("OSCBENCH_")}
    try:
        _child._run(({"OSCBENCH_OF_A_TEST": "later"}, {}), False)
        assert os.environ["OSCBENCH_OF_A_TEST"] == "later"
        assert "OSCBENCH_OF_BEFORE" not in os.environ
    finally:
        os.environ.update(before)


@pytest.mark.parametrize(("number", "memory"), [(signal.SIGKILL, True), (signal.SIGSEGV, False)])
def test_only_what_the_kernel_kills_is_out_of_memory(monkeypatch, number, memory):
    child = object.__new__(_child.Child)
    child.ticket, child.where, child._others, child._oom_kills = 0, "", [], 3
    monkeypatch.setattr(_child, "oom_kills", lambda: 4)
    died = child._death(type("P", (), {"process": type("Q", (), {"exitcode": -number})})())
    assert died.memory == memory


def test_a_suites_folder_that_is_a_link_is_read_and_a_circle_ends(tmp_path):
    store = Store(tmp_path / "results")
    store.write(record(suite="mine"))
    (tmp_path / "disk").mkdir()
    (store.root / "mine").rename(tmp_path / "disk" / "mine")
    (store.root / "mine").symlink_to(tmp_path / "disk" / "mine")
    for name, target in (("again", store.root), ("twice", tmp_path / "disk" / "mine"), ("up", tmp_path)):
        (store.root / name).symlink_to(target)
    (tmp_path / "old.json").write_text("{}")
    found, damaged = Store(store.root).read_all()
    assert [one.suite for one in found] == ["mine"]
    assert not damaged


def test_the_file_system_of_a_link_is_that_of_what_it_leads_to(tmp_path):
    (tmp_path / "there").symlink_to("/proc")
    assert file_system(tmp_path / "there" / "self") == file_system(tmp_path.__class__("/proc")) != ""


@pytest.mark.parametrize(
    ("change", "machine", "at_once"),
    [
        ("train.epochs=1", Machine("here", 16), 16),
        ("threads=4", Machine("here", 16), 4),
        ("train.devices=4", Machine("here", 16), 4),
    ],
)
def test_an_estimate_takes_as_many_cells_at_once_as_a_run(tiny, monkeypatch, change, machine, at_once):
    cells = make_plan(load_suite(str(tiny()), [change]), only=[], device="cpu")
    monkeypatch.setattr(
        session, "make_executor", lambda *_: type("E", (), {"machines": lambda self: [machine]})()
    )
    assert session._at_once(cells, None) == at_once
    assert session._at_once(cells, 2) == 2


def test_a_comparison_of_folders_reads_what_a_report_shows(tmp_path):
    def one(params, **changes):
        measured = Measurement(value=float(params), unit="1", label="parameters", direction="lower")
        return record(measures={"params": measured}, **changes)

    store = Store(tmp_path)
    shown = one(10, identity="a" * 16)
    store.write(shown)
    store.write(one(20, identity="b" * 16, finished_utc=shown.finished_utc.replace(year=2100)))
    note(store, [shown])
    (reading,) = read(tmp_path).values()
    assert "10.0" in repr(reading)
    assert "20.0" not in repr(reading)

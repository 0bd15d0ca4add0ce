"""A record is written whole or not at all, never overwritten, and what is none is set aside and named."""

from __future__ import annotations

import json
import math
import os
import threading
import time
from pathlib import Path

import pytest
from records_made import record

from oscbench.records import Damaged, Measurement, Record, ResultsError, Store, identity
from oscbench.records import index as index_module
from oscbench.records import store as store_module
from oscbench.records.ledger import find_ledgers
from oscbench.records.reading import read


@pytest.fixture
def store(tmp_path):
    told = []
    made = Store(tmp_path / "results", tell=told.append)
    made.told = told
    return made


def files(store):
    return sorted(path.name for path in store.root.rglob("*") if path.is_file())


def test_record_survives_the_file_bit_by_bit(store):
    odd = {"a": math.nan, "b": [math.inf, -math.inf, 0.1 + 0.2, 1e-320]}
    measured = Measurement(value=0.1 + 0.2, unit="s", label="x", samples=(math.pi, math.inf), details=odd)
    nothing = Measurement(value=None, unit="J", label="energy", method="unavailable", reason="no counter")
    written = record(
        measures={"whole": Measurement(value=3, unit="1", label="n"), "x": measured, "energy": nothing}
    )
    loaded = read(store.write(written))
    assert isinstance(loaded, Record)
    assert loaded.model_dump_json() == written.model_dump_json()
    assert isinstance(loaded.measures["whole"].value, int)
    assert loaded.measures["x"].samples == (math.pi, math.inf)
    assert math.isnan(loaded.measures["x"].details["a"])


def test_existing_record_is_never_overwritten(store):
    path = store.write(record(seconds=1.0))
    assert store.write(record(seconds=2.0)) == path
    assert read(path).seconds == 1.0
    assert files(store) == [path.name]


def test_interrupted_write_leaves_nothing_that_looks_like_a_record(store, monkeypatch):
    def broken(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(ResultsError, match="No space left on device"):
        store.write(record())
    assert files(store) == []


def test_no_reader_ever_sees_half_a_record(store):
    large = record(spec={"filler": ["x" * 100] * 2000})
    stop, seen = threading.Event(), []

    def look():
        while not stop.is_set():
            seen.extend(store.read_all()[1])

    store.prepare()
    reader = threading.Thread(target=look)
    reader.start()
    for seed in range(30):
        store.write(large.model_copy(update={"seed": seed}))
    stop.set()
    reader.join()
    assert seen == []


def test_file_system_without_hard_links_still_never_overwrites(store, monkeypatch):
    def refuse(*paths):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    path = store.write(record(seconds=1.0))
    store.write(record(seconds=2.0))
    assert read(path).seconds == 1.0
    assert files(store) == [path.name]


def test_names_longer_than_a_file_name_may_be_are_cut(store):
    long = record(variant="+".join(f"setting_{i}=1" for i in range(100)), mechanism="a.b:" + "C" * 300)
    assert store.find("mine", long.identity) is None
    path = store.write(long)
    assert path.is_file()
    assert store.find("mine", long.identity) == long


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "Invalid JSON"),
        (b'{"identity": "0123', "Invalid JSON"),
        (b"\xff\xfe\x00", "Invalid JSON"),
        (b"[]", "file"),
        (b'{"name": "package", "version": "1.0"}', "identity"),
    ],
)
def test_damaged_file_is_named_set_aside_and_nothing_is_lost(store, content, reason):
    path = store.write(record())
    path.write_bytes(content)
    records, damaged = store.read_all()
    assert records == []
    assert [one.path for one in damaged] == [path]
    assert reason in damaged[0].reason
    assert path.is_file(), "reading changes nothing"
    assert str(path) in store.told.pop()
    assert store.find("mine", record().identity, tidy=False) is None
    assert path.is_file(), "a dry run changes nothing"
    assert store.find("mine", record().identity) is None
    assert len(store.told) == 1
    assert str(path) in store.told[0]
    assert not path.exists()
    (kept,) = (path.parent / ".set_aside").iterdir()
    assert kept.read_bytes() == content
    assert store.read_all() == ([], [])
    assert store.write(record()) == path


@pytest.mark.parametrize(
    "key",
    ["9" * 5000, "two\nlines", "\x1b[31mred", "\u202eolleh"],
    ids=["long", "lines", "escape", "backwards"],
)
def test_a_key_of_any_kind_is_told_of_in_a_line(store, key):
    path = store.write(record())
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: 1}))
    (damaged,) = store.read_all()[1]
    assert "Extra inputs are not permitted" in damaged.reason
    assert len(damaged.reason) < 600
    assert damaged.reason.isprintable()


def test_record_from_another_schema_is_damaged_and_not_misread(store):
    path = store.write(record())
    text = json.loads(path.read_text())
    path.write_text(json.dumps(text | {"schema_version": 999}))
    assert isinstance(read(path), Damaged)
    path.write_text(json.dumps(text | {"extra": 1}))
    assert "extra" in read(path).reason


def test_timing_of_the_first_schema_gets_the_names_of_what_was_timed_and_stays_where_it_lies(store):
    contenders = [{"key": f"{name}:{way}", "name": name} for name in ("softmax", "kope") for way in "ab"]
    where = {"family": "ops", "setting_label": "D64", "batch": 1, "tokens": 8}
    spec = {"kind": "timing", "mechanism": {"name": "softmax"}, "contenders": contenders, **where}
    softmax = {
        "name": "softmax",
        "label": "softmax",
        "idea": "mixes",
        "citation": "2017",
        "traits": {"x": True},
    }
    path = store.write(record(mechanism="softmax", identity=identity(spec)))
    old = json.loads(path.read_text()) | {"schema_version": 1, "spec": spec, "card": softmax}
    path.write_text(json.dumps(old))
    found = store.find("mine", identity(spec))
    assert (found.schema_version, found.mechanism, found.card.label) == (
        2,
        "softmax+kope",
        "softmax and kope",
    )
    assert found.spec == spec | {"mechanism": {"name": "softmax+kope"}}
    assert identity(found.spec) == found.identity
    assert found.card.traits == {}
    assert store.has(found)
    assert store.path_of(found) == path, "so that --fresh can put it aside"
    store.set_aside(path)
    again = store.write(found)
    assert "softmax+kope" in again.name
    assert store.find("mine", found.identity) == found


@pytest.mark.parametrize("contenders", [None, 3, ["softmax"], [{"key": "a"}]])
def test_damaged_timing_of_the_first_schema_is_no_traceback(store, contenders):
    path = store.write(record())
    spec = {"kind": "timing"} | ({} if contenders is None else {"contenders": contenders})
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 1, "spec": spec}))
    assert read(path).reason.startswith("file: Value error, spec."), "set aside and named"


def test_record_under_another_cells_name_is_not_taken_for_it(store):
    path = store.write(record())
    path.rename(path.with_name(path.name.replace("0123456789abcdef", "ffffffffffffffff")))
    assert store.find("mine", "ffffffffffffffff") is None
    assert "another cell" in store.told[0]


def test_folder_that_ends_in_json_is_no_record(store):
    (store.root / "mine" / "x.json").mkdir(parents=True)
    records, damaged = store.read_all()
    assert (records, len(damaged)) == ([], 1)


def test_each_label_of_a_suite_holds_its_own_record(store):
    plain, changed = record(), record(suite="mine[seeds=2]")
    assert store.write(plain) != store.write(changed)
    assert store.find("mine", plain.identity) == plain
    assert store.find("mine[seeds=2]", plain.identity) == changed
    assert store.find("mine[seeds=3]", plain.identity).suite in ("mine", "mine[seeds=2]")
    assert store.find("yours", plain.identity) is None


@pytest.mark.parametrize("place", ["file", "below_file", "proc"])
def test_results_folder_that_cannot_be_written_is_one_line(tmp_path, place):
    (tmp_path / "file").write_text("")
    root = {"file": tmp_path / "file", "below_file": tmp_path / "file" / "x", "proc": Path("/proc/oscbench")}[
        place
    ]
    with pytest.raises(ResultsError, match="results folder cannot be written") as caught:
        Store(root).prepare()
    assert str(root) in str(caught.value)


def test_file_in_the_way_of_a_suites_folder_is_one_line(store):
    store.prepare()
    (store.root / "mine").write_text("")
    with pytest.raises(ResultsError, match="lock cannot be taken"), store.lock("mine", "x"):
        pass
    with pytest.raises(ResultsError, match="record cannot be written"):
        store.write(record())


def test_missing_results_folder_is_one_line(tmp_path):
    with pytest.raises(ResultsError, match="no such results folder"):
        Store(tmp_path / "nothing").read_all()


def test_lock_is_held_by_one_and_free_afterwards(store):
    with store.lock("mine", "a") as mine:
        assert mine
        with store.lock("mine", "a") as theirs:
            assert not theirs
        with store.lock("mine", "a") as theirs:
            assert not theirs, "asking does not take it away"
        with store.lock("mine", "b") as other:
            assert other
    with pytest.raises(RuntimeError), store.lock("mine", "a"):
        raise RuntimeError
    with store.lock("mine", "a") as again:
        assert again


def test_read_all_leaves_out_what_is_no_record_of_this_folder(store):
    store.write(record())
    for folder in (*store_module._PRIVATE, *store_module._COMMITTED):
        (store.root / folder).mkdir()
        (store.root / folder / "x.json").write_text("{")
    records, damaged = store.read_all()
    assert (len(records), damaged) == (1, [])


def test_a_link_that_leads_nowhere_costs_no_record(store):
    """Where a record belongs; one that leads to a file is left as it is, as every file is."""
    path = store.path_of(record())
    path.parent.mkdir(parents=True)
    path.symlink_to("nowhere")
    store.write(record())
    assert store.read_all() == ([record()], [])
    assert not path.is_symlink()


def test_pipes_devices_and_giants_among_records_are_named_at_once(store, monkeypatch):
    path = store.write(record())
    os.mkfifo(path.with_name("a-0000000000000001.json"))
    path.with_name("b-0000000000000002.json").symlink_to("/dev/zero")
    with path.with_name("c-0000000000000003.json").open("wb") as giant:
        giant.truncate(65 << 20)  # a hole: it takes no room
    os.mkfifo(path.with_name("tuning.ledger.json"))
    os.mkfifo(store.root / "pipe.jsonl.gz")
    records, damaged = store.read_all()
    assert records == [record()]
    assert {one.path.name[0]: one.reason for one in damaged} == {
        "a": "not a regular file",
        "b": "not a regular file",
        "c": "65 MiB are too large for records",
        "p": "not a regular file",
    }
    assert list(find_ledgers(store.root)) == []
    assert store.find("mine", "0000000000000001", tidy=False) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"started_utc": "2026-01-01T00:00:00"}, "started_utc: Input should have timezone info"),
        ({"seed": 2**64}, "seed"),
        ({"seconds": math.nan}, "seconds"),
        ({"seconds": -1.0}, "seconds"),
        ({"curves": {"a": {"label": "a", "unit": "1", "x": [1, 2], "y": [1]}}}, "2 places and 1 values"),
        ({"curves": {"a": {"label": "a", "unit": "1", "x": [math.nan], "y": [1]}}}, "curves.a.x.0"),
        ({"measures": {"a": {"value": 1, "unit": "1", "label": "a", "n": -1}}}, "measures.a.n"),
        ({"health": [{"when": "start", "layer": 2**70, "quantities": {}}]}, "health.0.layer"),
    ],
)
def test_what_no_report_could_show_is_no_record(store, changes, reason):
    path = store.write(record())
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    records, (damaged,) = store.read_all()
    assert records == []
    assert reason in damaged.reason


def test_a_whole_number_beyond_64_bits_is_read_as_a_float(store):
    path = store.write(record(measures={"a": Measurement(value=1, unit="FLOP", label="a")}))
    path.write_text(
        path.read_text()
        .replace('"value":1,', f'"value":{2**70},')
        .replace('"value": 1,', f'"value": {2**70},')
    )
    (found,) = store.read_all()[0]
    assert found.measures["a"].value == 2.0**70
    assert isinstance(found.measures["a"].value, float)


def test_a_measure_may_be_nan(store):
    store.write(record(measures={"a": Measurement(value=math.nan, unit="1", label="a")}))
    assert math.isnan(store.read_all()[0][0].measures["a"].value)


def test_where_nothing_can_be_set_aside_it_is_said_in_a_line(store):
    path = store.write(record())
    (path.parent / ".set_aside").write_text("in the way")
    path.write_text("{")
    with pytest.raises(ResultsError, match=r"\.set_aside: .* cannot be set aside there"):
        store.find("mine", record().identity)
    assert path.read_text() == "{"


def test_the_longest_name_can_be_set_aside(store):
    path = store.write(record())
    longest = path.with_name("x" * (255 - len("-0123456789abcdef.json")) + "-0123456789abcdef.json")
    path.rename(longest)
    kept = store.set_aside(longest)
    assert kept.is_file()
    assert kept.name.endswith("-0123456789abcdef.json")


def test_a_name_that_no_file_system_takes_is_no_folder(tmp_path):
    with pytest.raises(ResultsError, match="no such results folder"):
        Store(tmp_path / ("x" * 300)).read_all()


def test_unfinished_files_of_dead_processes_are_removed_and_young_ones_are_not(store):
    folder = store.write(record()).parent
    for name, age in ((".writing-old.tmp", 3600), (".writing-new.tmp", 0), ("mine.tmp", 3600)):
        (folder / name).write_text("{")
        os.utime(folder / name, (time.time() - age,) * 2)
    store.prepare()
    assert sorted(
        path.name
        for path in folder.glob(
            "*.tmp",
        )
    ) == [".writing-new.tmp", "mine.tmp"]


@pytest.mark.parametrize("text", ["[1, 2]", "{", "7", "\xff", '{"hidden": "many"}'])
def test_a_broken_shared_value_is_measured_again(store, text):
    def shared():
        return store.shared("key", lambda kept: isinstance(kept.get("hidden"), int))

    assert shared() is None
    store.share("key", {"hidden": 3})
    assert shared() == {"hidden": 3}
    (store.root / ".measured" / "key.json").write_bytes(text.encode("latin-1"))
    assert shared() is None
    store.share("key", {"hidden": 5})
    assert shared() == {"hidden": 5}


def test_a_find_sees_what_others_write_and_delete(store, monkeypatch):
    # On a busy machine a scan may be slow, and the next one then waits.
    monkeypatch.setattr(index_module, "_QUICK_S", math.inf)
    other = Store(store.root)
    assert store.find("mine", record().identity) is None
    path = other.write(record())
    assert store.find("mine", record().identity) == record()
    path.unlink()
    assert store.find("mine", record().identity) is None
    for seed in range(50):
        one = record(seed=seed, identity=f"{seed:016x}")
        other.write(one)
        assert store.find("mine", one.identity) == one


def test_a_large_folder_that_is_written_to_is_not_scanned_for_every_cell(store, monkeypatch):
    other, scanned, scan = Store(store.root), [], os.scandir

    def slow(folder):
        scanned.append(folder)
        time.sleep(0.01)  # as 10,000 files take
        return scan(folder)

    other.write(record())
    monkeypatch.setattr(os, "scandir", slow)
    for seed in range(20):
        one = record(seed=seed, identity=f"{seed:016x}")
        assert store.find("mine", one.identity, at=store.path_of(one)) is None
        (other if seed % 2 else store).write(one)
        assert store.find("mine", one.identity, at=store.path_of(one)) == one, "whoever wrote it"
    assert len(scanned) < 10
    store.path_of(one).unlink()
    assert store.find("mine", one.identity) is None
    assert store.told == []


def test_finding_costs_no_scan_of_the_folder_each_time(store, monkeypatch):
    path = store.write(record())
    os.utime(path.parent, (1, 1))
    scanned = []
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: scanned.append(folder) or scan(folder))
    for _ in range(20):
        assert store.find("mine", record().identity) is not None
        assert store.find("mine", "ffffffffffffffff") is None
    assert scanned == [path.parent]


def test_what_twenty_thousand_records_hold_is_known_in_seconds(store):
    path = store.write(record())
    identities = [f"{number:016x}" for number in range(20_000)]
    for one in identities:
        path.with_name(path.name.replace(record().identity, one)).touch()
    begun = time.process_time()
    index = index_module.FolderIndex(path.parent)
    assert all(len(index.names(one)) == 1 for one in identities)
    assert index.names("f" * 16) == []
    assert time.process_time() - begun < 10.0


def test_a_folder_that_cannot_be_read_is_not_left_out_unsaid(store, monkeypatch):
    (store.root / "closed").mkdir(parents=True)
    usual = os.scandir

    def scandir(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return usual(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(ResultsError, match=r"closed: cannot be read \(Permission denied\)"):
        store.files(".json")

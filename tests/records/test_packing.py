"""Packed records are read like loose ones, say the same, and hold nothing of the machine that a reader could not use."""

from __future__ import annotations

import gzip
import json
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from records_made import START, record

from oscbench.analysis.frame import load
from oscbench.cli import main
from oscbench.errors import UserError
from oscbench.records import Curve, Matching, Measurement, Store, asked, packed
from oscbench.records.asked import note
from oscbench.records.ledger import (
    Ledger,
    LedgerEntry,
    find_ledgers,
    ledger_path,
    read_ledger,
    trial_label,
    write_ledger,
)
from oscbench.records.packing import PackError, lean, pack, unpack
from oscbench.records.reading import contents
from oscbench.records.store import ResultsError
from oscbench.reporting import export_frame


def made(seed=0, suite="mine", **changes):
    """A record with something in every part that packing touches or must leave alone."""
    details = {"tokens": 9, "warm_up_samples": [0.1], "file": "/home/someone/data/train.bin"}
    measures = {
        "accuracy": Measurement(value=0.1 * seed, unit="fraction", label="accuracy", direction="higher"),
        "step_s": Measurement(
            value=2.0, unit="s", label="step", n=3, samples=(1.0, 2.0, 3.0), details=details
        ),
    }
    given = {
        "identity": f"{seed:016x}",
        "suite": suite,
        "seed": seed,
        "spec_given": {"source": "/work/clean/suites/mine.yaml", "train": {"epochs": 1}},
        "spec": {"kind": "train", "task": {"name": "folder", "path": "/data/pictures"}},
        "measures": measures,
        "curves": {"loss": Curve(label="loss", unit="nats", x=(1.0, 2.0), y=(0.5, float("nan")))},
        "matching": Matching(by="params", hidden=3),
        "status": "failed" if seed == 3 else "ok",
        "reason": "OSError: no space" if seed == 3 else None,
    }
    return record(**(given | changes))


@pytest.fixture
def loose(tmp_path):
    store = Store(tmp_path / "loose")
    for seed in (2, 0, 3, 1):
        store.write(made(seed))
    store.write(made(7, suite="mine[train.epochs=3]"))
    store.write(made(8, suite=trial_label("mine")))
    store.write(made(0, suite="other"))
    return store


def ledger(label="mine"):
    return Ledger(
        suite=label,
        trial_suite=trial_label(label),
        trials=1,
        scoring_seeds=(0,),
        metric="accuracy",
        direction="higher",
        sampler="s",
        request="r",
        entries=(),
    )


def exported(results, tmp_path, suites):
    file = tmp_path / "export.csv"
    export_frame(results, suites, "csv", file)
    return file.read_bytes()


@pytest.mark.parametrize("suites", [["mine"], ["mine[tune]"], ["mine[train.epochs=3]"]])
def test_export_is_the_same_before_and_after(loose, tmp_path, suites):
    pack("mine", loose.root, tmp_path / "packed")
    assert exported(tmp_path / "packed", tmp_path, suites) == exported(loose.root, tmp_path, suites)


@pytest.mark.parametrize("odd", [{"suite": ".."}, {"identity": "../../../x"}], ids=["suite", "identity"])
def test_a_pack_from_elsewhere_is_laid_out_inside_the_folder_alone(tmp_path, odd):
    record = made(1).model_copy(update=odd)
    packed.write(tmp_path / "odd.jsonl.gz", [record.model_dump_json().encode()])
    unpack(tmp_path / "odd.jsonl.gz", tmp_path / "deep" / "results")
    written = [path for path in tmp_path.rglob("*.json") if path.is_file()]
    assert written
    assert all(path.is_relative_to(tmp_path / "deep" / "results") for path in written)


def test_every_record_comes_back_but_for_what_is_left_out(loose, tmp_path):
    (found,) = pack("mine", loose.root, tmp_path / "packed")
    assert found.path == tmp_path / "packed" / "cpu" / "mine.jsonl.gz"
    assert (found.count, found.new) == (6, 6)
    store = Store(found.path.parent)
    for before in (made(1), made(3), made(7, suite="mine[train.epochs=3]")):
        after = store.find(before.suite, before.identity)
        assert after.measures["step_s"].samples == ()
        assert after.measures["step_s"].n == 3
        assert after.measures["step_s"].details == {"tokens": 9, "file": "train.bin"}
        assert after.spec == before.spec
        assert after.spec_given == {"source": "mine.yaml", "train": {"epochs": 1}}
        kept = {"measures", "spec_given"}
        assert after.model_dump_json(exclude=kept) == before.model_dump_json(exclude=kept)
    assert store.find("other", made(0).identity) is None


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("/work/clean/suites/a.yaml", "a.yaml"),
        ("cannot open '/home/me/my-data/x.npz' (13)", "cannot open 'x.npz' (13)"),
        (r"C:\Users\me\x.yaml: bad", "x.yaml: bad"),
        ("no RAPL counter in /sys/class/powercap", "no RAPL counter in /sys/class/powercap"),
        ("tokens/s and a/b/c", "tokens/s and a/b/c"),
        ("no file '/home/jane doe/my data/x.txt'", "no file 'x.txt'"),
        ("[/home/jane/x/y.txt] or a:/home/jane/y.txt, `/home/jane/z`", "[y.txt] or a:y.txt, `z`"),
        ("see file:///home/jane/x.txt", "see x.txt"),
        ("separator '/' or '/s' or '/(a|b)/'", "separator '/' or '/s' or '/(a|b)/'"),
        ("open '/proc/self/maps'", "open '/proc/self/maps'"),
        ("it's 1/2 of what's there", "it's 1/2 of what's there"),
        ("see https://arxiv.org/abs/2606.12059", "see https://arxiv.org/abs/2606.12059"),
    ],
)
def test_paths_of_the_machine_are_cut_and_other_slashes_are_not(text, left):
    assert lean(record(reason=text)).reason == left


def test_what_breaks_later_costs_no_result_that_is_packed(loose, tmp_path):
    (found,) = pack("mine", loose.root, tmp_path / "packed")
    later = Store(tmp_path / "later")
    later.write(made(1, status="failed", reason="a slip", finished_utc=START + timedelta(days=3)))
    pack("mine", later.root, tmp_path / "packed")
    kept = Store(found.path.parent).find("mine", made(1).identity)
    assert (kept.status, kept.finished_utc) == ("ok", made(1).finished_utc)


def test_of_several_records_of_a_cell_a_pack_shows_what_was_asked_for(tmp_path):
    store = Store(tmp_path / "loose")
    first = made(0, identity="a" * 16)
    second = made(0, identity="b" * 16, finished_utc=first.finished_utc + timedelta(days=1))
    for one in (first, second):
        store.write(one)
    note(store, [first])
    (found,) = pack("mine", store.root, tmp_path / "packed")
    (shown,) = load(found.path.parent).records
    assert shown.identity == load(store.root).records[0].identity == first.identity
    other = Store(tmp_path / "other")
    other.write(second)
    (found,) = pack("mine", other.root, tmp_path / "packed")
    (found,) = pack("mine", store.root, tmp_path / "packed")
    assert found.count == 2, "nothing is lost that lies there already"
    note(store, [second])
    (found,) = pack("mine", store.root, tmp_path / "packed")
    assert found.count == 2, "an older one hides nothing"
    assert load(found.path.parent).records[0].identity == second.identity


def test_unpacking_leaves_the_ledger_of_another_search_alone(loose, tmp_path):
    write_ledger(loose, ledger())
    (found,) = pack("mine", loose.root, tmp_path / "packed")
    there = Store(tmp_path / "there")
    newer = ledger().model_copy(update={"request": "another"})
    write_ledger(there, newer)
    unpack(found.path, there.root)
    assert read_ledger(ledger_path(there, "mine")) == newer


def test_two_runs_that_search_other_entries_keep_both_in_the_ledger(tmp_path):
    def entry(name):
        return LedgerEntry(
            mechanism=name, variant="default", space={}, trials=(), chosen={}, score=None, seconds=0.0,
            training_flops=None, by_setting={}, finished=True,
        )  # fmt: skip

    def write(name):
        write_ledger(Store(tmp_path), ledger().model_copy(update={"entries": (entry(name),)}))

    names = [f"mechanism{number}" for number in range(8)]
    with ThreadPoolExecutor(len(names)) as threads:
        list(threads.map(write, names))
    found = read_ledger(ledger_path(Store(tmp_path), "mine"))
    assert sorted(one.mechanism for one in found.entries) == names


def test_a_pack_lies_inside_its_folder_whatever_a_record_says(tmp_path):
    store = Store(tmp_path / "loose")
    store.write(made(0, device="../../outside"))
    (found,) = pack("mine", store.root, tmp_path / "deep" / "packed")
    assert found.path.resolve().is_relative_to((tmp_path / "deep" / "packed").resolve())


@pytest.mark.parametrize(
    ("task", "stays"), [({"name": "made"}, True), ({"name": "streets", "path": "camvid"}, False)]
)
def test_pictures_of_data_that_were_brought_are_not_handed_on(task, stays):
    kept = Measurement(value=0.5, unit="fraction", label="right", details={"examples": {"images": "eNp"}})
    packed_one = lean(made(spec={"kind": "train", "task": task}, measures={"right": kept}))
    assert ("examples" in packed_one.measures["right"].details) == stays


def test_the_same_records_give_the_same_bytes_whatever_their_order_and_time(loose, tmp_path):
    (first,) = pack("mine", loose.root, tmp_path / "a")
    again = Store(tmp_path / "again")
    for one in reversed(loose.read_all()[0]):
        again.write(one)
    os.utime(first.path, (1, 1))
    (second,) = pack("mine", again.root, tmp_path / "b")
    (third,) = pack("mine", tmp_path / "a", tmp_path / "a")
    assert first.path.read_bytes() == second.path.read_bytes() == third.path.read_bytes()
    assert b"mine" not in first.path.read_bytes()[:20], "no name in the header"
    names = [json.loads(line)["seed"] for line in gzip.decompress(first.path.read_bytes()).splitlines()]
    assert names == [0, 1, 2, 3, 7, 8]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    st.integers(-(2**53), 2**53),
)
def test_any_value_survives_packing(tmp_path_factory, value, text, whole):
    folder = tmp_path_factory.mktemp("any")
    measures = {
        "accuracy": Measurement(value=value, unit="1", label=text, details={"n": [value, whole]}),
        "params": Measurement(value=whole, unit="1", label="n"),
    }
    before = record(measures=measures, spec={"text": text, "number": whole})
    Store(folder / "loose").write(before)
    (found,) = pack("mine", folder / "loose", folder / "packed")
    (after,) = contents(found.path).records
    assert after.model_dump_json() == lean(before).model_dump_json()
    assert after.spec == before.spec


def test_packing_again_adds_and_takes_the_newer_and_loses_nothing(loose, tmp_path):
    output = tmp_path / "packed"
    pack("mine", loose.root, output)
    later = Store(tmp_path / "later")
    later.write(made(9))
    later.write(made(1, finished_utc=START + timedelta(days=1), seconds=7.0))
    later.write(made(2, finished_utc=START - timedelta(days=1), seconds=9.0))
    (found,) = pack("mine", later.root, output)
    assert (found.count, found.new) == (7, 1)
    there = {(one.suite, one.seed): one.seconds for one in contents(found.path).records}
    assert there["mine", 1] == 7.0
    assert there["mine", 2] == 1.0, "an older one does not replace what is there"


def test_each_device_has_its_file(tmp_path):
    store = Store(tmp_path / "loose")
    store.write(made(0))
    store.write(made(1, device="cuda"))
    found = pack("mine", store.root, tmp_path / "packed")
    assert [one.path.parent.name for one in found] == ["cpu", "cuda"]
    assert len(load(tmp_path / "packed").records) == 2


def test_ledgers_go_along_and_find_their_trials(loose, tmp_path):
    write_ledger(loose, ledger())
    (found,) = pack("mine", loose.root, tmp_path / "packed")
    ((store, packed_ledger),) = find_ledgers(tmp_path / "packed")
    assert packed_ledger == ledger()
    assert store.find(trial_label("mine"), made(8).identity).seed == 8
    unpack(found.path, tmp_path / "again")
    ((store, again),) = find_ledgers(tmp_path / "again")
    assert again == ledger()
    assert ledger_path(store, "mine").is_file()


def test_unpacked_records_pack_to_the_same_bytes(loose, tmp_path):
    write_ledger(loose, ledger())
    (found,) = pack("mine", loose.root, tmp_path / "a")
    assert unpack(found.path, tmp_path / "unpacked") == (6, tmp_path / "unpacked" / "mine")
    assert len(list((tmp_path / "unpacked" / "mine").glob("mine*"))) == 0
    (again,) = pack("mine", tmp_path / "unpacked", tmp_path / "b")
    assert again.path.read_bytes() == found.path.read_bytes()


def test_a_loose_record_goes_before_a_packed_one(loose, tmp_path):
    (found,) = pack("mine", loose.root, tmp_path / "packed")
    store = Store(found.path.parent)
    assert store.find("mine", made(1).identity).seconds == 1.0
    store.write(made(1, seconds=5.0))
    assert store.find("mine", made(1).identity).seconds == 5.0
    assert len(store.read_all()[0]) == 7


def test_a_packed_file_that_changes_is_read_anew(loose, tmp_path):
    (found,) = pack("mine", loose.root, tmp_path / "packed")
    store = Store(found.path.parent)
    assert store.find("mine", made(9).identity) is None
    loose.write(made(9))
    pack("mine", loose.root, tmp_path / "packed")
    assert store.find("mine", made(9).identity).seed == 9


def test_torn_and_foreign_files_are_named_and_the_rest_is_read(loose, tmp_path):
    (found,) = pack("mine", loose.root, tmp_path / "packed")
    whole = found.path.read_bytes()
    found.path.write_bytes(whole[:-30])
    (found.path.parent / "none.jsonl.gz").write_bytes(b"not gzip")
    packed.write(found.path.parent / "half.jsonl.gz", [made(0).model_dump_json().encode(), b'{"a": 1}'])
    told = []
    records, damaged = Store(found.path.parent, tell=told.append).read_all()
    assert {one.path.name for one in damaged} == {"mine.jsonl.gz", "none.jsonl.gz", "half.jsonl.gz"}
    assert any("line 2" in one.reason for one in damaged)
    assert len(told) == len(damaged)
    assert any(one.seed == 0 for one in records)
    with pytest.raises(UserError, match=r"mine\.jsonl\.gz: not a whole gzip file"):
        pack("mine", loose.root, tmp_path / "packed")
    assert found.path.read_bytes() == whole[:-30], "what cannot be read whole is not written over"


@pytest.mark.parametrize("content", [b"", gzip.compress(b"")], ids=["no byte", "no line"])
def test_an_empty_pack_is_no_sound_one(tmp_path, content):
    path = tmp_path / "mine.jsonl.gz"
    path.write_bytes(content)
    assert [one.reason for one in contents(path).damaged] == ["is empty"]
    for read in (
        lambda: unpack(path, tmp_path / "loose"),
        lambda: export_frame(tmp_path, [], "csv", None),
    ):
        with pytest.raises(UserError, match=rf"{re.escape(str(path))}: is empty"):
            read()


def test_a_line_without_end_takes_no_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(packed, "MAX_BYTES", 1000)
    packed.write(tmp_path / "bomb.jsonl.gz", [b" " * 100_000])
    (damaged,) = contents(tmp_path / "bomb.jsonl.gz").damaged
    assert "a line of over" in damaged.reason


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["pack", "mien"], 'suite "mien" has no records in .*did you mean "mine"'),
        (["pack", "mine", "--results", "nowhere"], "nowhere: no such results folder"),
        (["unpack", "loose/mine"], "no such file of packed records"),
        (["unpack", "nowhere.jsonl.gz"], "no such file of packed records"),
    ],
)
def test_bad_input_is_one_line(loose, tmp_path, monkeypatch, capsys, arguments, told):
    monkeypatch.chdir(tmp_path)
    given = arguments if "--results" in arguments else [*arguments, "--results", "loose"]
    monkeypatch.setattr("sys.argv", ["oscbench", *given])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert re.search(told, err)


def test_a_path_that_is_no_text_is_written_and_told(loose, tmp_path, monkeypatch, capsys):
    odd = Path(os.fsdecode(bytes(tmp_path) + b"/nu\xff"))
    monkeypatch.setattr(
        "sys.argv", ["oscbench", "pack", "mine", "--results", str(loose.root), "--output", str(odd)]
    )
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code in (0, None)
    assert "nu" in capsys.readouterr().out
    assert len(contents(odd / "cpu" / "mine.jsonl.gz").records) == 6


def test_a_search_s_ledger_that_cannot_be_read_is_one_line_and_neither_lost_nor_half_unpacked(
    loose, tmp_path
):
    write_ledger(loose, ledger())
    pack("mine", loose.root, tmp_path / "packed")
    (path,) = (tmp_path / "packed").rglob("*.jsonl.gz")
    kept = [
        packed.LEDGER + b'{"suite": 3}}' if line.startswith(packed.LEDGER) else line
        for line in packed.lines(path)
    ]
    packed.write(path, kept)
    before = path.read_bytes()
    with pytest.raises(PackError, match="a search's ledger: Ledger") as caught:
        unpack(path, tmp_path / "again")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "again").exists()
    with pytest.raises(PackError, match="a search's ledger"):
        pack("mine", loose.root, tmp_path / "packed")
    assert path.read_bytes() == before


def test_a_ledger_that_cannot_be_put_in_its_place_leaves_no_half(loose, monkeypatch):
    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(ResultsError, match="No space left"):
        write_ledger(loose, ledger())
    assert not [path for path in loose.root.rglob("*") if path.name.startswith(".writing-")]


def test_two_runs_that_note_at_once_what_they_asked_keep_both(tmp_path, monkeypatch):
    read = asked._read

    def slowly(path):
        found = read(path)
        time.sleep(0.3)
        return found

    monkeypatch.setattr(asked, "_read", slowly)
    both = [record(identity=f"{seed:016x}", seed=seed) for seed in (0, 1)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda one: note(Store(tmp_path), [one]), both))
    monkeypatch.setattr(asked, "_read", read)
    assert [asked.is_asked(Store(tmp_path))(one) for one in both] == [True, True]

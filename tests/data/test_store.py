"""The data store: what is filed is found, held to its hash, and never half there; prepared tensors are made once."""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import subprocess
import sys

import pytest
import torch

from oscbench import data
from oscbench.data import KNOWN, Known, add, entries, locate, verify
from oscbench.data.known import KEYWORDS, KnownFile
from oscbench.data.prepared import prepared
from oscbench.errors import UserError


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    """An empty store, and no network."""
    monkeypatch.setenv("OSCBENCH_DATA", str(tmp_path / "store"))

    def refuse(*arguments, **options):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    return tmp_path / "store"


@pytest.fixture
def stories(tmp_path):
    folder = tmp_path / "stories"
    folder.mkdir()
    (folder / "TinyStories-train.txt").write_text("One day.\n<|endoftext|>\nTwo days.\n")
    (folder / "TinyStories-valid.txt").write_text("Three days.\n")
    (folder / "notes.txt").write_text("mine")
    return folder


@pytest.fixture
def speech(tmp_path):
    folder = tmp_path / "speech"
    for word in KEYWORDS:
        (folder / word).mkdir(parents=True)
        (folder / word / "a.wav").write_bytes(b"RIFF")
    (folder / "testing_list.txt").write_text("yes/a.wav\nbed/not_needed.wav\n")
    (folder / "validation_list.txt").write_text("no/a.wav\n")
    return folder


def told(call, *arguments, **options):
    """The one line that a call ends with."""
    with pytest.raises(UserError) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def tensors():
    return {"a": torch.arange(6).view(2, 3), "b": torch.ones(4, dtype=torch.int16)}


def forbidden():
    raise AssertionError("made again")


def test_added_folder_is_filed_by_its_hash_and_found_by_name(store, stories):
    entry = add("tinystories", stories)
    assert entry == entries()["tinystories"]
    assert entry.num_files == 2, "what the data set does not have stays outside"
    found = locate("tinystories")
    assert entry.sha256 in found.path.parts
    assert (found.path / "TinyStories-valid.txt").read_text() == "Three days.\n"
    assert found.sha256() == entry.sha256
    assert verify("tinystories") is None
    assert sorted(path.name for path in stories.iterdir())[-1] == "notes.txt", "the source stays as it was"
    assert json.loads((store / "manifest.json").read_text())["data"]["tinystories"]["num_bytes"] == 45


def test_content_decides_the_hash_and_names_and_times_of_the_source_do_not(stories, tmp_path):
    first = add("tinystories", stories).sha256
    other = shutil.copytree(stories, tmp_path / "elsewhere")
    os.utime(other / "TinyStories-train.txt", (0, 0))
    assert add("tinystories", other).sha256 == first
    (other / "TinyStories-train.txt").write_text("Two days.\n")
    assert add("tinystories", other).sha256 != first
    assert len(list((data.data_root() / "files").iterdir())) == 1, "the old content is gone"


def test_copies_share_nothing_with_the_source_and_links_do(stories):
    add("tinystories", stories)
    stored = locate("tinystories").path / "TinyStories-train.txt"
    assert not stored.samefile(stories / stored.name)
    shutil.rmtree(data.data_root())
    add("tinystories", stories, link=True)
    assert stored.samefile(stories / stored.name)


def test_source_of_the_wrong_form_is_told_in_a_line(stories, speech, tmp_path, monkeypatch):
    short = tmp_path / "short"
    short.write_bytes(b"x" * 1000)
    assert "has 1,000 bytes, enwik8 has 100,000,000" in told(add, "enwik8", short)
    assert "no such file or folder" in told(add, "enwik8", tmp_path / "nowhere")
    assert "must be a file" in told(add, "enwik8", stories)
    assert "wiki.train.raw: no such file" in told(add, "wikitext2", stories)
    archive = tmp_path / "speech_commands_v0.02.tar.gz"
    archive.write_bytes(b"x")
    assert "unpack it first" in told(add, "speech_commands", archive)
    (speech / "no" / "a.wav").unlink()
    assert "no/ holds no .wav file" in told(add, "speech_commands", speech)
    (speech / "no" / "b.wav").write_bytes(b"RIFF")
    assert "validation_list.txt names no/a.wav, which is not there" in told(add, "speech_commands", speech)
    right = KnownFile("four", 4, "a" * 64)
    monkeypatch.setitem(KNOWN, "enwik8", Known("enwik8", "a stand-in", (right,)))
    short.write_bytes(b"four")
    assert "as published has aaaa" in told(add, "enwik8", short)
    (stories / "TinyStories-valid.txt").write_text("")
    assert "has 0 bytes" in told(add, "tinystories", stories)
    assert entries() == {}


def test_whole_folder_of_recordings_is_kept(speech):
    entry = add("speech_commands", speech)
    assert entry.num_files == len(KEYWORDS) + 2
    assert (locate("speech_commands").path / "yes" / "a.wav").read_bytes() == b"RIFF"


@pytest.mark.parametrize(
    ("size", "ending", "expected"),
    [
        (2, ".bin", "data_batch_1.bin has 2 bytes, which are no whole number of images of 3,073"),
        (0, ".bin", "data_batch_1.bin has 0 bytes"),
        (2, "", "data_batch_1 is no pickle of images"),
        (4000, "", "data_batch_1 is no pickle of images"),
    ],
)
def test_files_of_the_right_names_without_images_are_not_cifar10(tmp_path, size, ending, expected):
    for name in (*(f"data_batch_{part}" for part in range(1, 6)), "test_batch"):
        (tmp_path / f"{name}{ending}").write_bytes(b"x" * size)
    assert expected in told(add, "cifar10", tmp_path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", "evaluation/b.json is no JSON"),
        ("[1]", 'evaluation/b.json has no list of pairs "train"'),
        ('{"train": []}', 'evaluation/b.json has no list of pairs "train"'),
        (
            '{"train": [{"input": [[1]], "output": 2}]}',
            'evaluation/b.json has a pair without grids "input" and "output" in "train"',
        ),
    ],
)
def test_files_of_the_right_names_without_grids_are_not_arc(tmp_path, content, expected):
    pairs = [{"input": [[1]], "output": [[2]]}]
    for split in ("training", "evaluation"):
        (tmp_path / "arc" / split).mkdir(parents=True)
        (tmp_path / "arc" / split / "a.json").write_text(json.dumps({"train": pairs, "test": pairs}))
    (tmp_path / "arc" / "evaluation" / "b.json").write_text(content)
    assert expected in told(add, "arc_agi_1", tmp_path / "arc")
    (tmp_path / "arc" / "evaluation" / "b.json").unlink()
    add("arc_agi_1", tmp_path / "arc")


def test_unknown_name_gets_the_nearest(tmp_path):
    assert 'did you mean "enwik8"?' in told(add, "enwik9", tmp_path)
    assert 'did you mean "wikitext2"?' in told(verify, "wikitext")
    assert told(locate, "tinystorys").startswith(
        "task.path: tinystorys: neither a stored data set nor a file"
    )
    assert "no such file or folder" in told(locate, "./tinystorys")
    assert "oscbench data add enwik8 --from PATH" in told(locate, "enwik8")
    assert told(locate, "enwik8", where="task.corpus").startswith(
        "task.corpus: enwik8: not in the data store"
    )
    assert "not in the data store" in told(verify, "enwik8")


def test_path_of_ones_own_is_taken_as_it_is(stories):
    found = locate(str(stories))
    assert (found.path, found.name) == (stories, None)
    before = found.sha256()
    (stories / "notes.txt").write_text("more")
    assert found.sha256() != before


def test_changed_content_is_found_before_use_and_a_touch_is_no_change(stories):
    entry = add("tinystories", stories)
    file = locate("tinystories").path / "TinyStories-train.txt"
    os.utime(file, (1, 1))
    assert locate("tinystories").sha256() == entry.sha256
    file.write_text(file.read_text().replace("One", "Ten"))
    said = told(locate("tinystories").sha256)
    assert f"on record {entry.sha256[:16]}" in said
    assert "oscbench data add tinystories --from PATH" in said
    add("tinystories", stories)
    assert verify("tinystories") is None, "adding again mends it"


def test_verify_reads_everything_even_where_times_say_nothing(stories):
    add("tinystories", stories)
    file = locate("tinystories").path / "TinyStories-train.txt"
    times = file.stat()
    file.write_text(file.read_text().replace("One", "Ten"))
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert "on record" in verify("tinystories")


def test_data_set_that_was_cut_off_or_removed_is_told_in_a_line(tmp_path, monkeypatch):
    monkeypatch.setitem(KNOWN, "enwik8", Known("enwik8", "a stand-in", (KnownFile("enwik8"),)))
    source = tmp_path / "text"
    source.write_bytes(b"abc" * 100)
    add("enwik8", source)
    stored = locate("enwik8").path
    stored.write_bytes(b"abc")
    assert "has 3 bytes, on record 300" in told(locate, "enwik8")
    shutil.rmtree(stored.parent)
    assert "is gone" in told(locate, "enwik8")
    assert "is gone" in verify("enwik8")


@pytest.mark.parametrize("content", ["{", '{"version": 2, "data": {}}', '{"data": {"enwik8": {}}}', "[]"])
def test_damaged_manifest_is_told_in_a_line(store, content):
    store.mkdir()
    (store / "manifest.json").write_text(content)
    said = told(entries)
    assert said.startswith(f"{store / 'manifest.json'}: not readable as a manifest")
    assert "delete it and add the data again" in said


def test_store_that_cannot_be_written_is_told_in_a_line(store, stories):
    store.write_text("in the way")
    assert "cannot be filed in the data store" in told(add, "tinystories", stories)


def start(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stderr=subprocess.PIPE, text=True
    )


def test_two_processes_may_add_at_once(stories, speech):
    code = "import sys, pathlib; from oscbench.data import add; add(sys.argv[1], pathlib.Path(sys.argv[2]))"
    both = [start(code, "tinystories", stories), start(code, "speech_commands", speech)]
    assert [process.communicate()[1] for process in both] == ["", ""]
    assert set(entries()) == {"tinystories", "speech_commands"}


def test_prepared_tensors_are_made_once_and_come_back_equal():
    made = prepared("test v1", tensors)
    again = prepared("test v1", forbidden)
    for name, tensor in tensors().items():
        assert torch.equal(made[name], tensor)
        assert torch.equal(again[name], tensor)
        assert again[name].dtype == tensor.dtype
    with pytest.raises(AssertionError, match="made again"):
        prepared("test v2", forbidden)


def test_writing_into_what_came_back_does_not_reach_the_store():
    prepared("test v1", tensors)
    prepared("test v1", forbidden)["a"].zero_()
    assert torch.equal(prepared("test v1", forbidden)["a"], tensors()["a"])


def _flip(folder):
    content = bytearray((folder / "tensors.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "tensors.pt").write_bytes(content)


def _cut(folder):
    (folder / "tensors.pt").write_bytes((folder / "tensors.pt").read_bytes()[:-100])


def _no_tensors(folder):
    (folder / "tensors.pt").unlink()


def _no_manifest(folder):
    (folder / "manifest.json").write_text("{")


def _other_key(folder):
    written = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(written | {"key": "another"}))


@pytest.mark.parametrize("damage", [_flip, _cut, _no_tensors, _no_manifest, _other_key])
def test_damaged_tensors_are_made_again_with_a_line_of_warning(store, caplog, damage):
    prepared("test v1", tensors)
    (folder,) = (path for path in (store / "prepared").iterdir() if path.name != ".locks")
    damage(folder)
    with caplog.at_level(logging.WARNING):
        assert torch.equal(prepared("test v1", tensors)["a"], tensors()["a"])
    (record,) = caplog.records
    assert "damaged" in record.message
    assert "made again" in record.message
    assert "\n" not in record.message
    prepared("test v1", forbidden)


def test_what_cannot_be_kept_is_made_all_the_same(store, caplog):
    store.write_text("in the way")
    with caplog.at_level(logging.WARNING):
        assert torch.equal(prepared("test v1", tensors)["a"], tensors()["a"])
    (record,) = caplog.records
    assert "cannot be kept" in record.message


def test_failure_of_the_maker_passes_through_and_leaves_nothing(store):
    with pytest.raises(AssertionError, match="made again"):
        prepared("test v1", forbidden)
    assert [path.name for path in (store / "prepared").iterdir()] == [".locks"]
    prepared("test v1", tensors)


MAKE = """
import os, sys, time, torch
from oscbench.data.prepared import prepared

def make():
    with open(sys.argv[1], "a") as file:
        file.write("made\\n")
    while not os.path.exists(sys.argv[2]):
        time.sleep(0.01)
    return {"a": torch.arange(1000)}

assert torch.equal(prepared("test v1", make)["a"], torch.arange(1000))
"""


def test_of_processes_that_want_the_same_tensors_one_makes_them(tmp_path):
    count, go = tmp_path / "count", tmp_path / "go"
    both = [start(MAKE, count, go) for _ in range(2)]
    go.touch()
    assert [process.communicate()[1] for process in both] == ["", ""]
    assert count.read_text() == "made\n"


def test_maker_that_is_killed_leaves_neither_a_lock_nor_half_a_result(tmp_path):
    count, go = tmp_path / "count", tmp_path / "go"
    process = start(MAKE, count, go)
    while not count.exists():
        assert process.poll() is None
    process.kill()
    process.communicate()
    assert torch.equal(prepared("test v1", tensors)["a"], tensors()["a"])


def test_the_room_loads_no_torch():
    code = "import oscbench.data, oscbench.data.listing, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_sudoku_of_another_form_is_no_sudoku_and_costs_no_good_copy(tmp_path):
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_text(f"{'0' * 80}1,{'123456789' * 9}\n\n{'.' * 81},{'987654321' * 9}\r\n")
    add("sudoku_satnet", good)
    bad.write_text(f"{'0' * 80}1,{'123456789' * 9}\nquizzes,solutions\n")
    with pytest.raises(UserError, match=r"bad\.csv: line 2: is not puzzle,solution of 81 digits each"):
        add("sudoku_satnet", bad)
    assert locate("sudoku_satnet").path.read_bytes() == good.read_bytes()


def test_a_name_that_was_given_the_data_of_another_costs_the_other_nothing(tmp_path):
    for name, first in (("a", "1"), ("b", "2")):
        (tmp_path / f"{name}.csv").write_text(f"{first}{'0' * 80},{'1' * 81}\n")
    add("sudoku_satnet", tmp_path / "a.csv")
    add("sudoku_rrn", tmp_path / "a.csv")
    add("sudoku_rrn", tmp_path / "b.csv")
    assert [verify(name) for name in ("sudoku_satnet", "sudoku_rrn")] == [None, None]
    assert locate("sudoku_satnet").path.read_text().startswith("1")
    assert locate("sudoku_rrn").path.read_text().startswith("2")

"""`oscbench data` and runs on stored data: one line for what is wrong, and never a socket."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from command_line import environment

NO_NETWORK = '''
import socket

_real = socket.socket

class Refusing(_real):
    """Sockets between processes of one machine, and none that reaches further."""

    def __init__(self, family=-1, *arguments, **options):
        if family not in (socket.AF_UNIX, -1) or (family == -1 and options.get("fileno") is None and len(arguments) < 3):
            raise RuntimeError("a socket was opened")
        super().__init__(family, *arguments, **options)

def refuse(*arguments, **options):
    raise RuntimeError("a name was looked up")

socket.socket = Refusing
socket.getaddrinfo = socket.create_connection = refuse
'''
"""A `sitecustomize` module: every process that Python starts loads it first, those of cells too."""


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("OSCBENCH_DATA", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture
def stories(tmp_path):
    folder = tmp_path / "stories"
    folder.mkdir()
    for name in ("TinyStories-train.txt", "TinyStories-valid.txt"):
        (folder / name).write_text("A cat ran home to sleep.\n<|endoftext|>\n" * 300)
    return folder


def one_line(ended, *expected):
    assert ended.code == 2, ended
    assert ended.err.startswith("oscbench: ")
    assert ended.err.count("\n") == 1, ended.err
    for text in expected:
        assert text in ended.err


def row(ended, name):
    (line,) = (line for line in ended.out.splitlines() if line.startswith(name))
    return line


def test_list_says_what_is_here_and_which_suites_name_it(oscbench, stories, tmp_path):
    (tmp_path / "suites").mkdir()
    suite = "task: {{name: {}}}\nmechanisms: [softmax]\ntrain: {{epochs: 1}}\nseeds: 1\n"
    (tmp_path / "suites" / "mine.yaml").write_text(suite.format("char_lm, path: enwik8"))
    (tmp_path / "suites" / "yours.yaml").write_text(suite.format("word_lm, corpus: tinystories"))
    (tmp_path / "suites" / "streets.yaml").write_text(suite.format("camvid"))
    (tmp_path / "suites" / "broken.yaml").write_text("task: [")
    before = oscbench("data", "list")
    assert (before.code, before.err) == (0, "")
    assert " no " in row(before, "enwik8")
    assert "mine" in row(before, "enwik8")
    assert "mine" not in row(before, "tinystories")
    assert "yours" in row(before, "tinystories")
    assert "speech_commands" in before.out
    assert "streets" in row(before, "camvid"), "which the task takes where nothing is said"
    added = oscbench("data", "add", "tinystories", "--from", stories)
    assert added.code == 0
    assert added.out.startswith("tinystories: 2 files, ")
    after = oscbench("data", "list", "tinystories")
    assert "bytes" in row(after, "tinystories")
    assert "enwik8" not in after.out
    assert str(tmp_path / "store") in after.out


def test_verify_says_what_is_damaged_with_exit_code_2(oscbench, stories, store):
    assert oscbench("data", "verify").code == 0
    oscbench("data", "add", "tinystories", "--from", stories)
    whole = oscbench("data", "verify", "tinystories")
    assert (whole.code, whole.err) == (0, "")
    assert "as added" in row(whole, "tinystories")
    stored = next(store.rglob("TinyStories-valid.txt"))
    stored.write_text("something else")
    damaged = oscbench("data", "verify")
    one_line(damaged, "tinystories", "on record", "oscbench data add tinystories --from PATH")
    assert "damaged" in row(damaged, "tinystories")


def test_a_stored_folder_that_was_removed_is_listed_as_gone(oscbench, stories, store):
    oscbench("data", "add", "tinystories", "--from", stories)
    shutil.rmtree(store / "files")
    for arguments in (("data", "list"), ("data", "list", "tinystories")):
        listed = oscbench(*arguments)
        assert listed.code == 0
        assert row(listed, "tinystories  ").split()[1] == "gone"
        assert "bytes" not in row(listed, "tinystories  ")
        assert "is gone; bring it with: oscbench data add tinystories --from PATH" in row(
            listed, "tinystories:"
        )
    assert "tinystories" not in oscbench("data", "list", "enwik8").out
    damaged = oscbench("data", "verify")
    one_line(damaged, "is gone; bring it with: oscbench data add tinystories --from PATH")
    assert "gone" in row(damaged, "tinystories")


def test_verify_of_an_empty_store_says_so(oscbench, store):
    ended = oscbench("data", "verify")
    assert (ended.code, ended.err) == (0, "")
    assert (
        ended.out
        == f"nothing is stored in {store}; add a data set with: oscbench data add NAME --from PATH\n"
    )


def test_bad_arguments_are_one_line(oscbench, tmp_path):
    one_line(oscbench("data", "add"), "oscbench data add NAME --from PATH")
    one_line(oscbench("data", "add", "enwik8"), "oscbench data add NAME --from PATH")
    one_line(oscbench("data", "add", "enwik", "--from", tmp_path), 'did you mean "enwik8"?')
    one_line(oscbench("data", "add", "enwik8", "--from", tmp_path / "no"), "no such file or folder")
    one_line(oscbench("data", "verify", "wikitext"), 'did you mean "wikitext2"?')
    one_line(oscbench("data", "verify", "enwik8"), "not in the data store")
    one_line(oscbench("data", "list", "speech"), 'no data set "speech"')


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("{name: char_lm, path: enwik8}", "oscbench data add enwik8 --from PATH"),
        ("{name: char_lm, path: enwik}", 'did you mean "enwik8"?'),
        ("{name: char_lm, path: cut/enwik8}", "has 5 bytes, enwik8 has 100,000,000"),
        ("{name: word_lm, corpus: wikitext2}", "oscbench data add wikitext2 --from PATH"),
        ("{name: word_lm, path: cut/enwik8}", "does not fill one row of task.length 50"),
        ("{name: word_lm, path: latin.txt}", "line 1 is not UTF-8"),
        ("{name: word_lm, corpus: text}", "corpus text needs a file"),
        ("{name: word_lm, path: nowhere.txt}", "nowhere.txt: no such file or folder"),
    ],
)
def test_missing_or_bad_data_stop_a_run_before_it_starts(oscbench, tiny, tmp_path, task, expected):
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "enwik8").write_bytes(b"<medi")
    (tmp_path / "latin.txt").write_bytes(b"\xe9t\xe9 " * 1000)
    suite = tiny(task=task, model="{width: 16, heads: 2, layers: 1}")
    ended = oscbench("run", suite)
    one_line(ended, expected)
    assert ended.out == ""
    assert not (tmp_path / "results").exists()


def test_changed_stored_data_stop_a_run_before_it_starts(oscbench, tiny, stories, store, tmp_path):
    oscbench("data", "add", "tinystories", "--from", stories)
    stored = next(store.rglob("TinyStories-train.txt"))
    stored.write_text(stored.read_text().replace("cat", "dog"))
    suite = tiny(task="{name: word_lm, corpus: tinystories}", model="{width: 16, heads: 2, layers: 1}")
    one_line(oscbench("run", suite), "its SHA-256 is", "on record")
    assert not (tmp_path / "results").exists()


def offline(tmp_path, *arguments):
    """The command in a process of its own in which no socket can be opened, nor in any that it starts."""
    folder = tmp_path / "no_network"
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(NO_NETWORK)
    return subprocess.run(
        [sys.executable, "-c", "from oscbench.cli import main; main()", *map(str, arguments)],
        cwd=tmp_path,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )


def test_no_socket_is_opened_by_anything_but_what_asks_for_the_hub(tmp_path, tiny, stories):
    added = offline(tmp_path, "data", "add", "tinystories", "--from", stories)
    assert added.returncode == 0, added.stderr
    for arguments in (("data", "list"), ("data", "verify")):
        assert offline(tmp_path, *arguments).returncode == 0
    suite = tiny(
        task="{name: word_lm, corpus: tinystories, length: 10}",
        model="{width: 16, heads: 2, layers: 1}",
        mechanisms="[softmax]",
    )
    ran = offline(tmp_path, "run", suite)
    assert ran.returncode == 0, ran.stderr
    (path,) = (tmp_path / "results" / "tiny").glob("*.json")
    record = json.loads(path.read_text())
    assert record["status"] == "ok", record["reason"]
    assert record["metric"] == "perplexity_tinystories_words8004_len10"
    assert record["task_label"] == "words of TinyStories"
    assert record["measures"][f"best_validation_{record['metric']}"]["value"] > 1


def test_the_test_would_see_a_socket(tmp_path):
    folder = tmp_path / "no_network"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(NO_NETWORK)
    for code in (
        "import socket; socket.socket()",
        "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
        "import urllib.request; urllib.request.urlopen('http://localhost:1')",
    ):
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment(folder), capture_output=True, text=True, check=False
        )
        assert "a socket was opened" in done.stderr or "a name was looked up" in done.stderr

"""Folders and files that are too long, no text, in the way or on a full disk: a line each, and what can be done is done."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import end, environment, records, run, start, wait_until

LONG = "x" * 300
FULL = Path("/dev/full")
full_device = pytest.mark.skipif(not FULL.exists(), reason="no such device here")


def one_line(ended, *expected):
    assert (ended.code, ended.out) == (2, ""), ended
    assert ended.err.startswith("oscbench: ")
    assert ended.err.count("\n") == 1, ended.err
    for text in expected:
        assert text in ended.err


def on_a_full_disk(command, tmp_path, **streams):
    """A command whose output or messages cannot be written."""
    with FULL.open("w") as full:
        given = dict.fromkeys(streams, full)
        return subprocess.run(
            [sys.executable, "-c", "from oscbench.cli import main; main()", *map(str, command)],
            cwd=tmp_path,
            env=environment(),
            check=False,
            text=True,
            **({"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | given),
        )


@pytest.mark.parametrize(
    "command",
    [
        ["run", LONG],
        ["run", "{suite}", "--results", LONG],
        ["run", "{suite}", "--checkpoints", LONG],
        ["run", "{suite}", "--only", f"mechanism={LONG}"],
        ["run", "{suite}", "--set", f"{LONG}=1"],
        ["validate", f"{LONG}.yaml"],
        ["report", "--results", LONG],
        ["report", LONG, "--results", "{results}"],
        ["report", "--results", "{results}", "--output", LONG],
        ["report", "--results", "{results}", "--compare", f"{LONG},softmax"],
        ["export", "--results", LONG],
        ["export", "--results", "{results}", "--output", LONG],
        ["export", "--results", "{results}", "--output", f"{LONG}/cells.csv"],
        ["claims", "--results", LONG],
        ["claims", LONG],
        ["compare", LONG, LONG],
        ["evaluate", LONG, "--results", "{results}"],
        ["evaluate", f"{LONG}.json"],
        ["evaluate", f"{LONG}/{LONG}.safetensors"],
        ["pack", LONG, "--results", "{results}"],
        ["pack", "tiny", "--results", "{results}", "--output", LONG],
        ["unpack", f"{LONG}.jsonl.gz"],
        ["data", "add", "wikitext2", "--from", LONG],
        ["data", "add", LONG, "--from", "."],
        ["new", "mechanism", LONG],
        ["new", "mechanism", "mine", "--to", LONG],
    ],
    ids=lambda command: " ".join(command).replace(LONG, "LONG"),
)  # fmt: skip
def test_names_longer_than_a_file_system_takes_are_one_line(oscbench, tiny, finished, command):
    places = {"suite": tiny(mechanisms="[softmax]"), "results": finished}
    one_line(oscbench(*(part.format(**places) for part in command)))


@pytest.mark.parametrize(
    "name", [b"nu\xff", b"\xed\xa0\x80", b"\x1b[31m"], ids=["latin", "surrogate", "escape"]
)
def test_a_results_folder_whose_name_is_no_text_serves_every_command(oscbench, tiny, tmp_path, name):
    results = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    suite = tiny(mechanisms="[softmax]", train="{steps: 2, batch_size: 16}", measures="[params]")
    ran = oscbench("run", suite, "--results", results, "--keep", "weights")
    assert ran.code == 0, ran.err
    assert "1 ok" in ran.err
    assert "next: oscbench report tiny" in ran.err
    (record,) = records(results).values()
    again = oscbench("run", suite, "--results", results)
    assert (again.code, len(records(results))) == (0, 1)
    for command in (
        ["run", suite, "--dry-run"],
        ["export", "--output", results / "cells.csv"],
        ["report", "--output", results / "page"],
        ["evaluate", record.identity],
        ["claims"],
    ):
        ended = oscbench(*command, "--results", results)
        assert ended.code == 0, ended.err
        ended.out.encode()
    assert (results / "page" / "index.html").is_file()
    (path,) = (results / "tiny").glob("*.json")
    path.write_text("{")
    damaged = oscbench("export", "--results", results)
    assert damaged.code == 2
    assert path.name in damaged.err
    assert "Traceback" not in damaged.err


@full_device
@pytest.mark.parametrize(
    "command",
    [
        ["export", "--results", "{results}"],
        ["export", "--results", "{results}", "--format", "json"],
        ["export", "--results", "{results}", "--output", "/dev/full"],
        ["list", "suites"],
        ["--help"],
    ],
    ids=" ".join,
)
def test_output_on_a_full_disk_is_one_line(finished, tmp_path, command):
    done = on_a_full_disk([part.format(results=finished) for part in command], tmp_path, stdout=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert "cannot be written (No space left on device)" in done.stderr


@full_device
def test_messages_on_a_full_disk_end_no_run(tiny, tmp_path):
    suite = tiny(train="{steps: 2, batch_size: 16}", measures="[params]")
    done = on_a_full_disk(["run", suite], tmp_path, stderr=True)
    assert done.returncode == 0
    assert [record.status for record in records(tmp_path / "results").values()] == ["ok", "ok"]


def test_an_unusable_set_aside_is_one_line_and_loses_nothing(oscbench, tiny, finished, tmp_path):
    results, suite = tmp_path / "results", finished.parent / "tiny.yaml"
    shutil.copytree(finished, results)
    first, *_ = sorted((results / "tiny").glob("*.json"))
    (results / "tiny" / ".set_aside").write_text("in the way")
    kept = {path: path.read_bytes() for path in (results / "tiny").glob("*.json")}
    fresh = oscbench("run", suite, "--results", results, "--fresh")
    assert fresh.code == 2
    assert fresh.err.splitlines()[-1].endswith(
        "cannot be set aside there (File exists); the same command without --fresh goes on where this one stopped"
    )
    assert {path: path.read_bytes() for path in kept} == kept
    first.write_text("{")
    ended = oscbench("run", suite, "--results", results)
    assert ended.code == 2
    assert "Traceback" not in ended.err
    assert f"{first.name} cannot be set aside there" in ended.err
    assert first.read_text() == "{"


def broken_file(path):
    path.write_bytes(b"\xff{")


def broken_pipe(path):
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def broken_folder(path):
    path.unlink(missing_ok=True)
    path.mkdir()


@pytest.mark.parametrize("broken", [broken_file, broken_pipe, broken_folder], ids=lambda how: how.__name__)
def test_broken_measurements_are_made_again_or_told_in_a_line(tiny, oscbench, tmp_path, broken):
    suite = tiny(
        mechanisms="[uniform]",
        match="{by: time, tolerance: 0.5}",
        train="{steps: 1, batch_size: 16}",
        measures="[params]",
    )
    results = tmp_path / "results"
    assert oscbench("run", suite, "--results", results).code == 0
    kept = list((results / ".measured").glob("*.json"))
    assert kept
    for path in kept:
        broken(path)
    for path in (results / "tiny").glob("*.json"):
        path.unlink()
    ended = oscbench("run", suite, "--results", results)
    assert "Traceback" not in ended.err
    if ended.code == 0:
        assert [record.status for record in records(results).values()] == ["ok"]
    else:
        assert ended.code == 2
        assert str(results / ".measured") in ended.err.splitlines()[-1]


def test_fresh_that_is_interrupted_says_how_it_goes_on_and_does(tiny, tmp_path):
    gated = f"{{name: 'throwaway_mechanisms:Gated', settings: {{folder: {tmp_path}}}}}"
    suite, results = tiny(mechanisms=f"[softmax, {gated}]", seeds=1), tmp_path / "results"
    (tmp_path / "open").touch()
    assert run(suite, results, jobs=1) == 0
    (tmp_path / "open").unlink()
    before = {path.name: path.stat().st_mtime_ns for path in (results / "tiny").glob("*.json")}
    (first,) = (results / "tiny").glob("*softmax*.json")
    process = start("run", suite, "--results", results, "--fresh", "--jobs", "1", cwd=tmp_path)
    try:
        wait_until(
            lambda: first.exists() and first.stat().st_mtime_ns != before[first.name], "softmax has run again"
        )
        process.send_signal(signal.SIGINT)
        (tmp_path / "open").touch()
        code, _, err = end(process)
    finally:
        process.kill()
    assert code == 130
    assert err.endswith("interrupted; the same command without --fresh goes on where this one stopped\n")
    anew = first.stat().st_mtime_ns
    assert run(suite, results) == 0
    assert first.stat().st_mtime_ns == anew, "what it had finished is not computed again"
    assert [record.status for record in records(results).values()] == ["ok", "ok"]
    assert all(path.stat().st_mtime_ns != before[path.name] for path in (results / "tiny").glob("*.json"))


def test_results_moved_in_mid_run_are_told_and_a_second_run_completes_them(tiny, tmp_path):
    gated = f"{{name: 'throwaway_mechanisms:Gated', settings: {{folder: {tmp_path}}}}}"
    suite, results = tiny(mechanisms=f"[softmax, {gated}]"), tmp_path / "results"
    process = start("run", suite, "--results", results, "--jobs", "1", cwd=tmp_path)
    try:
        wait_until(lambda: list(tmp_path.glob("reached-*")), "the cell runs")
        results.rename(tmp_path / "moved")
        (tmp_path / "open").touch()
        code, _, err = end(process)
    finally:
        process.kill()
    assert code == 1
    assert "1 of these records are gone from" in err
    assert "Traceback" not in err
    assert len(records(results)) == 1
    assert len(records(tmp_path / "moved")) == 1
    assert run(suite, results) == 0
    assert len(records(results)) == 2

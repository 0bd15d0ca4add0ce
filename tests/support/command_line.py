"""The command line in a process of its own, and what tests of running cells share."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

import oscbench
from oscbench.analysis.published.numbers import find_published

TINY = {
    "task": "digits",
    "model": "{width: 16, heads: 2, layers: 1, patch: 4}",
    "train": "{epochs: 1, batch_size: 128}",
    "mechanisms": "[softmax, kope]",
    "seeds": 1,
    "floors": "false",  # they are cells of their own, with tests of their own
}
PATIENCE_S = 600.0  # a machine that many share may need minutes to start a process
SUPPORT = Path(__file__).parent
"""Modules that tests share, and that their child processes import."""


def breaking_suite(folder, slip, *, memory=False):
    """A suite whose measure breaks after the training of its one cell, 21 steps, as long as a file is there."""
    path = folder / "mine.yaml"
    path.write_text(
        "task: {name: digits, fraction: 0.4}\nmodel: {width: 16, heads: 2, layers: 2, patch: 4, dropout: 0.2}\n"
        "match: {by: none}\ntrain: {epochs: 3, batch_size: 64}\nmechanisms: [softmax]\nseeds: 1\n"
        f"measures: [health, {{name: 'throwaway_parts:Breaks', while_there: {slip}, memory: {memory}}}]\n"
    )
    return path


def environment(*folders):
    """This process's, in which modules of these folders and of `tests/support` can be imported, and the package by all means."""
    paths = [*folders, SUPPORT, Path(oscbench.__file__).parents[1]]
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}


def copied_package(folder):
    """A copy of the package in a folder, with the papers' numbers where it looks for them; one may write into it."""
    shutil.copytree(
        Path(oscbench.__file__).parent, folder / "oscbench", ignore=shutil.ignore_patterns("__pycache__")
    )
    published = find_published()
    if not (folder / "oscbench" / "_installed").exists():
        shutil.copytree(published.parent, folder / "results" / "published")
    return folder


def start(*arguments, cwd, folders=()):
    """Start the command as the leader of a session of its own, so that its whole family can be found."""
    command = [sys.executable, "-c", "from oscbench.cli import main; main()", *map(str, arguments)]
    return subprocess.Popen(
        command,
        cwd=cwd,
        env=environment(*folders),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # these tests may run under nohup
    )


def end(process):
    """(exit code, standard output, standard error) once it has ended."""
    out, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, out, err


def wait_until(condition, what):
    """Wait for something to become true; the limit is for safety alone."""
    limit = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < limit, f"never happened: {what}"
        time.sleep(0.02)
    return found


def family(leader):
    """Ids of the living processes of a session."""
    alive = []
    for process in psutil.process_iter(["status"]):
        try:
            if os.getsid(process.pid) == leader and process.info["status"] != psutil.STATUS_ZOMBIE:
                alive.append(process.pid)
        except ProcessLookupError:
            continue
    return alive


def run(suite, results, *, jobs=2, **options):
    """A run in this process; its cells have processes of their own anyway. Returns the exit code."""
    from oscbench.runner.session import run_suite

    given = {"only": [], "overrides": []} | options
    return run_suite(str(suite), results=Path(results), jobs=jobs, **given)


def records(results):
    """Records of a results folder by mechanism (its last word), variant and seed."""
    from oscbench.records import Store

    found, damaged = Store(Path(results)).read_all()
    assert not damaged
    return {(r.mechanism.rpartition(":")[2], r.variant, r.seed): r for r in found}


def values(record):
    """All that a record says of its result, without clocks: what must be bitwise the same when run again."""
    kept = ("status", "identity", "data_hash", "matching", "curves", "health", "flags", "calibration")
    measures = {name: one for name, one in record.measures.items() if one.unit != "s"}
    return {name: getattr(record, name) for name in kept} | {"measures": measures}

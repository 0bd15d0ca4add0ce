"""Locks of both kinds: held by one, free afterwards, and not for ever in the hands of the dead."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from oscbench.records import Store, locks
from oscbench.records.locks import Locks


@pytest.mark.parametrize("kind", ["flock", "lease"])
def test_a_lock_is_held_by_one_and_free_afterwards(tmp_path, kind):
    store, other = (Store(tmp_path / "results", locks=kind) for _ in range(2))
    with store.lock("mine", "a") as held:
        assert held
        for _ in range(2):
            with other.lock("mine", "a") as theirs:
                assert not theirs
        with other.lock("mine", "b") as beside:
            assert beside
    with other.lock("mine", "a") as theirs:
        assert theirs


@pytest.mark.parametrize("kind", ["auto", "lease"])
def test_a_lock_dies_with_its_process(tmp_path, kind):
    code = f"""
import sys
from pathlib import Path
from oscbench.records import Store
with Store(Path({str(tmp_path)!r}), locks={kind!r}).lock("mine", "a") as held:
    print(held, flush=True)
    sys.stdin.read()
"""
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    store = Store(tmp_path, locks=kind)
    try:
        assert holder.stdout.readline() == "True\n"
        with store.lock("mine", "a") as held:
            assert not held
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with store.lock("mine", "a") as held:
            assert held
    finally:
        holder.kill()
        holder.communicate()


def test_a_lease_that_nobody_renews_is_taken_over_in_time_though_its_machine_cannot_be_asked(tmp_path):
    path = tmp_path / "a.lock"
    mine = Locks("lease", lease_s=0.5)
    held = mine.take(path)
    held._stop_heartbeat()  # as a machine that has lost its network
    marker = path.with_suffix(".lease")
    marker.write_text(marker.read_text().replace(os.uname().nodename, "another-machine"))
    waiting = Locks("lease", lease_s=0.5)
    assert waiting.take(path) is None
    limit = time.monotonic() + 60.0
    while (taken := waiting.take(path)) is None:
        assert time.monotonic() < limit
        time.sleep(0.05)
    taken.release()


def test_leases_are_taken_where_file_locks_cannot_be_trusted(tmp_path, monkeypatch):
    def mounted(fstype):
        there = [
            SimpleNamespace(mountpoint="/", fstype="ext4"),
            SimpleNamespace(mountpoint=str(tmp_path), fstype=fstype),
        ]
        monkeypatch.setattr(locks.psutil, "disk_partitions", lambda all: there)

    for fstype, kind in (("nfs4", "lease"), ("ext4", "flock")):
        mounted(fstype)
        chosen = Locks()
        chosen.take(tmp_path / "x.lock").release()
        assert chosen.kind == kind

    def refuse(self, **how):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(locks.FileLock, "acquire", refuse)
    chosen = Locks()
    chosen.take(tmp_path / "x.lock").release()
    assert chosen.kind == "lease"


def test_another_kind_is_a_mistake_in_one_line(tiny, oscbench):
    ended = oscbench("run", tiny(), "--locks", "leese")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert 'did you mean "lease"?' in ended.err

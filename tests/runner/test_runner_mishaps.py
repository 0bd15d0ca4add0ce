"""Records deleted in mid-run, clocks that were wrong, a fork server that dies: nothing is lost without a word."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from datetime import UTC, datetime, timedelta
from multiprocessing import forkserver

import pytest
from command_line import records, run, wait_until

from oscbench.records import Store
from oscbench.runner.executors import local


def broken(record, **changes):
    """The same cell, failed."""
    return record.model_copy(update={"status": "failed", "reason": "a full disk", **changes})


@pytest.mark.parametrize("ahead", [timedelta(days=-1), timedelta(days=3650)], ids=["past", "future"])
def test_a_failed_cell_is_tried_again_whatever_its_date(tiny, tmp_path, ahead):
    suite, results = tiny(mechanisms="[softmax]"), tmp_path / "results"
    assert run(suite, results) == 0
    store = Store(results)
    (good,) = store.read_all()[0]
    store.path_of(good).unlink()
    when = datetime.now(UTC) + ahead
    store.write(broken(good, started_utc=when, finished_utc=when))
    assert run(suite, results) == 0
    (again,) = records(results).values()
    assert again.status == "ok"


def test_results_deleted_in_mid_run_are_told(tiny, tmp_path, monkeypatch, capfd):
    suite, results = tiny(seeds=2), tmp_path / "results"
    end, ended = local.Pool._end, []

    def delete_the_first(pool, running):
        ended.append(end(pool, running))
        if len(ended) == 2:
            shutil.rmtree(results)
        return ended[-1]

    monkeypatch.setattr(local.Pool, "_end", delete_the_first)
    assert run(suite, results, jobs=1) == 1
    assert len(records(results)) == 2
    assert "2 of these records are gone from" in capfd.readouterr().err
    assert run(suite, results) == 0
    assert len(records(results)) == 4


def test_a_run_outlives_its_fork_server(tiny, tmp_path):
    gated = f"{{name: 'throwaway_mechanisms:Gated', settings: {{folder: {tmp_path}}}}}"
    suite, results = tiny(mechanisms=f"[{gated}, softmax]"), tmp_path / "results"
    codes = []
    mine = threading.Thread(target=lambda: codes.append(run(suite, results, jobs=1)))
    mine.start()
    try:
        wait_until(lambda: list(tmp_path.glob("reached-*")), "the cell runs")
        os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)
        time.sleep(3 * local.POLL_S)  # the run hears of it while the cell still waits
    finally:
        (tmp_path / "open").touch()
        mine.join()
    assert codes == [0]
    assert [record.status for record in records(results).values()] == ["ok", "ok"]
    assert len(list(tmp_path.glob("reached-*"))) == 1, "the cell in progress went on"

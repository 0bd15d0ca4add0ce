"""Records deleted in mid-run, clocks that were wrong, a fork server that dies: nothing is lost without a word."""

from __future__ import annotations

import io
import os
import shutil
import signal
import threading
import time
from datetime import UTC, datetime, timedelta
from multiprocessing import forkserver
from pathlib import Path

import pytest
import torch
from command_line import end, family, records, run, start, values, wait_until

from oscbench.errors import UserError
from oscbench.records import Store
from oscbench.runner import pool as pools
from oscbench.runner.cell import lost_record, sent_record
from oscbench.runner.executors import ExecutorError, _child
from oscbench.runner.kinds import kind_of
from oscbench.runner.plan import make_plan
from oscbench.suite import load_suite


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
    end, ended = pools.Pool._end, []

    def delete_the_first(pool, ticket, record, **how):
        ended.append(record)
        end(pool, ticket, record, **how)
        if len(ended) == 2:
            shutil.rmtree(results)

    monkeypatch.setattr(pools.Pool, "_end", delete_the_first)
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
        time.sleep(3 * pools.POLL_S)  # the run hears of it while the cell still waits
    finally:
        (tmp_path / "open").touch()
        mine.join()
    assert codes == [0]
    assert [record.status for record in records(results).values()] == ["ok", "ok"]
    assert len(list(tmp_path.glob("reached-*"))) == 1, "the cell in progress went on"


def test_a_fork_server_that_dies_between_two_cells_is_started_again(monkeypatch):
    """It listens no more, and nobody knows yet that it is dead."""
    refused, pauses = [ConnectionRefusedError("Connection refused")] * 3, []

    class Process:
        def start(self):
            if refused:
                raise refused.pop()

    monkeypatch.setattr(_child, "start_server", lambda: None)
    monkeypatch.setattr(_child.time, "sleep", pauses.append)
    _child._started(Process)
    assert pauses == [0.05, 0.1, 0.2]
    refused += [ConnectionRefusedError("Connection refused")] * 100
    with pytest.raises(ExecutorError, match=r"process of a cell cannot be started \(Connection refused\)"):
        _child._started(Process)


LONG = "{epochs: 12, batch_size: 64}"


def steps_there(folder):
    """Whether a cell has left a checkpoint."""
    return list(folder.glob(".checkpoints/*/*.checkpoint"))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda how: how.name)
def test_a_killed_run_goes_on_inside_its_cells(tiny, tmp_path, capfd, how):
    gated = f"{{name: 'throwaway_mechanisms:Gated', settings: {{folder: {tmp_path}}}}}"
    suite, results = tiny(mechanisms=f"[{gated}]", train=LONG), tmp_path / "results"
    # Far below what a cell takes, on a fast machine too: one that ends before its first checkpoint leaves none to wait for.
    minutes = "0.0005" if how is signal.SIGKILL else "1000"
    # Where the run below goes on: in another folder Python may find another copy of the package, of another commit.
    process = start("run", suite, "--results", results, "--checkpoint-minutes", minutes, cwd=Path.cwd())
    try:
        wait_until(lambda: list(tmp_path.glob("reached-*")), "the cell runs")
        if how is signal.SIGKILL:
            (tmp_path / "open").touch()
            wait_until(lambda: steps_there(results), "the cell has left a checkpoint")
            process.send_signal(how)
        else:
            process.send_signal(how)
            time.sleep(3 * pools.POLL_S)  # the run has asked its cell to stop
            (tmp_path / "open").touch()  # and the step in progress can end
        code, _, err = end(process)
    finally:
        process.kill()
    assert code == (-how if how is signal.SIGKILL else 130)
    assert "Traceback" not in err
    wait_until(lambda: not family(process.pid), "every process of the run is gone")
    (kept,) = steps_there(results)
    assert records(results) == {}
    done = torch.load(io.BytesIO(kept.read_bytes().split(b"\n", 1)[1]), weights_only=True)["place"][0]
    assert done > 0
    capfd.readouterr()
    assert run(suite, results) == 0
    err = "".join(capfd.readouterr().err.split())  # a line with a long path in it may be broken anywhere
    assert f"seed0:goesonfromstep{done},whereitscheckpointwasmade" in err
    assert not steps_there(results), "it goes with the cell's end"
    assert run(suite, tmp_path / "whole") == 0
    (resumed,), (whole,) = records(results).values(), records(tmp_path / "whole").values()
    assert said(resumed) == said(whole)


def said(record):
    """All that a record says but for times, as text."""
    kept = values(record)
    return record.model_dump_json(include=set(kept) - {"measures"}) + repr(sorted(kept["measures"].items()))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"stall_minutes": 0.02}, "made no progress for 0.02 minutes, and was killed"),
        ({"limit_minutes": 0.02}, "ran for more than its limit of 0.02 minutes, and was killed"),
    ],
)
def test_a_cell_that_stands_still_is_killed_and_recorded(tiny, tmp_path, options, reason):
    gated = f"{{name: 'throwaway_mechanisms:Gated', settings: {{folder: {tmp_path}}}}}"
    suite, results = tiny(mechanisms=f"[{gated}]"), tmp_path / "results"
    assert run(suite, results, **options) == 1
    (record,) = records(results).values()
    assert (record.status, record.reason) == ("failed", reason)
    (tmp_path / "open").touch()
    assert run(suite, results, stall_minutes=60, limit_minutes=60) == 0, "and the next run tries it again"


@pytest.mark.parametrize(
    ("url", "told"), [("nosuch://bucket", "cannot be used"), ("{file}", "is a file; give a folder or a URL")]
)
def test_a_place_for_checkpoints_that_cannot_be_is_refused_before_anything_runs(tiny, tmp_path, url, told):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=told):
        run(tiny(), tmp_path / "results", checkpoints=url.format(file=tmp_path / "file"))
    assert records(tmp_path / "results") == {}


def test_a_clock_that_is_set_back_costs_no_record(tiny):
    (cell,) = make_plan(load_suite(str(tiny(mechanisms="[softmax]"))), only=[], device="cpu")
    record = lost_record(cell, "failed", "why", datetime.now(UTC) + timedelta(hours=1))
    assert record.seconds == 0.0


def test_a_file_that_is_being_edited_costs_its_cells_alone(tiny, monkeypatch):
    """The card of a cell that broke is read from its mechanism's file, which may be half written by then."""
    (cell,) = make_plan(load_suite(str(tiny(mechanisms="[softmax]"))), only=[], device="cpu")

    def unreadable(*_):
        raise SyntaxError("invalid syntax")

    monkeypatch.setattr(kind_of(cell.spec), "card", unreadable)
    record = lost_record(cell, "failed", "why", datetime.now(UTC))
    assert (record.card.label, record.reason) == ("softmax", "why")


def test_a_record_that_cannot_be_read_is_a_failure_of_its_cell(tiny):
    (cell,) = make_plan(load_suite(str(tiny(mechanisms="[softmax]"))), only=[], device="cpu")
    sent = (
        lost_record(cell, "failed", "why", datetime.now(UTC))
        .model_dump_json()
        .replace('"seed":0', '"seed":"x"')
    )
    record = sent_record(cell, sent, datetime.now(UTC))
    assert record.status == "failed"
    assert record.reason.startswith("no record could be made: Record.seed: ")

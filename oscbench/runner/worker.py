"""A process for one cell: it says how far it is, hands over its record, and dies with its parent."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from multiprocessing.connection import Connection

import torch

from oscbench import catalog
from oscbench.machine.process import run_repeatably
from oscbench.records import Record
from oscbench.runner.cell import lost_record, reason_of, run_cell
from oscbench.runner.cell_spec import Cell, Keeping, Progress, Rank
from oscbench.runner.kinds import kind_of
from oscbench.runner.training import parallel
from oscbench.runner.training.checkpoint import Checkpoints
from oscbench.runner.training.match_time import measure
from oscbench.runner.training.specs import parts_of
from oscbench.runner.training.weights import packed

REPORT_EVERY_S = 0.2
BROKEN = ("failed", "oom")
OTHERS_WORD_S = 5.0
"""What breaks another process of a cell looks from the first like a lost connection: before it says so, the other's own word, or its
death, is heard."""


def work(
    cell: Cell, pipe: Connection, keeping: Keeping, gpus: str | None = None, rank: Rank | None = None
) -> None:
    """Run a cell; `("progress", done, total)`, `("tell", text)`, `("weights", bytes)` and finally `("record", json)` go through the pipe.

    SIGTERM ends it after the step in progress, with a checkpoint where the run keeps any. Of several processes the first says all this;
    another says something where it breaks by itself, a record of that.

    Args:
        cell: what to run.
        pipe: to who started the process.
        keeping: what is kept beside the record.
        gpus: what `CUDA_VISIBLE_DEVICES` is to say; None for what it says already.
        rank: which of the cell's processes this is, where it has several.
    """
    _begin(gpus)
    if rank is not None and rank.number > 0:
        _help(cell, pipe, rank)
        return
    last = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > REPORT_EVERY_S or done == total:
            last = now
            pipe.send(("progress", done, total))

    checkpoints, where = None, keeping.checkpoints_of(cell.suite)
    if where is not None and kind_of(cell.spec).trains:
        trains = [one for one in kind_of(cell.spec).imports(cell.spec) if one[0] != "measures"]
        checkpoints = Checkpoints(
            where,
            cell.identity,
            keeping.minutes,
            lambda text: pipe.send(("tell", text)),
            sources={"/".join(one): catalog.running_hash(*one) for one in trains},
        )
        if keeping.anew:
            checkpoints.put_aside()
        signal.signal(signal.SIGTERM, lambda number, frame: checkpoints.stop())

    def keep(model: torch.nn.Module) -> None:
        pipe.send(("weights", packed(model, cell.identity)))

    record = _record(cell, progress, checkpoints, keep if keeping.weights else None, rank)
    if rank is not None and record.status in BROKEN:
        time.sleep(OTHERS_WORD_S)
    with contextlib.suppress(BrokenPipeError):  # the parent is dead, and this process is about to be
        pipe.send(("record", record.model_dump_json()))
        pipe.close()


def _help(cell: Cell, pipe: Connection, rank: Rank) -> None:
    """Train beside the first process."""
    record = _record(cell, lambda done, total: None, None, None, rank)
    if record.status in BROKEN:
        with contextlib.suppress(BrokenPipeError):
            pipe.send(("record", record.model_dump_json()))


def measure_for(cell: Cell, pipe: Connection, gpus: str | None = None) -> None:
    """Measure what a cell's matching by time needs; `("measured", found)` goes through the pipe, None where that breaks."""
    _begin(gpus)
    found = None
    # The cells that need it will break in the same way, and then leave records that say how.
    with contextlib.suppress(Exception):
        parts = parts_of(cell.spec)
        task = parts.task_class.for_seed(parts.task_config, cell.spec["seed"])
        # As it will train: on a GPU another kernel of attention repeats itself, and it is the slower one.
        found = run_repeatably(cell.spec, lambda device: measure(cell.spec, task, device, cell.measured))
    with contextlib.suppress(BrokenPipeError):
        pipe.send(("measured", found))
        pipe.close()


def _begin(gpus: str | None) -> None:
    """A process group of its own, so that what a measure starts in a process of its own dies with the cell; and its GPUs."""
    os.setpgid(0, 0)
    # Whoever started us may have kept SIGTERM from Ray and from all that it starts.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM, signal.SIGHUP])
    threading.Thread(target=_die_with_parent, daemon=True).start()
    if gpus is not None:  # the fork server has not touched CUDA, which reads this when it is first used
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus


def _record(
    cell: Cell,
    progress: Progress,
    checkpoints: Checkpoints | None,
    keep: Callable[[torch.nn.Module], None] | None,
    rank: Rank | None,
) -> Record:
    """The cell's record; a failure where a measure gave what no record can hold, or where its processes do not find one another."""
    started = datetime.now(UTC)
    try:
        if rank is not None:
            parallel.join(rank, cell.spec["device"])
        record = run_cell(cell, progress, checkpoints, keep)
        Record.model_validate_json(record.model_dump_json())  # as whoever started this process reads it
    except Exception as error:
        why = reason_of(error, kind_of(cell.spec).imports(cell.spec))
        return lost_record(cell, "failed", f"no record could be made: {why}", started)
    return record


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os.killpg(0, signal.SIGKILL)

"""A process for one cell: it says how far it is, hands over its record, and dies with its parent."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from oscbench.errors import first_line
from oscbench.runner.cell import lost_record, prepare_process, run_cell
from oscbench.runner.cell_spec import Cell
from oscbench.runner.training.loop import Progress
from oscbench.runner.training.match_time import measure
from oscbench.runner.training.specs import parts_of

REPORT_EVERY_S = 0.2


def work(cell: Cell, pipe: Connection) -> None:
    """Run a cell; `("progress", done, total)` and finally `("record", json)` go through the pipe."""
    os.setpgid(
        0, 0
    )  # a group of its own, so that what a measure starts in a process of its own dies with the cell
    threading.Thread(target=_die_with_parent, daemon=True).start()
    last = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > REPORT_EVERY_S or done == total:
            last = now
            pipe.send(("progress", done, total))

    record = _record(cell, progress)
    with contextlib.suppress(BrokenPipeError):  # the parent is dead, and this process is about to be
        pipe.send(("record", record))
        pipe.close()


def measure_for(cell: Cell, pipe: Connection) -> None:
    """Measure what a cell's matching by time needs; None goes through the pipe where that breaks."""
    os.setpgid(0, 0)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    found = None
    # The cells that need it will break in the same way, and then leave records that say how.
    with contextlib.suppress(Exception):
        device = prepare_process(cell.spec)
        parts = parts_of(cell.spec)
        found = measure(
            cell.spec, parts.task_class.for_seed(parts.task_config, cell.spec["seed"]), device, cell.measured
        )
    with contextlib.suppress(BrokenPipeError):
        pipe.send(found)
        pipe.close()


def _record(cell: Cell, progress: Progress) -> str:
    """The cell's record as JSON; a failure where a measure gave what no record can hold."""
    started = datetime.now(UTC)
    try:
        return run_cell(cell, progress).model_dump_json()
    except Exception as error:
        reason = f"no record could be made: {type(error).__name__}: {first_line(error)}"
        return lost_record(cell, "failed", reason, started).model_dump_json()


def kill(process: BaseProcess) -> None:
    """End a cell's process and whatever it has started."""
    if process.pid is not None:
        with contextlib.suppress(OSError):  # not yet in its group, or gone already
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os.killpg(0, signal.SIGKILL)

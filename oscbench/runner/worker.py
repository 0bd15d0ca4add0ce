"""A process for one cell: it says how far it is, hands over its record, and dies with its parent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from multiprocessing.connection import Connection

from oscbench.runner.cell import run_cell
from oscbench.runner.plan import Cell

REPORT_EVERY_S = 0.2


def work(cell: Cell, pipe: Connection) -> None:
    """Run a cell; `("progress", done, total)` and finally `("record", json)` go through the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    threading.Thread(target=_die_with_parent, daemon=True).start()
    last = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > REPORT_EVERY_S or done == total:
            last = now
            pipe.send(("progress", done, total))

    record = run_cell(cell, progress)
    pipe.send(("record", record.model_dump_json()))
    pipe.close()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)

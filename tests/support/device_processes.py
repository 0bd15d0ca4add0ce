"""Cells trained by several processes together, as an executor's child has them, many cells by the same few processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
from pathlib import Path

from command_line import PATIENCE_S

from oscbench.records import Record
from oscbench.runner.cell import run_cell
from oscbench.runner.cell_spec import Rank
from oscbench.runner.training import parallel
from oscbench.runner.training.checkpoint import Checkpoints


def trained(cells, folder=None, *, every=1e9, killed_at=None):
    """Records of cells with the same number of devices; none of one that is killed.

    Args:
        cells: which.
        folder: of checkpoints; None for none.
        every: steps between two checkpoints.
        killed_at: the first process is killed when it has done so many steps.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["oscbench.runner.worker", "torch._dynamo", "sklearn.datasets"])
    records, theirs = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as meetings:
        of = cells[0].devices
        members = [
            context.Process(
                target=_member,
                args=(cells, number, of, meetings, theirs, folder, every, killed_at),
                daemon=True,
            )
            for number in range(of)
        ]
        for one in members:
            one.start()
        theirs.close()
        found = []
        try:
            while killed_at is None and len(found) < len(cells):
                assert records.poll(PATIENCE_S), "no record came"
                found.append(Record.model_validate_json(records.recv()))  # EOFError where all have died
            members[0].join(PATIENCE_S)
            assert members[0].exitcode == (0 if killed_at is None else -signal.SIGKILL)
            for one in members[1:] if killed_at is None else []:
                one.join(PATIENCE_S)
                assert one.exitcode == 0
        finally:
            for one in members:
                one.kill()
                one.join()
    return found


def _member(cells, number, of, meetings, records, folder, every, killed_at):
    now = 0.0

    def progress(done, total):
        nonlocal now
        now = 60.0 * done
        if number == 0 and done == killed_at:
            os.kill(os.getpid(), signal.SIGKILL)

    for place, cell in enumerate(cells):
        if of > 1:
            parallel.join(Rank(number, of, str(Path(meetings) / str(place))), cell.spec["device"])
        kept = None
        if folder is not None and number == 0:
            kept = Checkpoints(str(folder), cell.identity, every, clock=lambda: now)
        record = run_cell(cell, progress, kept)
        if number == 0:
            records.send(record.model_dump_json())

"""A cell's process, as every executor starts it on the machine where the cell runs."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil

from oscbench import catalog
from oscbench.runner.cell_spec import Cell, Keeping
from oscbench.runner.executors import Died, Event, Job, Measured, Progressed, Recorded, Told, Trained
from oscbench.runner.kinds import kind_of

LEAVE_S = 10.0
"""How long a process that has handed over its record, or was asked to stop, may take to end."""

LAZY = ("torch._dynamo", "sklearn.datasets", "sklearn.linear_model", "sklearn.model_selection")
"""What is imported only where it is used, since a plan goes without, and most cells use."""


class Child:
    """A process that runs one job, and dies with the process that started it.

    Args:
        job: what to run.
        keeping: what is kept beside the record.
        gpus: the GPUs that it may see, as `CUDA_VISIBLE_DEVICES` names them; None for all.
        where: is said where the process breaks, as in ` on node-3`.
    """

    def __init__(self, job: Job, keeping: Keeping, gpus: str | None = None, where: str = "") -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(modules(job.cell))  # one that runs already stays as it is
        self.ticket, self.where = job.ticket, where
        self.pipe, theirs = context.Pipe(duplex=False)
        self.ended = False
        self._oom_kills = oom_kills()
        arguments = (job.cell, theirs, gpus) if job.only_measure else (job.cell, theirs, keeping, gpus)
        self.process = context.Process(
            target=_run, args=(job.only_measure, *arguments), name=job.cell.name, daemon=True
        )
        _start(self.process)
        theirs.close()

    def lives(self) -> bool:
        """Whether the process runs. Where the fork server died, nobody hears how its children end, and they still run."""
        if self.process.is_alive():
            return True
        try:
            return psutil.Process(self.process.pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def events(self) -> Iterator[Event]:
        """What it has said since the last call, and its end; `ended` then, and there is nothing more."""
        gone = not self.lives()
        for event in self._said():
            if isinstance(event, Recorded | Measured):
                self.process.join(LEAVE_S)
                self.kill()  # what it had to say is here: a process that hangs at exit is not waited for
            yield event
            if self.ended:
                return
        if gone:
            death = self._death()
            self.kill()
            yield death

    def _said(self) -> Iterator[Event]:
        # A half-written message of a killed process is nothing.
        with contextlib.suppress(EOFError, OSError):
            while self.pipe.poll():
                kind, *values = self.pipe.recv()
                yield _EVENTS[kind](self.ticket, *values)

    def _death(self) -> Died:
        code = self.process.exitcode
        number = -code if code is not None and code < 0 else None
        if number is not None and oom_kills() > self._oom_kills:
            return Died(self.ticket, f"killed by the kernel{self.where}: out of memory", memory=True)
        how = f"ended with code {code}" if number is None else f"was killed by {_signal_name(number)}"
        return Died(self.ticket, f"its process {how}{self.where} before it left a record")

    def ask_to_stop(self) -> None:
        """Have it end after the step in progress, with a checkpoint where any are kept."""
        self.process.terminate()

    def leave(self, limit: float) -> None:
        """Wait until a process that was asked to stop has ended, hearing what it says meanwhile, so that it can; then kill it.

        Args:
            limit: moment of `time.monotonic` after which it is not waited for.
        """
        while self.lives() and time.monotonic() < limit:
            for _ in self._said():
                pass
            self.process.join(0.05)
        self.kill()

    def kill(self) -> None:
        """End it and whatever it has started; nothing if it has ended."""
        self.ended = True
        if self.lives():
            kill(self.process)
        self.pipe.close()


_EVENTS: dict[str, Any] = {
    "progress": Progressed,
    "tell": Told,
    "weights": Trained,
    "record": Recorded,
    "measured": Measured,
}
"""What a process says first -> the event that it makes of the rest."""


def listen(children: Sequence[Child], seconds: float) -> None:
    """Wait until one of the processes says something or ends, at most so long."""
    ends = [one.process.sentinel for one in children if one.process.is_alive()]
    if children:
        wait([*(one.pipe for one in children), *ends], seconds)
    else:
        time.sleep(seconds)


def modules(cell: Cell) -> list[str]:
    """What the fork server imports once for all cells: the worker, what its first cell names, torch's lazy parts."""
    named = set(kind_of(cell.spec).imports(cell.spec))
    # The first optimiser step imports torch._dynamo, and digits and floors scikit-learn: seconds of every cell.
    return ["oscbench.runner.worker", *LAZY, *sorted(catalog.module(*one) for one in named)]


def _run(only_measure: bool, *arguments: Any) -> None:
    """What a process does: the fork server has imported it already, and who asks for the process need not have."""
    from oscbench.runner.worker import measure_for, work

    (measure_for if only_measure else work)(*arguments)


def _start(process: Any) -> None:
    """Start a cell's process, though the fork server may die at this very moment."""
    for left in reversed(range(3)):
        start_server()
        try:
            process.start()
        except (OSError, EOFError):
            if not left:
                raise
        else:
            return


def start_server() -> None:
    """Start the fork server with Ctrl-C blocked; all cells inherit that: the main process alone decides."""
    resource_tracker.ensure_running()  # first, since it unblocks the signal again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def kill(process: BaseProcess) -> None:
    """End a cell's process and whatever it has started."""
    if process.pid is not None:
        with contextlib.suppress(OSError):  # not yet in its group, or gone already
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()


def _signal_name(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"


def oom_kills() -> int:
    """How many processes the kernel has killed for memory since boot; 0 where it does not say."""
    try:
        lines = Path("/proc/vmstat").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    except (OSError, StopIteration):
        return 0

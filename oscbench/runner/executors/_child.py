"""A cell's processes, as every executor starts them on the machine where the cell runs: one, or one for each of its devices."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil

from oscbench import catalog
from oscbench.errors import first_line
from oscbench.runner.cell_spec import Cell, Keeping, Rank
from oscbench.runner.executors import (
    Died,
    Event,
    ExecutorError,
    Job,
    Measured,
    Progressed,
    Recorded,
    Told,
    Trained,
)

LEAVE_S = 10.0
"""How long a process that has handed over its record, or was asked to stop, may take to end."""

PAUSES_S = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Between two tries to start a cell's process."""

LAZY = ("torch._dynamo", "sklearn.datasets", "sklearn.linear_model", "sklearn.model_selection")
"""What is imported only where it is used, since a plan goes without, and most cells use."""


OWN = "OSCBENCH_"
"""How our variables begin."""

_SERVED: dict[str, str] = {}
"""Module -> hash of its file when the fork server that runs imported it."""


@dataclass(frozen=True)
class _Process:
    process: Any
    pipe: Connection

    def lives(self) -> bool:
        """Whether it runs. Where the fork server died, nobody hears how its children end, and they still run."""
        if self.process.is_alive():
            return True
        try:
            return psutil.Process(self.process.pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def kill(self) -> None:
        """End it and whatever it has started; nothing if it has ended."""
        if self.lives():
            kill(self.process)
        self.pipe.close()


class Child:
    """The processes that run one job, and die with the process that started them.

    The first of them makes the record. The others are there where a cell trains on several devices; what breaks one of them ends all.

    Args:
        job: what to run.
        keeping: what is kept beside the record.
        preload: what the fork server imports (`modules`); one that runs already stays as it is.
        gpus: the GPUs that it may see, as `CUDA_VISIBLE_DEVICES` names them, "" for none; None for all.
        where: is said where a process breaks, as in ` on node-3`.
    """

    def __init__(
        self, job: Job, keeping: Keeping, preload: Sequence[str], gpus: str | None = None, where: str = ""
    ) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(preload))
        self.ticket, self.where = job.ticket, where
        self.ended = False
        self._oom_kills = oom_kills()
        self._others: list[_Process] = []
        devices = 1 if job.only_measure else job.cell.devices
        if devices == 1:
            self._folder = None
            self._first = _begun(context, job, keeping, gpus)
            return
        self._folder = tempfile.TemporaryDirectory(prefix="oscbench-")
        own = gpus.split(",") if gpus else [gpus] * devices
        ranks = [Rank(number, devices, f"{self._folder.name}/meeting") for number in range(devices)]
        self._first = _begun(context, job, keeping, own[0], ranks[0])
        try:
            for rank in ranks[1:]:
                self._others.append(_begun(context, job, keeping, own[rank.number], rank))
        except BaseException:
            self.kill()
            raise

    @property
    def ends(self) -> list[Any]:
        """What becomes readable where there is something to hear."""
        members = [self._first, *self._others]
        return [
            *(one.pipe for one in members),
            *(one.process.sentinel for one in members if one.process.is_alive()),
        ]

    def events(self) -> Iterator[Event]:
        """What it has said since the last call, and its end; `ended` then, and there is nothing more."""
        gone = [one for one in (self._first, *self._others) if not one.lives()]
        for event in self._said(self._first):
            if isinstance(event, Recorded | Measured):
                self._first.process.join(LEAVE_S)
                self.kill()  # what it had to say is here: a process that hangs at exit is not waited for
            yield event
            if self.ended:
                return
        end = self._end(gone)
        if end is not None:
            self.kill()
            yield end
            return
        for one in gone:  # of the others: they have done their part
            self._others.remove(one)
            one.kill()

    def _end(self, gone: Sequence[_Process]) -> Event | None:
        """How the job has ended though the first has left no record: what another one said of what broke it, or a death."""
        if self._first not in gone:
            word = next((event for one in self._others for event in self._said(one)), None)
            if (
                word is not None and self._first.lives()
            ):  # or else it is the first's death that broke the other
                return word
        broken = next((one for one in gone if one is self._first or one.process.exitcode), None)
        return self._death(broken) if broken is not None else None

    def _said(self, one: _Process) -> Iterator[Event]:
        # A half-written message of a killed process is nothing.
        with contextlib.suppress(EOFError, OSError):
            while one.pipe.poll():
                kind, *values = one.pipe.recv()
                yield _EVENTS[kind](self.ticket, *values)

    def _death(self, one: _Process) -> Died:
        code = one.process.exitcode
        number = -code if code is not None and code < 0 else None
        if number == signal.SIGKILL and oom_kills() > self._oom_kills:
            return Died(self.ticket, f"killed by the kernel{self.where}: out of memory", memory=True)
        how = f"ended with code {code}" if number is None else f"was killed by {_signal_name(number)}"
        return Died(self.ticket, f"{self._named(one)} {how}{self.where} before it left a record")

    def _named(self, one: _Process) -> str:
        if not self._others:
            return "its process"
        return f"process {[self._first, *self._others].index(one)} of {1 + len(self._others)}"

    def ask_to_stop(self) -> None:
        """Have it end after the step in progress, with a checkpoint where any are kept."""
        self._first.process.terminate()

    def leave(self, limit: float) -> None:
        """Wait until a process that was asked to stop has ended, hearing what it says meanwhile, so that it can; then kill it.

        Args:
            limit: moment of `time.monotonic` after which it is not waited for.
        """
        while self._first.lives() and time.monotonic() < limit:
            for _ in self._said(self._first):
                pass
            self._first.process.join(0.05)
        self.kill()

    def kill(self) -> None:
        """End it and whatever it has started; nothing if it has ended."""
        self.ended = True
        for one in (self._first, *self._others):
            one.kill()
        if self._folder is not None:
            self._folder.cleanup()


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
    if children:
        wait([end for one in children for end in one.ends], seconds)
    else:
        time.sleep(seconds)


def modules(cell: Cell) -> list[str]:
    """What the fork server imports once for all cells: the worker, what its first cell names, torch's lazy parts."""
    from oscbench.runner.kinds import kind_of  # which imports torch, as a worker of Ray does not

    named = set(kind_of(cell.spec).imports(cell.spec))
    # The first optimiser step imports torch._dynamo, and digits and floors scikit-learn: seconds of every cell.
    return ["oscbench.runner.worker", *LAZY, *sorted(catalog.module(*one) for one in named)]


def _run(settled: tuple[dict[str, str], dict[str, str]], only_measure: bool, *arguments: Any) -> None:
    """What a process does: the fork server has imported it already, and who asks for the process need not have."""
    environment, imported = settled
    for name in [one for one in os.environ if one.startswith(OWN)]:
        del os.environ[name]
    os.environ.update(environment)
    catalog.note_imported(imported)
    from oscbench.runner.worker import measure_for, work

    (measure_for if only_measure else work)(*arguments)


def _begun(context: Any, job: Job, keeping: Keeping, gpus: str | None, rank: Rank | None = None) -> _Process:
    """A process that has been started."""
    pipe, theirs = context.Pipe(duplex=False)
    kept = replace(keeping, anew=job.anew)
    arguments = (job.cell, theirs, gpus) if job.only_measure else (job.cell, theirs, kept, gpus, rank)

    def make() -> Any:
        given = (_settled(), job.only_measure, *arguments)
        return context.Process(target=_run, args=given, name=job.cell.name, daemon=True)

    process = _started(make)
    theirs.close()
    return _Process(process, pipe)


def _settled() -> tuple[dict[str, str], dict[str, str]]:
    """What a process must know that its fork server, which may be older, does not: our variables as they are, and what it imported."""
    return {name: value for name, value in os.environ.items() if name.startswith(OWN)}, dict(_SERVED)


def _started(make: Callable[[], Any]) -> Any:
    """A cell's process, started though the fork server may die at this very moment; made anew for each server."""
    for pause in (*PAUSES_S, None):
        try:
            start_server()
            process = make()
            with _without_main():
                process.start()
        except (OSError, EOFError) as error:
            if pause is None:
                raise ExecutorError(
                    f"the process of a cell cannot be started ({first_line(error)})"
                ) from error
            time.sleep(pause)  # a server that was killed listens no more, and is not known to be dead yet
        else:
            return process
    raise AssertionError("the last try raises")


def start_server() -> None:
    """Start the fork server with Ctrl-C and SIGHUP blocked; all cells inherit that: the main process alone decides."""
    resource_tracker.ensure_running()  # first, since it unblocks the signal again
    server: Any = forkserver._forkserver
    imports = {name: catalog.module_hash(name) for name in server._preload_modules if name not in LAZY}
    was = server._forkserver_pid
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        with _without_main():
            forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if server._forkserver_pid != was:
        _SERVED.clear()
        _SERVED.update({name: told for name, told in imports.items() if told})


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Meanwhile no process that is started learns which script this is.

    It would run the script again to find in it what it is given, and a script that calls `run` outside of `if __name__ == "__main__"` would
    so begin a run within each cell. Nothing that a cell is given comes from a script.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


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

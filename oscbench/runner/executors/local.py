"""Many cells, one process each: nothing is computed twice, and what breaks costs its own cell alone.

Every cell is held under a lock that dies with the process holding it, so that two runs on one results folder
share the work.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import psutil

from oscbench import catalog
from oscbench.records import Record, Store
from oscbench.runner.cell import lost_record
from oscbench.runner.cell_spec import Cell, Keeping
from oscbench.runner.training.checkpoint import Checkpoints
from oscbench.runner.worker import kill, work

FINAL = ("ok", "diverged", "unsupported")
"""A cell with such a record is finished; `failed` and `oom` are tried again by the next run."""
POLL_S = 0.3
LEAVE_S = 10.0
"""How long a process that has handed over its record may take to end."""


class Reporter(Protocol):
    """Who is told how it goes."""

    def started(self, cell: Cell) -> None:
        """A cell's process has started."""

    def progress(self, cell: Cell, done: int, total: int) -> None:
        """A cell has done so many of its steps."""

    def finished(self, cell: Cell, record: Record, *, reused: bool) -> None:
        """A cell has its record: computed now, or found (`reused`)."""


@dataclass
class _Running:
    cell: Cell
    process: Any
    pipe: Connection
    lock: ExitStack
    started: datetime
    oom_kills: int
    heard: float = field(default_factory=time.monotonic)
    record: Record | None = None
    weights: bytes | None = None
    stuck: str | None = None


@dataclass
class Pool:
    """Runs cells in processes of their own.

    Attributes:
        store: where records go.
        jobs: how many cells at once.
        reporter: who is told.
        adopt: a cell that this suite has computed under another label (`--set`) is taken over from there.
        keeping: what is kept beside the records.
        stall_s: a cell that has told of no step for so long is killed and recorded as failed; None for never.
        limit_s: a cell that runs for so long is, too.
    """

    store: Store
    jobs: int
    reporter: Reporter
    adopt: bool = True
    keeping: Keeping = field(default_factory=Keeping)
    stall_s: float | None = None
    limit_s: float | None = None
    _running: list[_Running] = field(default_factory=list)
    _began: datetime = field(default_factory=lambda: datetime.now(UTC))

    def run(self, cells: list[Cell]) -> list[Record]:
        """Records of all cells, in the order in which they were finished.

        Ctrl-C and SIGTERM end the cells in progress, which lose their work since the last checkpoint, and nothing else does.
        Ctrl-C is raised again, and SIGTERM ends this process.
        """
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(modules(cells))
        pending, elsewhere, records = deque(cells), deque[Cell](), list[Record]()
        self._began = datetime.now(UTC)
        with _Interrupt() as interrupt:
            try:
                while pending or elsewhere or self._running:
                    while pending and len(self._running) < self.jobs:
                        interrupt.check()
                        self._begin(context, pending.popleft(), records, elsewhere)
                    if not self._running and not pending and elsewhere:
                        time.sleep(POLL_S)
                    interrupt.check()
                    records += self._collect()
                    # What another run held may be done by now, or free again because that run died.
                    if len(self._running) < self.jobs:
                        for _ in range(len(elsewhere)):
                            pending.append(elsewhere.popleft())
            finally:
                self._leave()
        return records

    def _leave(self) -> None:
        """End whatever runs, with a checkpoint where any are kept."""
        if self.keeping.checkpoints is not None:
            for running in self._running:
                running.process.terminate()
            limit = time.monotonic() + LEAVE_S
            for running in self._running:
                _drain(running, limit)
        for running in self._running:
            kill(running.process)
            running.lock.close()
        self._running.clear()

    def _begin(self, context: Any, cell: Cell, records: list[Record], elsewhere: deque[Cell]) -> None:
        """Take a cell: find its record, or start it, or leave it to the run that holds it."""
        lock = ExitStack()
        held = lock.enter_context(self.store.lock(cell.suite, cell.identity))
        found = self._finished(cell) if held else None
        if found is not None:
            lock.close()
            self.reporter.finished(cell, found, reused=True)
            records.append(found)
            return
        if not held:
            lock.close()
            elsewhere.append(cell)
            return
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(cell, theirs, self.keeping), name=cell.name, daemon=True)
        _start(process)
        theirs.close()
        self._running.append(_Running(cell, process, ours, lock, datetime.now(UTC), oom_kills()))
        self.reporter.started(cell)

    def _finished(self, cell: Cell) -> Record | None:
        """A cell's record, if it need not be computed."""
        found = self.store.find(cell.suite, cell.identity, at=self.store.path(*cell.place))
        if found is None:
            return None
        # What another run broke while this one waited for it is not tried a second time at once.
        # One that is dated in the future comes from a clock that was wrong.
        final = found.status in FINAL or self._began <= found.started_utc <= datetime.now(UTC)
        if found.suite == cell.suite:
            if not final:
                self.store.set_aside(self.store.path_of(found))
            return found if final else None
        if not (final and self.adopt):
            return None
        # The same cell under another label: each label keeps its own records, so that each is a whole suite.
        own = found.model_copy(update={"suite": cell.suite, "suite_description": cell.description})
        self.store.write(own)
        return own

    def _collect(self) -> list[Record]:
        """Hear what the running cells say, and write the records of those that ended."""
        if not self._running:
            return []
        ends = [one.process.sentinel for one in self._running if one.process.is_alive()]
        wait([one.pipe for one in self._running] + ends, POLL_S)
        done = []
        for running in list(self._running):
            ended = not _lives(running.process)
            for kind, *values in _messages(running.pipe):
                running.heard = time.monotonic()
                if kind == "progress":
                    self.reporter.progress(running.cell, *values)
                elif kind == "tell":
                    self.store.tell(values[0])
                elif kind == "weights":
                    running.weights = values[0]
                else:
                    running.record = Record.model_validate_json(values[0])
            if running.record is None and not ended:
                running.stuck = self._stuck(running)
                if running.stuck is None:
                    continue
                kill(running.process)
            done.append(self._end(running))
        return done

    def _stuck(self, running: _Running) -> str | None:
        """Why a cell that still runs is not waited for any longer."""
        if self.stall_s is not None and time.monotonic() - running.heard > self.stall_s:
            return f"made no progress for {self.stall_s / 60:g} minutes, and was killed"
        seconds = (datetime.now(UTC) - running.started).total_seconds()
        if self.limit_s is not None and seconds > self.limit_s:
            return f"ran for more than its limit of {self.limit_s / 60:g} minutes, and was killed"
        return None

    def _end(self, running: _Running) -> Record:
        running.process.join(LEAVE_S)
        if _lives(running.process):  # its record is here: a driver that hangs at exit is not waited for
            kill(running.process)
        record = running.record or _lost(running)
        if running.weights is not None:
            self.store.write_weights(record, running.weights)
        self.store.write(record)
        if running.record is not None and self.keeping.checkpoints is not None:
            Checkpoints(self.keeping.checkpoints, running.cell.identity).remove()
        running.pipe.close()
        running.lock.close()
        self._running.remove(running)
        self.reporter.finished(running.cell, record, reused=False)
        return record


def modules(cells: list[Cell]) -> list[str]:
    """What the fork server imports once for all cells: the worker, what cells name, torch's lazy parts."""
    named = {
        (kind, cell.spec[key]["name"])
        for cell in cells
        for kind, key in (("tasks", "task"), ("backbones", "model"), ("mechanisms", "mechanism"))
        if cell.spec["kind"] == "train"
    }
    named |= {("tasks", cell.spec["task"]["name"]) for cell in cells if cell.spec["kind"] == "floor"}
    named |= {("measures", measure["name"]) for cell in cells for measure in cell.spec.get("measures", ())}
    modules = sorted({catalog.load(kind, name).__module__ for kind, name in named})
    # The first optimiser step imports torch._dynamo, which takes seconds.
    return ["oscbench.runner.worker", "torch._dynamo", *modules]


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


def _lives(process: Any) -> bool:
    """Whether a cell's process runs. Where the fork server died, nobody hears how its children end, and they still run."""
    if process.is_alive():
        return True
    try:
        return psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _messages(pipe: Connection) -> Iterator[tuple[Any, ...]]:
    """What lies in the pipe; a half-written message of a killed process is nothing."""
    with contextlib.suppress(EOFError, OSError):
        while pipe.poll():
            yield pipe.recv()


def _drain(running: _Running, limit: float) -> None:
    """Wait until a cell that was asked to stop has ended, hearing what it says meanwhile, so that it can."""
    while _lives(running.process) and time.monotonic() < limit:
        for _ in _messages(running.pipe):
            pass
        running.process.join(0.05)


def _lost(running: _Running) -> Record:
    if running.stuck is not None:
        return lost_record(running.cell, "failed", running.stuck, running.started)
    code = running.process.exitcode
    number = -code if code is not None and code < 0 else None
    if number is not None and oom_kills() > running.oom_kills:
        return lost_record(running.cell, "oom", "killed by the kernel: out of memory", running.started)
    how = f"ended with code {code}" if number is None else f"was killed by {_signal_name(number)}"
    return lost_record(running.cell, "failed", f"its process {how} before it left a record", running.started)


def _signal_name(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"


class _Interrupt:
    """Ctrl-C or SIGTERM noted and raised where nothing is half done; a second one is raised at once.

    SIGTERM ends the process at the end, as it would have without.
    """

    def __init__(self) -> None:
        self.noted = False
        self._terminated = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Interrupt:
        if threading.current_thread() is threading.main_thread():
            self._before = {
                number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)
            }
        return self

    def __exit__(self, *problem: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._terminated:
            signal.raise_signal(signal.SIGTERM)

    def check(self) -> None:
        """Raise what was noted."""
        if self.noted:
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._terminated |= number == signal.SIGTERM
        if self.noted:
            raise KeyboardInterrupt
        self.noted = True


def start_server() -> None:
    """Start the fork server with Ctrl-C blocked; all cells inherit that: the main process alone decides."""
    resource_tracker.ensure_running()  # first, since it unblocks the signal again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def oom_kills() -> int:
    """How many processes the kernel has killed for memory since boot; 0 where it does not say."""
    try:
        lines = Path("/proc/vmstat").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    except (OSError, StopIteration):
        return 0

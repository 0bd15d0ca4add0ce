"""Many cells, wherever they run: nothing is computed twice, and what breaks costs its own cell alone.

Every cell is held under a lock, so that two runs on one results folder share the work. What asks for cells are flows: generators that
yield cells, are sent their records, and yield again, as a search does after each trial. All of them are in flight together.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from oscbench.records import Record, ResultsError, Store
from oscbench.records.schema import FINAL
from oscbench.runner.cell import lost_record, sent_record
from oscbench.runner.cell_spec import Cell, Keeping
from oscbench.runner.executors import (
    Died,
    Event,
    Executor,
    Job,
    Lost,
    Measured,
    Needs,
    Place,
    Progressed,
    Recorded,
    Told,
    Trained,
)
from oscbench.runner.interrupt import Interrupt
from oscbench.runner.matched_times import Measurements, Request
from oscbench.runner.placement import Placement, needs_of
from oscbench.runner.terminal.progress import Reporter
from oscbench.runner.training.checkpoint import Checkpoints
from oscbench.runner.waiting import Batch, Flow, Running, Wanted

POLL_S = 0.3
WATCH_S = 1.0
"""Between two looks at what stands still and at which machines there are."""
MISSED_S = 30.0
"""An executor that no longer knows of a job, and has not told its end for so long, has lost it."""
MOST_LOSSES = 3
"""So often a cell begins again elsewhere because what ran it was lost."""
MOST_REFUSALS = 20
"""So often one is placed anew that had not begun there, as on a machine of which nobody knew yet that it was dead."""


@dataclass
class Pool:
    """Runs cells through an executor, and keeps their records.

    Attributes:
        store: where records go.
        executor: where cells run.
        reporter: who is told.
        placement: the executor's machines.
        measurements: what matching by time has measured.
        jobs: most cells at once; None for as many as the machines hold.
        adopt: a cell that this suite has computed under another label (`--set`) is taken over from there.
        keeping: what is kept beside the records.
        stall_s: a cell that has told of no step for so long is ended and recorded as failed; None for never.
        limit_s: a cell that runs for so long is, too.
        clock: seconds.
    """

    store: Store
    executor: Executor
    reporter: Reporter
    placement: Placement
    measurements: Measurements
    jobs: int | None = None
    adopt: bool = True
    keeping: Keeping = field(default_factory=Keeping)
    stall_s: float | None = None
    limit_s: float | None = None
    clock: Callable[[], float] = time.monotonic
    _pending: dict[Needs, deque[Wanted]] = field(default_factory=dict)
    _elsewhere: deque[Wanted] = field(default_factory=deque)
    _unmeasured: dict[str, list[Wanted]] = field(default_factory=dict)
    _running: dict[int, Running] = field(default_factory=dict)
    _tickets: int = 0
    _watched: float = 0.0
    _began: datetime = field(default_factory=lambda: datetime.now(UTC))

    def run(self, flows: Sequence[Flow]) -> None:
        """Run all flows to their ends, and close the executor.

        Ctrl-C, SIGTERM and SIGHUP end the cells in progress, which lose their work since the last checkpoint, and nothing else
        does. Each is raised again as a Ctrl-C.

        Raises:
            ExecutorError: a cell needs what no machine has.
            ResultsError: the file system refuses, for example because it is full; what is finished is kept.
        """
        self._began, self._watched = datetime.now(UTC), self.clock()
        with Interrupt() as interrupt:
            try:
                self.placement.update(self.executor.machines())
                for flow in flows:
                    self._advance(flow, None)
                while self._waiting() or self._running:
                    self._fill(interrupt)
                    interrupt.check()
                    if self._waiting() or self._running:
                        for event in self.executor.wait(POLL_S):
                            self._hear(event)
                    self._watch()
            except ResultsError as error:
                same = (
                    f"the same command{' without --fresh' * (not self.adopt)} goes on where this one stopped"
                )
                raise ResultsError(f"{error}; {same}") from error
            finally:
                self.executor.close()
                for running in self._running.values():
                    running.lock.close()
                self._running.clear()

    def _waiting(self) -> bool:
        return bool(self._elsewhere or any(self._pending.values()))

    def _advance(self, flow: Flow, records: list[Record] | None) -> None:
        """Send a flow what it waited for, and take in what it asks for next."""
        while True:
            try:
                cells = next(flow) if records is None else flow.send(records)
            except StopIteration:
                return
            if cells:
                break
            records = []
        batch = Batch(flow, [None] * len(cells), len(cells))
        for index, cell in enumerate(cells):
            needs = needs_of(cell)
            if needs not in self._pending:
                self.placement.prove_possible(needs)
            self._queue(needs).append(Wanted(cell, needs, batch, index))

    def _queue(self, needs: Needs) -> deque[Wanted]:
        return self._pending.setdefault(needs, deque())

    def _fill(self, interrupt: Interrupt) -> None:
        """Begin whatever has a place."""
        # What another run held may be done by now, or free again because that run died.
        while self._elsewhere:
            one = self._elsewhere.popleft()
            self._queue(one.needs).append(one)
        moved = True
        while moved:  # a record that is there already may make its flow ask for more
            # Cells that need a machine of their own come first: it has to fall empty for them.
            queues = sorted(self._pending, key=lambda needs: not needs.alone)
            begun = [self._fill_alike(needs, self._pending[needs], interrupt) for needs in queues]
            moved = any(begun)

    def _fill_alike(self, needs: Needs, queue: deque[Wanted], interrupt: Interrupt) -> bool:
        """The same for cells with the same needs; whether any left its queue."""
        moved = False
        while queue and (self.jobs is None or len(self._running) < self.jobs):
            place = self.placement.take(needs)
            if place is None:
                return moved
            interrupt.check()
            moved = True
            if not self._begin(queue.popleft(), place):
                self.placement.free(place)
        if needs.alone and not queue:
            self.placement.nobody_waits_alone()
        return moved

    def _begin(self, wanted: Wanted, place: Place) -> bool:
        """Take a cell: start it, or find its record, or leave it to the run that holds it. Whether it has started."""
        lock, cell = ExitStack(), wanted.cell
        if wanted.request is not None:
            held = lock.enter_context(self.store.lock_shared(wanted.request.key))
        else:
            held = lock.enter_context(self.store.lock(cell.suite, cell.identity))
        if not held:
            self._elsewhere.append(wanted)
        elif not self._is_there(wanted) and not self._measures_first(wanted):
            self._submit(wanted, place, lock)
            return True
        lock.close()
        return False

    def _is_there(self, wanted: Wanted) -> bool:
        """Whether a record, or a measurement, need not be computed; those who wait for it then have it."""
        if wanted.request is not None:
            found = self.measurements.found(wanted.request)
            if found:
                self._measured(wanted.request)
            return found
        record = self._finished(wanted.cell)
        if record is None:
            return False
        self.reporter.finished(wanted.cell, record, reused=True)
        self._deliver(wanted, record)
        return True

    def _finished(self, cell: Cell) -> Record | None:
        """A cell's record, if it need not be computed."""
        found = self.store.find(cell.suite, cell.identity, at=self.store.path(*cell.place))
        if found is None:
            return None
        # What another run broke while this one waited for it is not tried a second time at once.
        # One that is dated in the future comes from a clock that was wrong.
        final = found.status in FINAL or self._began <= found.finished_utc <= datetime.now(UTC)
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

    def _measures_first(self, wanted: Wanted) -> bool:
        """Whether a cell has to wait until its matching by time is measured; that is then under way."""
        if wanted.request is not None or wanted.needs.alike is None:
            return False
        nature = self._nature(wanted.needs.alike)
        request = self.measurements.lacking(wanted.cell, nature)
        if request is None:
            wanted.cell = self.measurements.given_to(wanted.cell, nature)
            return False
        if request.key not in self._unmeasured:
            needs = Needs(wanted.needs.cpus, wanted.needs.gpus, alone=True, alike=wanted.needs.alike)
            self._queue(needs).append(Wanted(request.cell, needs, request=request))
        self._unmeasured.setdefault(request.key, []).append(wanted)
        return True

    def _nature(self, device: str) -> dict[str, Any]:
        machine = self.placement.example(device)
        return machine.like(device) if machine is not None else {}

    def _measured(self, request: Request) -> None:
        """Whoever waited for a measurement may begin."""
        for wanted in reversed(self._unmeasured.pop(request.key)):
            self._queue(wanted.needs).appendleft(wanted)

    def _submit(self, wanted: Wanted, place: Place, lock: ExitStack) -> None:
        self._tickets += 1
        self._running[self._tickets] = Running(wanted, place, lock, datetime.now(UTC))
        only, anew = wanted.request is not None, not self.adopt and not wanted.losses
        self.executor.submit(Job(self._tickets, wanted.cell, place, only, anew))

    def _hear(self, event: Event) -> None:
        """Take in what an executor says; nothing where it speaks of a job that has ended."""
        running = self._running.get(event.ticket)
        if running is None:
            return
        if not isinstance(event, Lost):
            self._note(running)
        cell = running.wanted.cell
        match event:
            case Progressed(_, done, total):
                self.reporter.progress(cell, done, total)
            case Told(_, text):
                self.store.tell(f"{cell.name}: {text}")
            case Trained(_, weights):
                running.weights = weights
            case Recorded(_, text):
                self._end(event.ticket, sent_record(cell, text, running.started), its_own=True)
            case Measured(_, found):
                self._end_measuring(event.ticket, found)
            case Died(_, reason, memory):
                self._end(
                    event.ticket, lost_record(cell, "oom" if memory else "failed", reason, running.started)
                )
            case Lost(_, reason):
                self._again(event.ticket, reason)

    def _note(self, running: Running) -> None:
        """A job was heard of; with the first word of it, it has started."""
        running.heard = self.clock()
        if running.began is None:
            running.began, running.started = running.heard, datetime.now(UTC)
            if running.wanted.request is None:
                self.reporter.started(running.wanted.cell)

    def _again(self, ticket: int, reason: str) -> None:
        """What ran a cell is gone: the cell begins elsewhere, if that has not happened too often."""
        running = self._running[ticket]
        wanted, began = running.wanted, running.began is not None
        self._watched = float("-inf")  # look at the machines before anything is placed
        wanted.losses, wanted.refusals = wanted.losses + began, wanted.refusals + (not began)
        if wanted.losses > MOST_LOSSES or wanted.refusals > MOST_REFUSALS:
            text = f"lost {wanted.losses + wanted.refusals} times with what ran it, at last: {reason}"
            self._end(ticket, lost_record(wanted.cell, "failed", text, running.started))
            return
        self.store.tell(f"{wanted.cell.name}: {reason}; it begins again elsewhere")
        self._release(ticket)
        self._queue(wanted.needs).appendleft(wanted)

    def _end(self, ticket: int, record: Record, *, its_own: bool = False) -> None:
        """Keep a record, whether the cell made it or somebody in its stead, and give it to whoever waits for it."""
        running = self._running[ticket]
        wanted = running.wanted
        if wanted.request is not None:  # the cells that need it will break in the same way, and say how
            self._end_measuring(ticket, None)
            return
        # The record first: on a disk that is nearly full it is small enough, and weights may not be.
        self.store.write(record)
        if its_own and (where := self.keeping.checkpoints_of(wanted.cell.suite)) is not None:
            Checkpoints(where, wanted.cell.identity).remove(but_trained=record.status not in FINAL)
        if running.weights is not None:
            try:
                self.store.write_weights(record, running.weights)
            except ResultsError as error:
                raise ResultsError(f"{error}; the record of this cell is there without them") from error
        self._release(ticket)
        self.reporter.finished(wanted.cell, record, reused=False)
        self._deliver(wanted, record)

    def _end_measuring(self, ticket: int, found: dict[str, Any] | None) -> None:
        request = self._running[ticket].wanted.request
        assert request is not None
        self.measurements.take(request, found)
        self._release(ticket)
        self._measured(request)

    def _release(self, ticket: int) -> None:
        running = self._running.pop(ticket)
        self.placement.free(running.place)
        running.lock.close()

    def _deliver(self, wanted: Wanted, record: Record) -> None:
        batch = wanted.batch
        assert batch is not None
        batch.records[wanted.index] = record
        batch.left -= 1
        if not batch.left:
            self._advance(batch.flow, [one for one in batch.records if one is not None])

    def _watch(self) -> None:
        """Now and then: which machines there are, what stands still, and what an executor no longer knows of."""
        now = self.clock()
        if now - self._watched < WATCH_S:
            return
        self._watched = now
        self.placement.update(self.executor.machines())
        for line in self.executor.news():
            self.store.tell(line)
        for ticket, running in list(self._running.items()):
            why = self._stuck(running, now)
            if why is not None:
                self.executor.cancel(ticket)
                self._end(ticket, lost_record(running.wanted.cell, "failed", why, running.started))
            elif ticket in self.executor.running():
                running.missed = None
            elif running.missed is None:
                running.missed = now
            elif now - running.missed > MISSED_S:
                self._again(ticket, "nothing more was heard of it")

    def _stuck(self, running: Running, now: float) -> str | None:
        """Why a cell that has started is not waited for any longer."""
        if running.heard is None or running.began is None:
            return None
        if self.stall_s is not None and now - running.heard > self.stall_s:
            return f"made no progress for {self.stall_s / 60:g} minutes, and was killed"
        if self.limit_s is not None and now - running.began > self.limit_s:
            return f"ran for more than its limit of {self.limit_s / 60:g} minutes, and was killed"
        return None

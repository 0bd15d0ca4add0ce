"""An executor without machines or clocks: nodes come and go in virtual time, and what it tells may be lost, late or said twice."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import math
import random
from dataclasses import dataclass, field, replace

from oscbench.records import Store
from oscbench.runner.cell import lost_record
from oscbench.runner.executors import Lost, Machine, Measured, Progressed, Recorded, Started

NATURE = {"processor": "imagined", "cores": 1, "torch": "0"}


def record_text(cell):
    """A record of a cell that went well, as its process would send it."""
    return lost_record(cell, "ok", None, _epoch()).model_dump_json()


def _epoch():
    from datetime import UTC, datetime

    return datetime.now(UTC)


@dataclass
class Fake:
    """Runs nothing, in virtual seconds.

    Attributes:
        nodes: the machines at the start.
        seconds: of a cell.
        text: the record of a cell, as JSON.
        measured: what measuring for a cell finds.
        loss_an_hour: share of the nodes that is lost in an hour.
        back_s: after which a lost node is there again, under another name.
        drop, double: share of what it says that nobody hears, or that is said twice.
        late_s: what it says comes late by up to so much.
    """

    nodes: list[Machine]
    seconds: object = lambda cell: 60.0
    text: object = record_text
    measured: object = lambda cell: None
    loss_an_hour: float = 0.0
    back_s: float = 600.0
    drop: float = 0.0
    double: float = 0.0
    late_s: float = 0.0
    seed: int = 0
    now: float = 0.0
    log: list = field(default_factory=list)
    busy_s: float = 0.0
    alive_s: float = 0.0

    def __post_init__(self):
        self.random = random.Random(self.seed)
        self._heap, self._count = [], itertools.count()
        self._there = {}
        self._jobs = {}
        self._ready = []
        self._untold = set()
        for node in self.nodes:
            self._join(node)

    def clock(self):
        return self.now

    def idle_share(self):
        """Share of all nodes' time in which they ran nothing."""
        alive = self.alive_s + sum(self.now - since for _, since in self._there.values())
        busy = self.busy_s + sum(self.now - since for _, since in self._jobs.values())
        return 1.0 - busy / alive

    # The protocol

    def machines(self):
        return [node for node, _ in self._there.values()]

    def news(self):
        return []

    def submit(self, job):
        self.log.append((self.now, "submitted", job))
        self._untold.add(job.ticket)
        if job.place.machine not in self._there:
            self._say(Lost(job.ticket, f"{job.place.machine} is gone"))
            return
        self._jobs[job.ticket] = (job, self.now)
        seconds = self.seconds(job.cell)
        self._say(Started(job.ticket))
        self._at(self.now + seconds / 2, lambda: self._half(job))
        self._at(self.now + seconds, lambda: self._done(job))

    def wait(self, seconds):
        limit = self.now + seconds
        while not self._ready and self._heap and self._heap[0][0] <= limit:
            self.now, _, what = heapq.heappop(self._heap)
            what()
        if not self._ready:
            self.now = limit
        ready, self._ready = self._ready, []
        return ready

    def running(self):
        return self._untold

    def cancel(self, ticket):
        self._stop(ticket)
        self._untold.discard(ticket)

    def close(self):
        for ticket in list(self._jobs):
            self._stop(ticket)

    # The world

    def _at(self, when, what):
        heapq.heappush(self._heap, (when, next(self._count), what))

    def _say(self, event):
        last = isinstance(event, Recorded | Lost | Measured)
        times = 0 if self.random.random() < self.drop else 2 if self.random.random() < self.double else 1
        for _ in range(times):
            self._at(self.now + self.random.random() * self.late_s, lambda: self._heard(event, last))
        if last and not times:
            self._untold.discard(event.ticket)

    def _heard(self, event, last):
        self._ready.append(event)
        if last:
            self._untold.discard(event.ticket)

    def _half(self, job):
        if job.ticket in self._jobs:
            self._say(Progressed(job.ticket, 1, 2))

    def _done(self, job):
        if not self._stop(job.ticket):
            return
        self.log.append((self.now, "ended", job))
        if job.only_measure:
            self._say(Measured(job.ticket, self.measured(job.cell)))
        else:
            self._say(Recorded(job.ticket, self.text(job.cell)))

    def _stop(self, ticket):
        job, since = self._jobs.pop(ticket, (None, 0.0))
        if job is not None:
            self.busy_s += self.now - since
        return job is not None

    def _join(self, node):
        self._there[node.name] = (node, self.now)
        if self.loss_an_hour:
            rate = -math.log(1.0 - self.loss_an_hour) / 3600.0
            self._at(self.now + self.random.expovariate(rate), lambda: self.lose(node.name))

    def lose(self, name):
        """A node goes, with all that runs there, and comes back under another name."""
        if name not in self._there:
            return
        node, since = self._there.pop(name)
        self.alive_s += self.now - since
        self.log.append((self.now, "lost", name))
        for ticket, (job, _) in list(self._jobs.items()):
            if job.place.machine == name:
                self._stop(ticket)
                self._say(Lost(ticket, f"{name} is gone"))
        first, _, times = name.partition("~")
        again = replace(node, name=f"{first}~{int(times or 0) + 1}")
        self._at(self.now + self.back_s, lambda: self._join(again))


class InMemory(Store):
    """A store that keeps its records in memory, and counts how often each is written."""

    def __init__(self):
        super().__init__(root=None, tell=lambda text: self.told.append(text))
        self.told, self.written, self.values, self.held = [], {}, {}, set()

    def path(self, *place):
        return place

    def find(self, suite, identity, *, tidy=True, at=None):
        found = self.written.get((suite, identity))
        return found[0] if found else None

    def write(self, record):
        self.written.setdefault((record.suite, record.identity), []).append(record)

    def write_weights(self, record, weights):
        raise AssertionError("no weights were asked for")

    def lock(self, suite, identity):
        return self._lock((suite, identity))

    def lock_shared(self, key):
        return self._lock(key)

    @contextlib.contextmanager
    def _lock(self, key):
        if key in self.held:
            yield False
            return
        self.held.add(key)
        yield True
        self.held.discard(key)

    def shared(self, key, usable=bool):
        return self.values.get(key)

    def share(self, key, made):
        self.values[key] = made


class Watching:
    """A reporter that keeps what it is told."""

    def __init__(self):
        self.begun, self.ended, self.steps = [], [], []

    def started(self, cell):
        self.begun.append(cell)

    def progress(self, cell, done, total):
        self.steps.append((cell, done, total))

    def finished(self, cell, record, *, reused):
        self.ended.append((cell, record, reused))

    def expect(self, more):
        pass


class NoGpu(Fake):
    """As `--executor fake_executor:NoGpu` makes it."""

    gpus = 0

    def __init__(self, options):
        super().__init__([Machine("imagined", 1, self.gpus, nature=NATURE)])


class OneGpu(NoGpu):
    gpus = 1

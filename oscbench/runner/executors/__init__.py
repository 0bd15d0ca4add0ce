"""Where cells run: the contract between the pool, which keeps locks and records, and an executor, which has the machines.

A file of this folder is an executor, and an installed package adds one by an entry point `oscbench.executors`; the file's last line
names its class. Nothing that an executor does may change a record: a cell is a specification, whoever runs it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from oscbench.errors import UserError
from oscbench.runner.cell_spec import Cell, Keeping


class ExecutorError(UserError):
    """An executor that cannot be had as it was asked for."""


@dataclass(frozen=True)
class Machine:
    """A machine that runs cells.

    Attributes:
        name: by which the executor knows it.
        cpus: for cells.
        gpus: for cells.
        cells: at once, where somebody said so; by default as many as its CPUs and GPUs hold.
        nature: what measured times belong to: `processor`, `cores`, `torch`, and `accelerator` and `cuda` where it has GPUs.
    """

    name: str
    cpus: int
    gpus: int = 0
    cells: int | None = None
    nature: dict[str, Any] = field(default_factory=dict, hash=False, compare=False)

    def like(self, device: str) -> dict[str, Any]:
        """What it has in common with all machines on which a device's times are the same."""
        of_gpu = ("accelerator", "cuda")
        return {key: value for key, value in self.nature.items() if device == "cuda" or key not in of_gpu}


@dataclass(frozen=True)
class Needs:
    """What a cell needs while it runs; never part of its identity.

    Attributes:
        cpus: processor cores.
        gpus: 0 on the CPU; more than 1 where it trains on several.
        processes: that share its training, each with a GPU or with cores of its own.
        alone: nothing may run beside it on its machine.
        alike: the device whose times it depends on; all such cells of a run go to machines of one kind. None where any will do.
    """

    cpus: int = 1
    gpus: int = 0
    processes: int = 1
    alone: bool = False
    alike: str | None = None


@dataclass(frozen=True)
class Place:
    """Where a cell runs.

    Attributes:
        machine: name.
        cpus: of it.
        gpus: their indices; an executor whose engine chooses GPUs itself counts them alone.
        shares: cells that a GPU is meant for; 1 where it is the cell's own.
    """

    machine: str
    cpus: int
    gpus: tuple[int, ...] = ()
    shares: int = 1


@dataclass(frozen=True)
class Job:
    """A cell that is to run now.

    Attributes:
        ticket: counts what a pool has submitted, so that a cell that runs again is another job.
        cell: which.
        place: where.
        only_measure: measure what its matching by time needs, and train nothing.
        anew: it was asked for `--fresh` and has not begun before: a checkpoint on the machine's own disk is of another run.
    """

    ticket: int
    cell: Cell
    place: Place
    only_measure: bool = False
    anew: bool = False


@dataclass(frozen=True)
class Started:
    """A job has begun, perhaps some time after it was submitted."""

    ticket: int


@dataclass(frozen=True)
class Progressed:
    """A job has done so many of its steps."""

    ticket: int
    done: int
    total: int


@dataclass(frozen=True)
class Told:
    """A line for whoever watches the run."""

    ticket: int
    text: str


@dataclass(frozen=True)
class Trained:
    """The weights of a trained model, as a safetensors file; comes before the record."""

    ticket: int
    weights: bytes


@dataclass(frozen=True)
class Recorded:
    """A job has ended with its record, as JSON."""

    ticket: int
    record: str


@dataclass(frozen=True)
class Measured:
    """A job that only measures has ended; None where it broke."""

    ticket: int
    found: dict[str, Any] | None


@dataclass(frozen=True)
class Died:
    """A cell's own process ended without a record, which is the cell's failure.

    Attributes:
        ticket: of the job.
        reason: for its record.
        memory: the system ended it for want of memory.
    """

    ticket: int
    reason: str
    memory: bool = False


@dataclass(frozen=True)
class Lost:
    """What ran the cell is gone (its machine, or the engine's worker there), which is no fault of the cell's.

    Attributes:
        ticket: of the job.
        reason: for people.
    """

    ticket: int
    reason: str


Event = Started | Progressed | Told | Trained | Recorded | Measured | Died | Lost
ENDS = (Recorded, Measured, Died, Lost)
"""Every job ends with one of these, once; events of a job that has ended say nothing."""


@dataclass(frozen=True)
class Options:
    """What a run asks of its executor.

    Attributes:
        jobs: cells at once; None for as many as the machines hold.
        address: of a cluster; None for this machine.
        jobs_per_gpu: cells that share a GPU.
        keeping: what is kept of cells beside their records.
    """

    jobs: int | None = None
    address: str | None = None
    jobs_per_gpu: int = 1
    keeping: Keeping = field(default_factory=Keeping)


class Executor(Protocol):
    """Runs jobs on machines. It is made from `Options`, and may refuse them with an `ExecutorError`."""

    def __init__(self, options: Options) -> None: ...

    def machines(self) -> Sequence[Machine]:
        """The machines that there are at this moment."""

    def news(self) -> Sequence[str]:
        """Lines on machines for whoever watches the run, since the last call."""

    def submit(self, job: Job) -> None:
        """Run a job at its place, now or as soon as that is possible."""

    def wait(self, seconds: float) -> list[Event]:
        """What has happened since the last call; waits at most so long for the first of it."""

    def running(self) -> Collection[int]:
        """Tickets of the jobs whose end has not been told yet."""

    def cancel(self, ticket: int) -> None:
        """End a job with all of its processes; nothing more is told of it."""

    def close(self) -> None:
        """End what runs, with a checkpoint where any are kept, and let the machines go. May be called again."""

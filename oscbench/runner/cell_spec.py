"""A cell: a self-contained specification that any process on any machine can run to a record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from oscbench.records.store import folder_name

Measured = Mapping[str, Mapping[str, Any]]
"""What matching by time has measured: `request_key` -> a matching as a record holds it, or `impossible` and why."""

Progress = Callable[[int, int], None]
"""Is told how many of a cell's steps are done, and of how many."""


@dataclass(frozen=True)
class Keeping:
    """What a run keeps of its cells beside their records; no part of any request, and no record says it.

    Attributes:
        weights: of every trained model.
        checkpoints: folder or URL of the cells in progress; None where none are kept.
        minutes: between two checkpoints of a cell.
        anew: a checkpoint that lies where a cell begins is put aside.
    """

    weights: bool = False
    checkpoints: str | None = None
    minutes: float = 5.0
    anew: bool = False

    def checkpoints_of(self, suite: str) -> str | None:
        """Where those of a suite lie: locks between runs are a suite's too, and a cell of another may be the same and run at that moment."""
        return None if self.checkpoints is None else f"{self.checkpoints.rstrip('/')}/{folder_name(suite)}"


@dataclass(frozen=True)
class Rank:
    """One of the processes that train a cell together, each on a device of its own.

    Attributes:
        number: from 0, which validates, measures, keeps checkpoints and makes the record.
        of: how many there are.
        meeting: file by which they find one another; there is none before the first comes.
    """

    number: int
    of: int
    meeting: str


@dataclass(frozen=True)
class Cell:
    """A self-contained specification: any process on any machine can run `spec` to a record.

    Attributes:
        suite: label of the suite.
        description: of the suite.
        given: what the suite file said of this cell.
        spec: everything resolved; plain values only.
        identity: hash of the spec.
        protocol: hash of what a fair comparison shares.
        measured: what matching by time has measured for this run. It follows from the spec and the machine, and is no part of
            the request; a cell without it measures for itself.
    """

    suite: str
    description: str
    given: dict[str, Any]
    spec: dict[str, Any]
    identity: str
    protocol: str
    measured: Measured = field(default_factory=dict)

    @property
    def place(self) -> tuple[str, str, str, str, int, str]:
        """Suite, task, mechanism, variant, seed and identity, by which its record is filed."""
        spec = self.spec
        mechanism, variant, seed = spec["mechanism"]["name"], spec["variant"], spec["seed"]
        return self.suite, spec["task"]["name"], mechanism, variant, seed, self.identity

    @property
    def devices(self) -> int:
        """How many it trains on, with a process for each."""
        train: Mapping[str, Any] = self.spec.get("train", {})
        return int(train.get("devices", 1))

    @property
    def name(self) -> str:
        """`kope default seed 0`, for people."""
        variant = self.spec["variant"]
        shown = "" if variant == "default" else f":{variant}"
        return f"{self.spec['mechanism']['name']}{shown} seed {self.spec['seed']}"

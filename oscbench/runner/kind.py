"""What a kind of cell says of itself, so that whoever plans, places and records cells names no kind."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from oscbench.measures import Findings
from oscbench.records import Curve, Matching, MechanismCard
from oscbench.records.schema import Status
from oscbench.runner.cell_spec import Cell, Progress
from oscbench.runner.training.checkpoint import Checkpoints


@dataclass
class Outcome:
    """What a cell has found so far; one that breaks keeps what it had.

    `seconds_before` is what it took in processes that ended before it was done, as their last checkpoint says.
    """

    status: Status = "ok"
    reason: str | None = None
    matching: Matching | None = None
    data_hash: str | None = None
    findings: Findings = field(default_factory=Findings)
    curves: dict[str, Curve] = field(default_factory=dict)
    calibration: list[dict[str, Any]] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)
    traits: dict[str, bool] = field(default_factory=dict)
    measured_on: dict[str, Any] = field(default_factory=dict)
    seconds_before: float = 0.0


@dataclass(frozen=True)
class Preview:
    """One cell before it runs.

    Attributes:
        cell: which.
        params: of its model.
        flops: forward, a sample.
        residual: of the matching (value/target - 1), if there is one.
        steps: of its training; 0 where it does not train.
        estimate: seconds from timed steps; 0 where no step could be taken.
        trouble: why no step could be taken.
        there: the record is there already.
    """

    cell: Cell
    params: int | None = None
    flops: int | None = None
    residual: float | None = None
    steps: int = 0
    estimate: float = 0.0
    trouble: str | None = None
    there: bool = False

    @property
    def seconds(self) -> float:
        """What it would take now: nothing where the record is there already."""
        return 0.0 if self.there else self.estimate


class Kind(Protocol):
    """Cells of one kind: what they need around them, what they do, and what their records are called.

    Attributes:
        deterministic: the same cell gives the same result twice on one kind of processor, at the price of slower kernels.
        times: it takes times and nothing else: no other cell may run beside it, and it has no result that ranks.
        trains: it ends with a trained model, which leaves checkpoints on its way and may be kept.
    """

    deterministic: bool
    times: bool
    trains: bool

    def run(
        self,
        cell: Cell,
        device: torch.device,
        outcome: Outcome,
        progress: Progress,
        checkpoints: Checkpoints | None,
    ) -> torch.nn.Module | None:
        """Do what the cell asks for, noting in `outcome` what is found as it comes; the model, if one was trained."""

    def headline(self, spec: dict[str, Any]) -> tuple[str, str]:
        """What a cell is about, and the measure that is its headline."""

    def card(self, spec: dict[str, Any], traits: dict[str, bool]) -> MechanismCard:
        """What a reader must know about whatever the cell runs."""

    def imports(self, spec: dict[str, Any]) -> Iterable[tuple[str, str]]:
        """Kind and name of what the catalog loads for a cell, so that many cells share the loading."""

    def preview(self, cell: Cell) -> Preview:
        """How large a cell is and how long it would take.

        Raises:
            UserError: data that the suite names are not there.
        """

"""Cells that time and do not train: all contenders of one size, in turn, in one process."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from oscbench.records import MechanismCard
from oscbench.records.timed import timed_card
from oscbench.runner.cell_spec import Cell, Progress
from oscbench.runner.kind import Outcome, Preview
from oscbench.runner.timing.run import run_timing
from oscbench.runner.training.checkpoint import Checkpoints


class Timing:
    """Ops or models of several mechanisms, timed against one another."""

    deterministic = False
    times = True
    trains = False

    def run(
        self,
        cell: Cell,
        device: torch.device,
        outcome: Outcome,
        progress: Progress,
        checkpoints: Checkpoints | None,
    ) -> None:
        """Time every contender in every pass and mode."""
        del checkpoints
        outcome.measured_on = run_timing(cell.spec, device, outcome.findings.measures, progress)

    def headline(self, spec: dict[str, Any]) -> tuple[str, str]:
        """The first pass of what the others are held against."""
        return f"timing of {spec['family']}", f"{spec['setting']['passes'][0]}_s/{spec['reference']}"

    def card(self, spec: dict[str, Any], traits: dict[str, bool]) -> MechanismCard:
        """The names of what is timed; each has an idea of its own, and none is the record's."""
        del traits
        return MechanismCard.model_validate(timed_card(spec["mechanism"]["name"]))

    def imports(self, spec: dict[str, Any]) -> Iterable[tuple[str, str]]:
        """Nothing: one cell runs at a time."""
        del spec
        return ()

    def preview(self, cell: Cell) -> Preview:
        """At most its effort for every contender, pass and mode."""
        spec = cell.spec
        points = len(spec["contenders"]) * len(spec["setting"]["passes"]) * len(spec["setting"]["modes"])
        return Preview(cell, estimate=points * spec["effort"]["seconds"])

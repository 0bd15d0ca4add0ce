"""Floors of a suite: what its task gives away without mixing, once for each draw of the data, as records beside those of its cells.

A task's references are run and kept in the same way: simple models that see the whole input.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch

from oscbench.errors import PartError
from oscbench.records import Measurement, MechanismCard, identity
from oscbench.runner.cell_spec import Cell, Progress
from oscbench.runner.kind import Outcome, Preview
from oscbench.runner.scores import scored
from oscbench.runner.training.checkpoint import Checkpoints
from oscbench.runner.training.specs import headline_of, task_of
from oscbench.suite import LoadedSuite, Suite
from oscbench.tasks.support.checks import task_name

VERSION = 1
"""Raised when all floors would come out otherwise; a task says of its own which did (`floor_versions`)."""


def floor_cells(loaded: LoadedSuite, cells: list[Cell]) -> list[Cell]:
    """A cell for each floor of a suite's task and each draw of its data; none where the suite turns them off, or trains nothing.

    They are compared with the suite's cells, so they bear its protocol, though nothing of it touches them but the task: their identities
    hash that alone. A task whose data are the same for all seeds has its floors once, under the first seed.
    """
    if not isinstance(loaded.suite, Suite) or not loaded.suite.floors:
        return []
    task, threads = cells[0].spec["task"], cells[0].spec["threads"]
    task_class, config = task_of(cells[0].spec)
    names = [*task_class.floors(config), *task_class.references(config)]
    seeds = sorted({cell.spec["seed"] for cell in cells})
    made = []
    for seed in seeds if task.get("draw") == "per_seed" else seeds[:1]:
        for name in names:
            spec = {
                "kind": "floor",
                "task": task,
                "mechanism": {"name": name},
                "variant": "default",
                "seed": seed,
                "device": "cpu",
                "threads": threads,
                "versions": {
                    "task": task_class.version,
                    "floor": task_class.floor_versions.get(name, VERSION),
                },
            }
            given = {"source": loaded.source, "task": cells[0].given["task"]}
            made.append(
                Cell(cells[0].suite, cells[0].description, given, spec, identity(spec), cells[0].protocol)
            )
    return made


class Floors:
    """Cells that fit a floor of a task instead of a model."""

    deterministic = True
    times = False
    trains = False

    def run(
        self,
        cell: Cell,
        device: torch.device,
        outcome: Outcome,
        progress: Progress,
        checkpoints: Checkpoints | None,
    ) -> None:
        """Fit it to the training split and score it like a model."""
        del progress, checkpoints
        outcome.data_hash, outcome.findings.measures = run_floor(cell.spec, device)

    def headline(self, spec: dict[str, Any]) -> tuple[str, str]:
        """The task's label and its metric."""
        return headline_of(spec)

    def card(self, spec: dict[str, Any], traits: dict[str, bool]) -> MechanismCard:
        """What the floor looks at."""
        del traits
        return floor_card(spec)

    def imports(self, spec: dict[str, Any]) -> Iterable[tuple[str, str]]:
        """The task."""
        return [("tasks", spec["task"]["name"])]

    def preview(self, cell: Cell) -> Preview:
        """Nothing that would take long."""
        return Preview(cell)


def run_floor(spec: dict[str, Any], device: torch.device) -> tuple[str, dict[str, Measurement]]:
    """Fit a floor to the training split and score it like a model; the hash of its data, and its measures."""
    task_class, config = task_of(spec)
    task = task_class.for_seed(config, spec["seed"])
    name = spec["mechanism"]["name"]
    found = scored(task, task.floor(name), device)
    result = found[task.metric.name]
    if result.value is None or not math.isfinite(result.value):
        raise PartError(f"task {task_name(task)}: the {result.label} of its floor {name} is {result.value}")
    return task.data_hash(), found


def floor_card(spec: dict[str, Any]) -> MechanismCard:
    """What a reader must know about a floor."""
    task_class, config = task_of(spec)
    name = spec["mechanism"]["name"]
    floors, references = task_class.floors(config), task_class.references(config)
    kind = "floor" if name in floors else "reference"
    idea = {**references, **floors}[name]
    return MechanismCard(name=name, label=f"{kind}: {name}", idea=idea, citation="", traits={kind: True})

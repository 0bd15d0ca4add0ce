"""A dry run: what would run, how large it is, and how long a timed step says it would take."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from oscbench.errors import UserError, first_line
from oscbench.measures import Subject
from oscbench.models.matching import num_parameters
from oscbench.records import Store
from oscbench.runner.cell import PROBE_SIZE, prepare_process
from oscbench.runner.cell_spec import FINAL, Cell
from oscbench.runner.timing.plan import memory_of
from oscbench.runner.training.loop import total_steps, train
from oscbench.runner.training.specs import match_spec, parts_of, recipe

TIMED_STEPS = 3


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


def preview(cells: list[Cell], store: Store) -> list[Preview]:
    """Sizes and estimates; each mechanism and variant is built and timed once."""
    measured: dict[tuple[str, str], Preview] = {}
    found = []
    for cell in cells:
        key = (cell.spec["mechanism"]["name"], cell.spec["variant"])
        if key not in measured:
            measured[key] = _timing(cell) if cell.spec["kind"] == "timing" else _measure(cell)
        record = store.find(cell.suite, cell.identity, tidy=False)
        there = record is not None and record.status in FINAL
        found.append(replace(measured[key], cell=cell, there=there))
    return found


def _timing(cell: Cell) -> Preview:
    """At most its effort for every contender, pass and mode."""
    spec = cell.spec
    points = len(spec["contenders"]) * len(spec["setting"]["passes"]) * len(spec["setting"]["modes"])
    return Preview(cell, estimate=points * spec["effort"]["seconds"])


def _measure(cell: Cell) -> Preview:
    """Build a cell's model and time its first steps; what breaks here would make a record that says so.

    Raises:
        UserError: data that the suite names are not there.
    """
    try:
        return _built_and_timed(cell)
    except UserError:
        raise
    except Exception as error:
        return Preview(cell, trouble=f"{type(error).__name__}: {first_line(error)}")


def _built_and_timed(cell: Cell) -> Preview:
    spec = cell.spec
    device = prepare_process(spec)
    parts = parts_of(spec)
    task = parts.task_class.for_seed(parts.task_config, cell.spec["seed"])
    matched = match_spec(spec, task.inputs)
    with torch.device("meta"):
        planned = parts.build(spec["mechanism"], matched.hidden, spec["seed"], task.inputs)
    needed, there = (
        16 * num_parameters(planned),
        memory_of(spec["device"]),
    )  # weights, gradients, two moments of AdamW
    if needed > there:
        told = f"needs {needed / 2**30:,.0f} of {there / 2**30:,.0f} GiB"
        return Preview(cell, num_parameters(planned), trouble=told)
    model = parts.build(spec["mechanism"], matched.hidden, spec["seed"], task.inputs).to(device)
    batch_size = spec["train"]["batch_size"]
    num_steps = total_steps(task, spec["train"])
    sizes = Preview(cell, num_parameters(model), model.flops(), matched.residual, num_steps)
    subject = Subject(
        model, task, next(task.batches("validation", PROBE_SIZE)).to(device), device, batch_size
    )
    started = time.perf_counter()
    try:
        _first_steps(subject, spec)
    except Exception as error:
        return replace(sizes, trouble=f"{type(error).__name__}: {first_line(error)}")
    spent = time.perf_counter() - started
    steps = subject.history.step_seconds
    # The first step also pays for warming up; evaluation adds its share of what is not a step.
    a_step = min(steps)
    seconds = a_step * num_steps * 1.1 + (spent - sum(steps))
    return replace(sizes, estimate=seconds)


class _EnoughError(Exception):
    """The steps that were to be timed are done."""


def _first_steps(subject: Subject, spec: dict[str, Any]) -> None:
    def stop(done: int, total: int) -> None:
        if done >= min(TIMED_STEPS, total):
            raise _EnoughError

    progress: Callable[[int, int], None] = stop
    with contextlib.suppress(_EnoughError):
        train(subject, recipe(spec), spec["seed"], progress)

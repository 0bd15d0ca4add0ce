"""A dry run: what would run, how large it is, and how long a timed step says it would take."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from oscbench.measures import Subject
from oscbench.models.matching import num_parameters
from oscbench.records import Store
from oscbench.runner.cell import PROBE_SIZE, prepare_process
from oscbench.runner.plan import Cell, match_spec, parts_of
from oscbench.runner.pool import FINAL
from oscbench.runner.training import total_steps, train

TIMED_STEPS = 3


@dataclass(frozen=True)
class Preview:
    """One cell before it runs.

    Attributes:
        cell: which.
        params: of its model.
        flops: forward, a sample.
        residual: of the matching (value/target - 1), if there is one.
        seconds: estimated from timed steps; 0 where the record is there already.
        there: the record is there already.
    """

    cell: Cell
    params: int
    flops: int
    residual: float | None
    seconds: float
    there: bool


def preview(cells: list[Cell], store: Store) -> list[Preview]:
    """Sizes and estimates; each mechanism and variant is built and timed once."""
    sizes: dict[tuple[str, str], tuple[int, int, float | None, float]] = {}
    found = []
    for cell in cells:
        key = (cell.spec["mechanism"]["name"], cell.spec["variant"])
        if key not in sizes:
            sizes[key] = _measure(cell)
        params, flops, residual, seconds = sizes[key]
        record = store.find(cell.suite, cell.identity) if store.root.is_dir() else None
        there = record is not None and record.status in FINAL
        found.append(Preview(cell, params, flops, residual, 0.0 if there else seconds, there))
    return found


def _measure(cell: Cell) -> tuple[int, int, float | None, float]:
    spec = cell.spec
    device = prepare_process(spec)
    parts = parts_of(spec)
    task = parts.task_class(parts.task_config)
    matched = match_spec(spec, task.inputs)
    model = parts.build(spec["mechanism"], matched.hidden, spec["seed"], task.inputs).to(device)
    batch_size = spec["train"]["batch_size"]
    subject = Subject(model, task, next(task.batches("validation", PROBE_SIZE)).to(device), device, batch_size)
    started = time.perf_counter()
    _first_steps(subject, spec)
    spent = time.perf_counter() - started
    steps = subject.history.step_seconds
    # The first step also pays for warming up; evaluation adds its share of what is not a step.
    a_step = min(steps)
    seconds = a_step * total_steps(task, spec["train"]) * 1.1 + (spent - sum(steps))
    return num_parameters(model), model.flops(), matched.residual, seconds


class _EnoughError(Exception):
    """The steps that were to be timed are done."""


def _first_steps(subject: Subject, spec: dict[str, Any]) -> None:
    def stop(done: int, total: int) -> None:
        if done >= min(TIMED_STEPS, total):
            raise _EnoughError

    progress: Callable[[int, int], None] = stop
    try:
        train(subject, spec["train"], spec["seed"], progress)
    except _EnoughError:
        pass


def total_seconds(previews: list[Preview], jobs: int) -> float:
    """Estimated wall-clock seconds of the whole run with so many cells at once."""
    return sum(one.seconds for one in previews) / max(1, jobs)

"""A training cell before it runs: how large its model is, and how long its first steps say it would take."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from typing import Any

import torch

from oscbench.errors import UserError, first_line
from oscbench.machine.environment import memory_of
from oscbench.machine.process import prepare_process
from oscbench.measures import Subject
from oscbench.models.matching import num_parameters
from oscbench.runner.cell_spec import Cell, Progress
from oscbench.runner.kind import Preview
from oscbench.runner.training.loop import total_steps, train
from oscbench.runner.training.specs import match_spec, parts_of, recipe

TIMED_STEPS = 3


def preview(cell: Cell, probe_size: int) -> Preview:
    """Build a cell's model and time its first steps; what breaks here would make a record that says so.

    Args:
        cell: which.
        probe_size: examples of the batch that measures look at.

    Raises:
        UserError: data that the suite names are not there.
    """
    try:
        return _built_and_timed(cell, probe_size)
    except UserError:
        raise
    except Exception as error:
        return Preview(cell, trouble=f"{type(error).__name__}: {first_line(error)}")


def _built_and_timed(cell: Cell, probe_size: int) -> Preview:
    spec = cell.spec
    device = prepare_process(spec)
    parts = parts_of(spec)
    task = parts.task_class.for_seed(parts.task_config, cell.spec["seed"])
    matched = match_spec(spec, task.inputs)
    with torch.device("meta"):
        planned = parts.build(spec["mechanism"], matched.hidden, spec["seed"], task.inputs)
    # Weights, gradients, two moments of AdamW.
    needed, there = 16 * num_parameters(planned), memory_of(spec["device"])
    if needed > there:
        told = f"needs {needed / 2**30:,.0f} of {there / 2**30:,.0f} GiB"
        return Preview(cell, num_parameters(planned), trouble=told)
    model = parts.build(spec["mechanism"], matched.hidden, spec["seed"], task.inputs).to(device)
    batch_size = spec["train"]["batch_size"]
    num_steps = total_steps(task, spec["train"])
    sizes = Preview(cell, num_parameters(model), model.flops(), matched.residual, num_steps)
    probe = next(task.batches("validation", probe_size)).to(device)
    subject = Subject(model, task, probe, device, batch_size)
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

    progress: Progress = stop
    with contextlib.suppress(_EnoughError):
        train(subject, recipe(spec), spec["seed"], progress)

"""A training cell before it runs: how large its model is, and how long its first steps and a part of its measures say it would take."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from oscbench.errors import UserError, kind_and_line
from oscbench.machine.process import cannot_repeat, even_if_unrepeatable, run_repeatably
from oscbench.measures import Measure, Subject
from oscbench.models.matching import num_parameters
from oscbench.models.trunk import Unstarted
from oscbench.runner.cell_spec import Cell, Progress
from oscbench.runner.kind import Preview
from oscbench.runner.training.graph import WARM_UP
from oscbench.runner.training.loop import rehearsal, total_steps, train
from oscbench.runner.training.room import NoRoomError
from oscbench.runner.training.specs import match_spec, parts_of, recipe

TIMED_STEPS = 3
TIMED_FLOPS = 2e11
"""Of a step that is timed on a processor, which then takes seconds; a larger one is timed on fewer examples, and counted up."""


def preview(cell: Cell, probe_size: int, measures: Sequence[Measure]) -> Preview:
    """Build a cell's model and time its first steps and a part of its measures; what breaks here would make a record that says so.

    Args:
        cell: which.
        probe_size: examples of the batch that measures look at.
        measures: the cell's.

    Raises:
        UserError: data that the suite names are not there.
    """
    try:
        return run_repeatably(cell.spec, lambda device: _built_and_timed(cell, probe_size, measures, device))
    except UserError:
        raise
    except Exception as error:
        return Preview(cell, trouble=kind_and_line(error))


def _built_and_timed(
    cell: Cell, probe_size: int, measures: Sequence[Measure], device: torch.device
) -> Preview:
    spec = cell.spec
    parts = parts_of(spec)
    task = parts.task_class.for_seed(parts.task_config, cell.spec["seed"])
    matched = match_spec(spec, task.inputs)
    try:
        model = parts.build(spec["mechanism"], matched.hidden, spec["seed"], task.inputs).to(device)
    except NoRoomError as error:
        with torch.device("meta"), Unstarted():
            planned = parts.build(spec["mechanism"], matched.hidden, spec["seed"], task.inputs)
        return Preview(cell, num_parameters(planned), trouble=str(error))
    flops, batch_size = model.flops(), spec["train"]["batch_size"]
    timed_size = timed_batch(batch_size, flops, device)
    num_steps = total_steps(task, spec["train"])
    sizes = Preview(cell, num_parameters(model), flops, matched.residual, num_steps)
    probe = next(task.batches("validation", probe_size)).to(device)
    subject = Subject(model, task, probe, device, timed_size)
    started = time.perf_counter()
    try:
        _first_steps(subject, recipe(spec) | {"batch_size": timed_size}, spec["seed"])
    except Exception as error:
        if cannot_repeat(error):
            raise
        return replace(sizes, trouble=kind_and_line(error))
    spent = time.perf_counter() - started
    steps = subject.history.step_seconds
    # The first step also pays for warming up; evaluation adds its share of what is not a step.
    a_step = min(steps) * batch_size / timed_size
    seconds = a_step * num_steps * 1.1 + (spent - sum(steps))
    if timed_size == batch_size:  # for a larger model even a small part of a measure takes minutes
        subject.rehearse = rehearsal(subject, recipe(spec), spec["seed"])
        seconds += sum(_measuring_seconds(measure, subject) for measure in measures)
    return replace(sizes, estimate=seconds)


def _measuring_seconds(measure: Measure, subject: Subject) -> float:
    """What a measure will take, from a small part of its work; one that breaks takes nothing, and its cell will say why."""
    small = measure.smaller()
    if small is None:
        return 0.0
    config, times = small
    part = type(measure)(config)
    started = time.perf_counter()
    with contextlib.suppress(Exception):
        even_if_unrepeatable(lambda: (part.before(subject), part.after(subject)))
    return (time.perf_counter() - started) * times


def timed_batch(batch_size: int, flops: int, device: torch.device) -> int:
    """Examples of a step that is timed: those of training, or on a processor as many as cost no more than `TIMED_FLOPS`.

    Args:
        batch_size: of training.
        flops: of a sample's forward pass; a step costs three times as many.
        device: where the step is taken.
    """
    if device.type != "cpu":
        return batch_size
    return max(1, min(batch_size, int(TIMED_FLOPS / (3 * max(1, flops)))))


class _EnoughError(Exception):
    """The steps that were to be timed are done."""


def _first_steps(subject: Subject, settings: dict[str, Any], seed: int) -> None:
    # A step that is captured is replayed only after those that warm it up.
    enough = TIMED_STEPS + (WARM_UP if settings.get("graph") else 0)

    def stop(done: int, total: int) -> None:
        if done >= min(enough, total):
            raise _EnoughError

    progress: Progress = stop
    with contextlib.suppress(_EnoughError):
        train(subject, settings, seed, progress)

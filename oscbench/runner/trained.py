"""Trained models at work again, from kept weights: scored on any task whose inputs they can read, and continuing a text."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from numbers import Integral
from pathlib import Path
from typing import Any, get_args

import torch
from pydantic import ValidationError

from oscbench import catalog, words
from oscbench.errors import PartError, UserError
from oscbench.machine.process import prepare_process
from oscbench.measures.resolution import PIXELS_AT_ONCE
from oscbench.models.backbones import Backbone
from oscbench.models.backbones.sequence import Sequence
from oscbench.models.diagnosed import diagnosed
from oscbench.models.generation import generate, why_not
from oscbench.ops.dispatch import UnsupportedError
from oscbench.records import Measurement, Record, ResultsError, Store, suite_name
from oscbench.records.ledger import is_trial
from oscbench.records.naming import record_named
from oscbench.runner import changes
from oscbench.runner.plan import usable_device
from oscbench.runner.scores import as_measured
from oscbench.runner.training.weights import load_trained
from oscbench.suite.errors import explain, without_name
from oscbench.suite.reading import read_setting
from oscbench.tasks import LengthError, Split, Task
from oscbench.tasks.support.text.textual import Textual

NUM_TOKENS = 200
"""That a text goes on with where nobody says how many, and the model's positions reach so far."""
TOKENS_AT_ONCE = 8192
"""Of a batch of sequences, however long they are."""
FREE = ("length", "evaluated_length")
"""What inputs may have another of than those that a model was trained on."""


class TrainedModelError(UserError):
    """What a trained model cannot do."""


def scores_of(
    name: str,
    results: Path,
    task: str | None,
    settings: Iterable[str],
    *,
    split: Split,
    length: int,
    size: int | None,
    device: str,
) -> dict[str, Measurement]:
    """`oscbench evaluate`: a record by its name, and settings as `key=value`; threads and device are as its cell had them.

    Raises:
        UserError: no such record or weights, a mistake in the task's settings, or inputs that the model cannot read.
    """
    record, folder = record_named(name, results)
    _tell_changes(record)
    chosen = task_for(record, task, dict(map(read_setting, settings)))
    on = prepare_process({**record.spec, "device": usable_device(device)})
    model = load_trained(record, folder)
    return evaluated(model, chosen, split=split, length=length, size=size, device=on)


def text_of(
    name: str,
    results: Path,
    prompt: str,
    num_tokens: int | None,
    *,
    temperature: float,
    seed: int,
    device: str,
) -> str:
    """`oscbench generate`: a record by its name.

    Raises:
        UserError: no such record or weights, or a model that continues no text.
    """
    record, folder = record_named(name, results)
    _tell_changes(record)
    on = prepare_process({**record.spec, "device": usable_device(device)})
    model = load_trained(record, folder).to(on)
    return continued(model, task_for(record), prompt, num_tokens, temperature=temperature, seed=seed)


def _tell_changes(record: Record) -> None:
    """A note on what is no longer as it was when the model was trained: it may answer otherwise than its record says."""
    for line in changes.of_one(record):
        print(f"oscbench: {line}", file=sys.stderr)


def task_for(record: Record, name: str | None = None, settings: Mapping[str, Any] | None = None) -> Task:
    """A task for a trained model: the record's own, with other settings where some are given, or another.

    Raises:
        TrainedModelError: no such task, a mistake in its settings, or data that nothing can be tested on.
    """
    own = record.spec["task"]
    chosen = {"name": name} if name and name != own["name"] else own
    try:
        task_class = catalog.load("tasks", chosen["name"])
    except catalog.UnknownNameError as error:
        raise TrainedModelError(f"--task: {error}") from error
    try:
        config = task_class.Config.model_validate({**without_name(chosen), **(settings or {})}, strict=True)
    except ValidationError as error:
        raise TrainedModelError(f"--set: {explain(error, task_class.Config)}") from error
    try:
        made: Task = task_class.for_seed(config, record.seed)
    except PartError as error:
        raise TrainedModelError(str(error)) from error
    return made


def evaluated(
    model: Backbone,
    task: Task,
    *,
    split: Split = "test",
    length: int = 1,
    size: int | None = None,
    device: torch.device | None = None,
) -> dict[str, Measurement]:
    """The task's metric and its subsets by a trained model, as a record names them.

    Args:
        model: in any mode; it is left on the device.
        task: whose inputs the model can read.
        split: `test` or `validation`.
        length: times the task's own.
        size: side of the images [pixels]; by default the task's own.
        device: by default where the model is.

    Raises:
        TrainedModelError: no such split, length or size, inputs that the model was not made for, or no inputs of that length or size, or
            none that it reaches.
    """
    if split not in get_args(Split):
        raise TrainedModelError(f'split: got "{split}"; allowed: {words.listed(get_args(Split))}')
    if not isinstance(length, Integral) or length < 1:
        raise TrainedModelError(
            f"length: got {length}; it is how many times the task's own, a whole number from 1 on"
        )
    if size is not None and (not isinstance(size, Integral) or size < 1):
        raise TrainedModelError(f"size: got {size}; it is the side of the images, a whole number of pixels")
    if (unlike := _unlike(model.inputs, task.inputs)) is not None:
        raise TrainedModelError(f"{_label(task)}: {unlike}")
    length, size = int(length), None if size is None else int(size)
    device = device or next(model.parameters()).device
    try:
        other = task.at_length(length) if length != 1 else task
        other = other if size is None else other.at_size(size)
        scores = other.evaluate(model.to(device), split, device, **_batch(other.inputs, size))
    except (LengthError, UnsupportedError) as error:
        raise TrainedModelError(f"{_label(task)}: {error}") from error
    return {
        name: as_measured(
            (of := task.metric_named(name)), score, of.label if split == "test" else f"validation {name}"
        )
        for name, score in scores.items()
    }


def _batch(inputs: Any, size: int | None) -> dict[str, int]:
    """How many inputs are evaluated at once, where their length or an asked size says it; elsewhere the task's own number."""
    if size is not None:
        return {"batch_size": max(1, PIXELS_AT_ONCE // size**2)}
    length = getattr(inputs, "length", None)
    return {} if length is None else {"batch_size": max(1, TOKENS_AT_ONCE // length)}


def continued(
    model: Backbone,
    task: Task,
    prompt: str,
    num_tokens: int | None = None,
    *,
    temperature: float = 0.8,
    seed: int = 0,
) -> str:
    """A text that a trained language model goes on with, the prompt before it.

    Args:
        model: a causal sequence model.
        task: whose token ids are a text; it turns texts into ids and back.
        prompt: what to begin with; where it is empty, the task's own beginning.
        num_tokens: how many to add; by default `NUM_TOKENS`, or as many as the model's positions reach.
        temperature: of the draws; 0 takes the likeliest.
        seed: of the draws.

    Raises:
        TrainedModelError: the task has no text, or the model cannot generate, or not so far.
    """
    if not (isinstance(task, Textual) and isinstance(model, Sequence)):
        raise TrainedModelError(
            f"{_label(task)}: a model of it continues no text; char_lm and word_lm have one"
        )
    if not (isinstance(seed, Integral) and -(2**63) <= seed < 2**63):
        raise TrainedModelError(f"seed: got {seed}; a whole number of 64 bits")
    device = next(model.parameters()).device
    ids = task.encode(prompt)[None].to(device)

    def after(count: int) -> str:
        draws = torch.Generator().manual_seed(int(seed))
        return task.decode(generate(model, ids, count, generator=draws, temperature=temperature)[0].cpu())

    wanted = NUM_TOKENS if num_tokens is None else num_tokens
    most = model.num_tokens + 1 - ids.shape[1]  # whatever the model is made of reaches as far as in training
    try:
        return after(wanted)
    except UnsupportedError as error:
        if why_not(model) is not None or wanted <= most:
            raise TrainedModelError(str(error)) from error
        if most < 1:
            raise TrainedModelError(f"{error}; the prompt alone has {ids.shape[1]}") from error
        if num_tokens is not None:
            raise TrainedModelError(
                f"{error}; after this prompt --tokens {most} is the most that fits"
            ) from error
    except ValueError as error:
        raise TrainedModelError(str(error)) from error
    return after(most)


def _label(task: Task) -> str:
    """What a task is called under its settings, a text of one's own among them."""
    return type(task).headline(task.config)[0] if hasattr(task, "config") else task.label


def _unlike(own: Any, other: Any) -> str | None:
    """What inputs have that a model made for others cannot read; None where it can."""
    if type(own) is not type(other):
        return f"the model reads {_kind(own)}, and this task has {_kind(other)}"
    for one in fields(own):
        here, there = getattr(own, one.name), getattr(other, one.name)
        if one.name not in FREE and here != there:
            name = one.name.replace("_", " ")
            return f"the model was made for inputs of {name} {here}, and this task has {there}"
    return None


def _kind(inputs: Any) -> str:
    """`ImageInputs` -> images."""
    return {"dual": "images with captions"}.get(
        kind := type(inputs).__name__.removesuffix("Inputs").lower(), f"{kind}s"
    )


def diagnose(results: Path, suites: Iterable[str], tell: Callable[[str], None]) -> int:
    """Work out what is not there yet, for the smallest seed with weights of every entry; how many were written.

    Args:
        results: folder of the records.
        suites: names or labels; all when empty.
        tell: is told of what could not be done, a line each; the report then goes without.
    """
    store, wanted = Store(results), set(suites)
    first: dict[tuple[str, str, str, str], Record] = {}
    for record in store.read_all()[0]:
        asked = not wanted or {record.suite, suite_name(record.suite)} & wanted
        if (
            asked
            and record.status == "ok"
            and not is_trial(record.suite)
            and store.weights_path(record).is_file()
        ):
            key = (record.suite, record.task, record.mechanism, record.variant)
            if key not in first or record.seed < first[key].seed:
                first[key] = record
    written = 0
    for record in first.values():
        if store.diagnostics_path(record).is_file():
            continue
        try:
            model = load_trained(record, results)
            inputs = next(task_for(record).batches("test", 1)).inputs
            store.write_diagnostics(record, diagnosed(model, inputs).packed())
            written += 1
        except ResultsError as error:  # every other file would be refused as well
            tell(f"{error}; pictures of the mechanism at work are left out")
            break
        except (UserError, UnsupportedError) as error:
            tell(f"{record.mechanism} seed {record.seed}: no picture of it at work: {error}")
    return written

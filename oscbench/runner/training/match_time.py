"""Matching by time: what a training step takes, measured in turn with the reference's, once for all seeds of a run."""

from __future__ import annotations

from typing import Any

import torch

from oscbench.instruments.clock import Contender, Effort, Timed, clock_for, interleave, paired_ratio
from oscbench.machine.environment import environment
from oscbench.models.backbones import Backbone
from oscbench.models.matching import Matched, MatchingError, StepRatio, match_time, median_with_spread
from oscbench.runner.cell_spec import Measured
from oscbench.runner.training.graph import rates_on_device
from oscbench.runner.training.learner import stepper
from oscbench.runner.training.loop import data_generators, make_optimizer
from oscbench.runner.training.specs import (
    Parts,
    as_reference,
    match_spec,
    parts_of,
    recipe,
    reference_spec,
    request_key,
    time_requests,
    wanted_match,
)
from oscbench.tasks import Batch, Task

SEED = 0
"""Of the start values and the batch that steps are timed with; the matched width is then no seed's own."""
SECONDS = 8.0
"""Of each of the two models, each time that they are timed."""


def machine(device: torch.device) -> dict[str, Any]:
    """What a measured ratio belongs to. No host name: a container that starts again is the same machine under another name."""
    found = environment(device)
    kept = ("processor", "cores", "accelerator", "cuda")
    return {key: found[key] for key in kept if key in found} | {"torch": found["packages"]["torch"]}


def measure_all(
    spec: dict[str, Any], task: Task, device: torch.device, measured: Measured
) -> dict[str, dict[str, Any]]:
    """`measured` and whatever of a cell's requests it lacks, measured now."""
    known = {key: dict(found) for key, found in measured.items()}
    for request in time_requests(spec):
        if request_key(request) not in known:
            known[request_key(request)] = measure(request, task, device, known)
    return known


def measure(request: dict[str, Any], task: Task, device: torch.device, measured: Measured) -> dict[str, Any]:
    """The hidden units with which a model's training step takes as long as its reference's, as plain values."""
    wanted, parts, reference = wanted_match(request), parts_of(request), reference_spec(request)
    order, augmentation = data_generators(SEED)
    batches = task.training_batches(request["train"]["batch_size"], order, augmentation)
    batch = next(iter(batches)).to(device)
    of_reference = match_spec(reference, task.inputs, measured).hidden if reference else None
    effort = Effort(seconds=SECONDS, min_rounds=11, precision=wanted["tolerance"] / 2)

    def step(
        built_by: Parts, mechanism: dict[str, Any], hidden: int | None, settings: dict[str, Any]
    ) -> Contender:
        model = built_by.build(mechanism, hidden, SEED, task.inputs).to(device)
        return training_step(model, task, batch, settings)

    theirs = step(parts_of(as_reference(request)), wanted["reference"], of_reference, request["train"])

    def ratio(hidden: int) -> StepRatio:
        contenders = {
            "model": step(parts, request["mechanism"], hidden, recipe(request)),
            "reference": theirs,
        }
        timed = interleave(contenders, clock_for(device), effort)
        return step_ratio(timed["model"], timed["reference"])

    with torch.device("meta"):
        usual = parts.build(request["mechanism"], None, SEED, task.inputs).trunk.hidden
    details = {"machine": machine(device)}
    try:
        matched = match_time(usual, ratio, wanted["tolerance"])
    except MatchingError as error:
        return {"impossible": str(error), "details": details}
    return Matched(**{**matched.as_dict(), "details": {**matched.details, **details}}).as_dict()


def training_step(model: Backbone, task: Task, batch: Batch, settings: dict[str, Any]) -> Contender:
    """A whole step on one batch. The learning rate is 0, so that the model stays what it is however long it is timed."""
    model.calibrate(batch.inputs)
    model.train()
    optimizer = make_optimizer(model, {**settings, "learning_rate": 0.0})
    if settings.get("graph", False):
        rates_on_device(optimizer, batch.inputs.device)
    learn = stepper(model, task, optimizer, settings)
    return Contender(lambda: learn(batch))


def step_ratio(model: Timed, reference: Timed) -> StepRatio:
    """Median and spread of the ratios round by round."""
    ratios = paired_ratio(model, reference)
    median, spread = median_with_spread(ratios)
    return StepRatio(median, spread, len(ratios), model.median, reference.median)

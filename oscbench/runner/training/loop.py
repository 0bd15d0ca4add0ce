"""One training run: the recipe that every mechanism gets, and measures that look meanwhile."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from oscbench.errors import PartError, kind_of
from oscbench.measures import History, Measure, Subject
from oscbench.models.backbones import Backbone
from oscbench.models.rates import cosine, depth_factors, set_weight_decay
from oscbench.models.trunk import named_seed
from oscbench.records import Curve
from oscbench.runner.cell_spec import Progress
from oscbench.runner.scores import evaluated
from oscbench.runner.training import parallel
from oscbench.runner.training.checkpoint import Checkpoints, Training
from oscbench.runner.training.graph import rates_on_device
from oscbench.runner.training.learner import stepper
from oscbench.runner.training.pending import DivergedError, Pending
from oscbench.tasks import Batch, Task


class Looking:
    """Asks measures at their steps, and leaves no trace in the training: the streams that dropout draws from go on as they were."""

    def __init__(self, subject: Subject, measures: Sequence[Measure], steps: int) -> None:
        self.subject = subject
        self.asked = [(measure, measure.steps(steps)) for measure in measures]

    def at(self, step: int) -> None:
        """So many steps are done."""
        for measure, asked in self.asked:
            if step in ((0,) if asked is None else asked):
                self._keep(measure, step)

    def validated(self, step: int) -> None:
        """The model was validated after this step."""
        for measure, asked in self.asked:
            if asked is None:
                self._keep(measure, step)

    def _keep(self, measure: Measure, step: int) -> None:
        with torch.random.fork_rng():
            found = measure.during(self.subject)
        if not isinstance(found, Mapping):
            raise PartError(
                f"measure {type(measure).__name__}: during gave {kind_of(found)}; wanted: a mapping"
            )
        for name, value in found.items():
            self.subject.history.followed.setdefault(name, []).append((step, value))


VERSION = 2
"""Raised when the same recipe would train to other values: 2 is the fused AdamW, which rounds otherwise."""

VALIDATIONS = 50
"""At most so many validations in a run: epochs of a single batch would spend more time on them than on training."""


def learning_rate_factor(step: int, total: int, warmup: float, final: float = 0.0) -> float:
    """Linear from 0 over the first `warmup` share of the steps, then a cosine to `final`, which is a share of the top.

    A share of less than half a step is none. Of one that is no whole number the last step rises above the top: by a tenth at 18 steps
    of which a twentieth are to rise, and to twice at the most.
    """
    rising = warmup * total
    if rising < 0.5:
        rising = 0.0
    if step < rising:
        return (step + 1) / rising
    return cosine(step - rising, max(1.0, total - rising), 1.0, final)


def make_optimizer(model: torch.nn.Module, settings: dict[str, Any]) -> torch.optim.AdamW:
    """AdamW; vectors and scalars (biases, norms, gains, one-row embeddings) carry no weight decay.

    What learns at another rate, because a mechanism lets it (`learning_rates`) or by its depth (`layer_decay`), is in groups of its own,
    whose rate follows the same schedule. Where weight decay has a schedule, groups say whether they are `decayed`.
    """
    rate, decay = settings["learning_rate"], settings["weight_decay"]
    own = model.trunk.mechanism.learning_rates() if isinstance(model, Backbone) else []
    apart = {id(parameter) for _, parameters in own for parameter in parameters}
    usual = [parameter for parameter in model.parameters() if id(parameter) not in apart]
    depths = depth_factors(model, settings.get("layer_decay", 1.0))
    groups: list[dict[str, Any]] = []
    for factor, parameters in _by_depth([(1.0, usual), *own], depths):
        matrices = [p for p in parameters if p.dim() >= 2 and min(p.shape[-2:]) > 1]
        large = {id(parameter) for parameter in matrices}
        others = [parameter for parameter in parameters if id(parameter) not in large]
        groups += [
            {"params": matrices, "weight_decay": decay, "lr": factor * rate},
            {"params": others, "weight_decay": 0.0, "lr": factor * rate},
        ]
    if "final_weight_decay" in settings:
        for place, group in enumerate(groups):
            group["decayed"] = place % 2 == 0
    return torch.optim.AdamW(
        groups, lr=rate, betas=(0.9, settings["beta2"]), fused=True, capturable=settings.get("graph", False)
    )


def _by_depth(
    groups: list[tuple[float, list[torch.nn.Parameter]]], depths: dict[int, float]
) -> Iterator[tuple[float, list[torch.nn.Parameter]]]:
    """The same groups, each in parts of one depth, which multiplies its factor; as they are where depth is no matter."""
    for factor, parameters in groups:
        parts: dict[float, list[torch.nn.Parameter]] = {}
        for parameter in parameters:
            parts.setdefault(depths.get(id(parameter), 1.0), []).append(parameter)
        for share, part in parts.items():
            yield share * factor, part


def make_schedule(
    optimizer: torch.optim.Optimizer, settings: dict[str, Any], steps: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """The optimiser's learning rates from step to step."""
    final = settings.get("final_learning_rate", 0.0) / settings["learning_rate"]
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_factor(step, steps, settings["warmup"], final)
    )


def total_steps(task: Task, settings: dict[str, Any]) -> int:
    """Optimiser steps of the whole training."""
    if "steps" in settings:
        return int(settings["steps"])
    return int(settings["epochs"] * steps_per_epoch(task, settings))


def steps_per_epoch(task: Task, settings: dict[str, Any]) -> int:
    """Batches that the training split makes; the last may be smaller."""
    return task.batches_per_epoch(int(settings["batch_size"]))


def data_generators(seed: int) -> tuple[torch.Generator, torch.Generator]:
    """Private streams of order and augmentation, which depend on the seed alone."""
    order, augmentation = (
        torch.Generator().manual_seed(named_seed(seed, name)) for name in ("order", "augmentation")
    )
    return order, augmentation


def train(
    subject: Subject,
    settings: dict[str, Any],
    seed: int,
    progress: Progress,
    checkpoints: Checkpoints | None = None,
    measures: Sequence[Measure] = (),
    *,
    until: int | None = None,
) -> None:
    """Train in place; the history is filled, and its curves come back from `curves_of`, after a divergence too.

    Validates after each epoch, though at most `VALIDATIONS` times, or every `validate_every` steps where given, and after the last step.
    Order, augmentation and dropout each have a private stream that depends on the seed alone, so every mechanism sees the same data.
    Where a checkpoint is kept of this cell, training goes on from there. Measures look when they ask to, outside of the time of steps: at
    the model as it is trained, but with validations and after the last step as it is evaluated, which may be its slow teacher.
    Where several processes train it (`parallel`), all of them are here, and the first alone validates and keeps checkpoints. With `until` it
    ends after so many steps of the same schedule, and nothing is validated.

    Raises:
        DivergedError: a loss is not finite.
    """
    model, task, history = subject.model, subject.task, subject.history
    steps = total_steps(task, settings)
    end = steps if until is None else min(until, steps)
    every = settings.get("validate_every")
    at = _begun(subject, settings, seed)
    look = Looking(subject, measures, steps)
    validates = until is None and parallel.number() == 0
    if kept := parallel.from_first(checkpoints.load() if checkpoints else None):
        at.restore(kept)
    else:
        with parallel.while_others_wait():
            look.at(0)
    learn = stepper(model, task, at.optimizer, settings)
    model.train()
    with Pending(history, subject.device, steps) as pending:
        while at.done < end:
            batches = _awaited(at.epoch(task, settings["batch_size"]), history)
            for batch in itertools.islice(batches, end - at.done):
                parallel.draw_for(seed, at.done)
                if "final_weight_decay" in settings:
                    ends = settings["weight_decay"], settings["final_weight_decay"]
                    set_weight_decay(at.optimizer, cosine(at.done, steps, *ends))
                pending.begin()
                loss = learn(batch.to(subject.device))
                at.schedule.step()
                at.stepped()
                model.stepped(at.done, steps)
                pending.end(loss)
                with parallel.while_others_wait():
                    look.at(at.done)
                progress(at.done, steps)
                if validates and every and at.done % every == 0 and at.done < steps:
                    _validate(subject, at, look, pending)
                if checkpoints and at.done < steps and checkpoints.due():
                    pending.read()
                    checkpoints.save(at.captured())
            pending.read()
            if at.done == steps or (not every and (at.done - at.validated) * VALIDATIONS >= steps):
                at.validated = at.done
                if validates:
                    _validate(subject, at, look, pending)
    if at.done == steps:
        at.set_random()
        if checkpoints and measures:
            checkpoints.trained(at.captured())
        model.finish()
    history.training_seconds = sum(history.step_seconds)


def _begun(subject: Subject, settings: dict[str, Any], seed: int) -> Training:
    """A training before its first step, each of its streams at the beginning."""
    order, augmentation = data_generators(seed)
    torch.manual_seed(named_seed(seed, "dropout"))
    optimizer = make_optimizer(subject.model, settings)
    schedule = make_schedule(optimizer, settings, total_steps(subject.task, settings))
    if settings.get("graph", False):
        rates_on_device(optimizer, subject.device)
    return Training(subject.model, optimizer, schedule, order, augmentation, subject.history)


def _validate(subject: Subject, at: Training, look: Looking, pending: Pending) -> None:
    """Score the model on the validation split once all its steps are read, and let measures look, at what would be evaluated now."""
    pending.read()
    task = subject.task
    with parallel.while_others_wait(), subject.model.as_evaluated():
        value = evaluated(task, subject.model, "validation", subject.device)[task.metric.name].value
        subject.history.validation.append((at.done, value))
        look.validated(at.done)


def _awaited(batches: Iterator[Batch], history: History) -> Iterator[Batch]:
    """The same batches; how long training waited for each goes into the history."""
    asked = time.perf_counter()
    for batch in batches:
        history.waiting_seconds += time.perf_counter() - asked
        yield batch
        asked = time.perf_counter()


def rehearsal(subject: Subject, settings: dict[str, Any], seed: int) -> Callable[[Backbone, int], bool]:
    """What `Subject.rehearse` is for this recipe; the cell's own training is as if nothing had been rehearsed."""

    def rehearse(model: Backbone, steps: int) -> bool:
        stand_in = replace(subject, model=model, history=History())
        with torch.random.fork_rng(), parallel.alone():
            try:
                train(stand_in, settings, seed, lambda done, total: None, until=steps)
            except DivergedError:
                return False
        return True

    return rehearse


def curves_of(task: Task, history: History) -> dict[str, Curve]:
    """Training loss and validation metric, as far as training went."""
    curves = {}
    losses = [loss for loss in history.losses if math.isfinite(loss)]
    if losses:
        curves["train_loss"] = _loss_curve(losses)
    if history.validation:
        curves[f"validation_{task.metric.name}"] = Curve(
            label=f"validation {task.metric.name}",
            unit=task.metric.unit,
            direction=task.metric.direction,
            x=tuple(x for x, _ in history.validation),
            y=tuple(y for _, y in history.validation),
        )
    return curves


def _loss_curve(losses: list[float], points: int = 100) -> Curve:
    """Training loss averaged over at most so many equal stretches."""
    size = math.ceil(len(losses) / points)
    chunks = [losses[start : start + size] for start in range(0, len(losses), size)]
    return Curve(
        label="training loss",
        unit="nats",
        direction="lower",
        x=tuple(float(min((i + 1) * size, len(losses))) for i in range(len(chunks))),
        y=tuple(sum(chunk) / len(chunk) for chunk in chunks),
    )

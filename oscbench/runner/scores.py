"""A task's metric and its subsets on test and validation, as records name them."""

from __future__ import annotations

import torch

from oscbench.errors import PartError
from oscbench.records import Measurement
from oscbench.tasks import Metric, Score, Split, Task
from oscbench.tasks.support.checks import task_name

NOT_TESTED = "a trial of a search that leaves the test alone"


def scored(
    task: Task, model: torch.nn.Module, device: torch.device, *, tested: bool = True
) -> dict[str, Measurement]:
    """Evaluate on both splits; the headline's details say when a seed has failed, where the task declares it.

    Args:
        task: that evaluates.
        model: what is evaluated.
        device: where it is.
        tested: otherwise on validation alone, and the headline is null with that reason.

    Raises:
        PartError: the task gave no headline.
    """
    found = _tested(task, model, device) if tested else {task.metric.name: _not_tested(task.metric)}
    return found | {
        f"validation_{name}": as_measured(task.metric_named(name), score, f"validation {name}")
        for name, score in evaluated(task, model, "validation", device).items()
    }


def _tested(task: Task, model: torch.nn.Module, device: torch.device) -> dict[str, Measurement]:
    """On the test, and the seconds that it took where the task says them."""
    metric, failure = task.metric, task.failure
    test = evaluated(task, model, "test", device)
    found = {
        name: as_measured(task.metric_named(name), score, task.metric_named(name).label)
        for name, score in test.items()
    }
    if failure is not None:
        failed = {"measure": failure.metric, "level": failure.level, "direction": metric.direction}
        details = {**found[metric.name].details, "failed": failed}
        found[metric.name] = found[metric.name].model_copy(update={"details": details})
    return found | {
        name: Measurement(value=seconds, unit="s", label=name.replace("_", " "), direction="lower")
        for name, seconds in task.seconds.items()
    }


def _not_tested(metric: Metric) -> Measurement:
    return Measurement(
        value=None, unit=metric.unit, label=metric.label, direction=metric.direction, reason=NOT_TESTED
    )


def evaluated(task: Task, model: torch.nn.Module, split: Split, device: torch.device) -> dict[str, Score]:
    """What a task says of a model, its headline among it.

    Raises:
        PartError: it gave no headline.
    """
    found = task.evaluate(model, split, device)
    if task.metric.name not in found:
        raise PartError(
            f"task {task_name(task)}: its {split} split gave no {task.metric.name}, which is its headline"
        )
    return found


def as_measured(metric: Metric, score: Score, label: str) -> Measurement:
    """A score of a metric."""
    return Measurement(
        value=score.value,
        unit=metric.unit,
        label=label,
        direction=metric.direction,
        n=score.count,
        details=dict(score.details),
    )

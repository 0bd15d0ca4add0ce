"""A task's metric and its subsets on test and validation, as records name them."""

from __future__ import annotations

import torch

from oscbench.records import Measurement
from oscbench.tasks import Metric, Score, Task


def scored(task: Task, model: torch.nn.Module, device: torch.device) -> dict[str, Measurement]:
    """Evaluate on both splits; the headline's details say when a seed has failed, where the task declares it."""
    metric, failure = task.metric, task.failure
    test = task.evaluate(model, "test", device)
    took = dict(task.seconds)
    found = {
        name: as_measured(task.metric_named(name), score, task.metric_named(name).label)
        for name, score in test.items()
    }
    if failure is not None and metric.name in found:
        failed = {"measure": failure.metric, "level": failure.level, "direction": metric.direction}
        details = {**found[metric.name].details, "failed": failed}
        found[metric.name] = found[metric.name].model_copy(update={"details": details})
    found |= {
        f"validation_{name}": as_measured(task.metric_named(name), score, f"validation {name}")
        for name, score in task.evaluate(model, "validation", device).items()
    }
    return found | {
        name: Measurement(value=seconds, unit="s", label=name.replace("_", " "), direction="lower")
        for name, seconds in took.items()
    }


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

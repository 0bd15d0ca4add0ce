"""The task's metric on inputs of another size than a model was trained on, or why there is none."""

from __future__ import annotations

from collections.abc import Callable

from oscbench.measures import Subject
from oscbench.ops.dispatch import UnsupportedError
from oscbench.records.schema import Measurement
from oscbench.tasks import LengthError, Task


def evaluated_on(
    subject: Subject, other: Callable[[], Task], batch_size: Callable[[Task], int], label: str
) -> Measurement:
    """The metric on the test split of another task that the model can read.

    Null with its reason where the task has no such inputs (`unavailable`), or the mechanism refuses them (`unsupported`), which is a
    result.

    Args:
        subject: whose model is asked.
        other: makes the task with the other inputs.
        batch_size: of its evaluation.
        label: what the metric's own is followed by.
    """
    metric = subject.task.metric
    value, count, reason = None, 0, None
    try:
        task = other()
        score = task.evaluate(subject.model, "test", subject.device, batch_size(task))[metric.name]
        value, count = score.value, score.count
    except LengthError as error:
        reason = f"unavailable: {error}"
    except UnsupportedError as error:
        reason = f"unsupported: {error}"
    return Measurement(
        value=value,
        unit=metric.unit,
        label=f"{metric.label}, {label}",
        direction=metric.direction,
        n=count,
        method="measured" if reason is None else "unavailable",
        reason=reason,
    )

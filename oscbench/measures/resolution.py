"""Resolution: the task's metric on test images of other sizes than those that the model was trained on, without training it further.

A model whose learned positions are those of its training grid refuses; that is a result, and stands as null with `unsupported` and the
reason.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from oscbench.measures import Findings, Measure, MeasureConfig, Subject
from oscbench.ops.dispatch import UnsupportedError
from oscbench.records.schema import Measurement
from oscbench.tasks import LengthError

PIXELS_AT_ONCE = 2**18


class ResolutionConfig(MeasureConfig):
    """Settings of the resolution measure.

    Attributes:
        sizes: sides of the images to evaluate on [pixels].
    """

    sizes: list[Annotated[int, Field(ge=1)]] = Field(default=[48], min_length=1)


class Resolution(Measure):
    """`<metric>_at_<size>` for every size."""

    Config = ResolutionConfig
    label = "metric at other image sizes"

    def after(self, subject: Subject) -> Findings:
        """Evaluate on the test split of every size."""
        found = Findings()
        for size in self.config.sizes:
            found.measures[f"{subject.task.metric.name}_at_{size}"] = _evaluated(subject, size)
        return found


def _evaluated(subject: Subject, size: int) -> Measurement:
    """The metric at one size, or null and why."""
    metric = subject.task.metric
    value, count, reason = None, 0, None
    try:
        other = subject.task.at_size(size)
        batch_size = max(1, PIXELS_AT_ONCE // size**2)
        score = other.evaluate(subject.model, "test", subject.device, batch_size)[metric.name]
        value, count = score.value, score.count
    except LengthError as error:
        reason = f"unavailable: {error}"
    except UnsupportedError as error:
        reason = f"unsupported: {error}"
    return Measurement(
        value=value,
        unit=metric.unit,
        label=f"{metric.label}, images of {size} × {size}",
        direction=metric.direction,
        n=count,
        method="measured" if reason is None else "unavailable",
        reason=reason,
    )


measure = Resolution

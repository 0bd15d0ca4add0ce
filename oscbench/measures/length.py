"""Length: the task's metric on test inputs longer than those that the model was trained on, without training it further.

A mechanism whose anchors, or a model whose learned positions, end at the training length refuses; that is a result, and stands as
null with `unsupported` and the reason.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from oscbench.measures import Findings, Measure, MeasureConfig, Subject
from oscbench.ops.dispatch import UnsupportedError
from oscbench.records.schema import Measurement
from oscbench.tasks import LengthError

TOKENS_AT_ONCE = 8192


class LengthConfig(MeasureConfig):
    """Settings of the length measure.

    Attributes:
        factors: lengths to evaluate at, as multiples of the training length.
    """

    factors: list[Annotated[int, Field(ge=1)]] = Field(default=[1, 2, 4], min_length=1)


class Length(Measure):
    """`<metric>_at_<factor>x` for every factor."""

    Config = LengthConfig
    label = "metric at longer inputs"

    def after(self, subject: Subject) -> Findings:
        """Evaluate on the test split, with as many tokens in a batch at every length."""
        found = Findings()
        for factor in self.config.factors:
            name = f"{subject.task.metric.name}_at_{factor}x"
            found.measures[name] = _evaluated(subject, factor)
        return found


def _evaluated(subject: Subject, factor: int) -> Measurement:
    """The metric at one length, or null and why."""
    metric = subject.task.metric
    value, count, reason = None, 0, None
    try:
        longer = subject.task.at_length(factor)
        batch_size = max(1, TOKENS_AT_ONCE // longer.inputs.length)
        score = longer.evaluate(subject.model, "test", subject.device, batch_size)[metric.name]
        value, count = score.value, score.count
    except LengthError as error:
        reason = f"unavailable: {error}"
    except UnsupportedError as error:
        reason = f"unsupported: {error}"
    return Measurement(
        value=value,
        unit=metric.unit,
        label=f"{metric.label}, inputs {factor} times as long",
        direction=metric.direction,
        n=count,
        method="measured" if reason is None else "unavailable",
        reason=reason,
    )


measure = Length

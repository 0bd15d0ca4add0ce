"""Length: the task's metric on test inputs longer than those that the model was trained on, without training it further.

A mechanism whose anchors, or a model whose learned positions, end at the training length refuses; that is a result, and stands as
null with `unsupported` and the reason.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated

from pydantic import Field

from oscbench.measures import Findings, Measure, MeasureConfig, Subject
from oscbench.measures._other_inputs import evaluated_on

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
            found.measures[name] = evaluated_on(
                subject,
                partial(subject.task.at_length, factor),
                lambda task: max(1, TOKENS_AT_ONCE // task.inputs.length),
                f"inputs {factor} times as long",
            )
        return found


measure = Length

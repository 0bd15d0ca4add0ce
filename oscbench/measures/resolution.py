"""Resolution: the task's metric on test images of other sizes than those that the model was trained on, without training it further.

A model whose learned positions are those of its training grid refuses; that is a result, and stands as null with `unsupported` and the
reason.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated

from pydantic import Field

from oscbench.measures import Findings, Measure, MeasureConfig, Subject
from oscbench.measures._other_inputs import evaluated_on

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
    version = 2  # larger scenes are as dense as those of training
    label = "metric at other image sizes"

    def after(self, subject: Subject) -> Findings:
        """Evaluate on the test split of every size."""
        found = Findings()
        for size in self.config.sizes:
            found.measures[f"{subject.task.metric.name}_at_{size}"] = evaluated_on(
                subject,
                partial(subject.task.at_size, size),
                lambda task: max(1, PIXELS_AT_ONCE // (task.inputs.height * task.inputs.width)),
                f"images of {size} × {size}",
            )
        return found


measure = Resolution

"""Weight norm: how large a model's weights are before and after training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch

from oscbench.measures import Findings, Measure, Subject
from oscbench.records.schema import Measurement
from oscbench.roles import Role


class WeightNorm(Measure):
    """`weight_norm_start` and `weight_norm_end`."""

    label = "weight norm"
    roles: ClassVar[Mapping[str, Role]] = {}
    """What its quantities are for, if anything (CONTRIBUTING.md has the table), as in {"my_bytes": {"cost": "My memory", "rank": 12}}."""

    def before(self, subject: Subject) -> Findings:
        """Looked at before the first step."""
        return self._norm(subject, "start")

    def after(self, subject: Subject) -> Findings:
        """Looked at after the last, on the model that is evaluated."""
        return self._norm(subject, "end")

    def _norm(self, subject: Subject, when: str) -> Findings:
        squares = sum(parameter.detach().double().square().sum() for parameter in subject.model.parameters())
        value = Measurement(
            value=float(torch.as_tensor(squares).sqrt()),
            unit="1",
            label=f"norm of all weights at the {when}",
            direction="lower",
            method="computed",
        )
        return Findings({f"weight_norm_{when}": value})


measure = WeightNorm

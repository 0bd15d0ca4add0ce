"""Parameters: how many numbers a model learns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from oscbench.measures import Findings, Measure, Subject
from oscbench.models.matching import num_parameters
from oscbench.records.schema import Measurement
from oscbench.roles import Role


class Params(Measure):
    """Learned numbers of the whole model, each counted once."""

    label = "parameters"
    roles: ClassVar[Mapping[str, Role]] = {
        "params": {"rank": 0, "cost": "Parameters", "column": "Parameters", "basis": "size", "exact": True}
    }

    def after(self, subject: Subject) -> Findings:
        """Count them."""
        count = num_parameters(subject.model)
        own = num_parameters(subject.model.trunk.mechanism)
        value = Measurement(
            value=count,
            unit="1",
            label="parameters",
            direction="lower",
            method="computed",
            details={"mechanism": own},
        )
        return Findings({"params": value})


measure = Params

"""Rounding: how fast two trainings part whose start values differ in their last bits alone.

Processors of other makers, other versions of a library and other numbers of threads add up in another order, and even draw normal
start values with other last bits. Where training damps such differences, a cell ends nearly the same everywhere; where its dynamics
stretch them, as those of coupled oscillators may, the same seed ends elsewhere on another machine, and its score is one draw of many.
A model and its twin, whose every weight is one float higher or lower, are trained for the first steps of the cell's own recipe on
the same batches.
"""

from __future__ import annotations

import copy

import torch
from pydantic import Field
from torch import Tensor, nn

from oscbench.measures import Findings, Measure, MeasureConfig, Subject
from oscbench.models.trunk import named_seed
from oscbench.records.schema import Measurement

SEED = 20_261_126
EPSILON = torch.finfo(torch.float32).eps
FEW_STEPS = 2
"""That a dry run takes the time of."""
LIMIT = 1000.0
FLAG = "sensitive to rounding: a seed's result may be another one on another kind of processor"


class RoundingConfig(MeasureConfig):
    """Settings of the rounding measure.

    Attributes:
        steps: that both are trained for; the limit of the flag belongs to the default.
    """

    steps: int = Field(default=50, ge=1, le=10_000)


class Rounding(Measure):
    """`rounding_growth`: the relative distance ‖ŷ' − ŷ‖ / ‖ŷ‖ of the twins' predictions on the probe, over the ε of 32-bit floats."""

    Config = RoundingConfig
    label = "growth of rounding errors"

    def before(self, subject: Subject) -> Findings:
        """Train both, and flag the cell where they have parted."""
        steps = self.config.steps
        if subject.rehearse is None:
            return Findings({"rounding_growth": self._measured(None, "nothing is trained")})
        plain, nudged = copy.deepcopy(subject.model), copy.deepcopy(subject.model)
        nudge(nudged)
        at_start = growth(plain, nudged, subject.probe.inputs)
        if not all(subject.rehearse(twin, steps) for twin in (plain, nudged)):
            reason = f"the loss is no number within {steps} steps"
            return Findings({"rounding_growth": self._measured(None, reason)})
        found = growth(plain, nudged, subject.probe.inputs)
        details = {"steps": steps, "at_start": at_start, "limit": LIMIT}
        return Findings(
            {"rounding_growth": self._measured(found, None, details)}, flags=[FLAG] if found > LIMIT else []
        )

    def after(self, subject: Subject) -> Findings:
        """Nothing more is found at the end."""
        del subject
        return Findings()

    def smaller(self) -> tuple[RoundingConfig, float]:
        """Fewer steps."""
        steps = min(self.config.steps, FEW_STEPS)
        return self.config.model_copy(update={"steps": steps}), self.config.steps / steps

    def _measured(
        self, value: float | None, reason: str | None, details: dict[str, float] | None = None
    ) -> Measurement:
        return Measurement(
            value=value,
            unit="1",
            label=f"{self.label} over {self.config.steps} steps",
            direction="lower",
            method="measured" if reason is None else "unavailable",
            reason=reason and f"unavailable: {reason}",
            details=details or {},
        )


@torch.no_grad()
def nudge(model: nn.Module) -> None:
    """Move every weight to the next float above or below, which of them a coin of a fixed seed says."""
    for name, weights in model.named_parameters():
        coin = torch.Generator().manual_seed(named_seed(SEED, name))
        up = torch.randint(2, weights.shape, generator=coin).to(weights.device, torch.bool)
        weights.copy_(torch.nextafter(weights, torch.where(up, torch.inf, -torch.inf).to(weights)))


@torch.no_grad()
def growth(plain: nn.Module, other: nn.Module, inputs: Tensor) -> float:
    """Relative distance between what two models predict of the same inputs, over ε; what either cannot say (−∞) is left out."""
    first, second = (model.eval()(inputs).prediction.double() for model in (plain, other))
    said = first.isfinite() & second.isfinite()
    size = first[said].norm().clamp_min(torch.finfo(torch.float64).tiny)
    return float((second - first)[said].norm() / size) / EPSILON


measure = Rounding

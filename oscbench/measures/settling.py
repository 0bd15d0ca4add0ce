"""Settling: do a trained model's oscillators come to rest where the closed form says?

Every oscillator of the last layer is let go from random starts and integrated under its literal pull, ż = (I − z zᵀ) h, as arXiv
2606.12059 does (dopri5, tolerances 1e-4): the share that is within 0.01 of z* = h/‖h‖ at each horizon, and the share that is further
than 0.1 from it at the last, which started near −z*, from where the way is long.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from oscbench.measures import Findings, Measure, MeasureConfig, Subject
from oscbench.models.trunk import named_seed
from oscbench.modes import evaluating
from oscbench.records.schema import Measurement

SEED = 20_260_613
NEAR, FAR = 0.01, 0.1
"""Distances of a settled state and of an apparently antipodal one from the fixed point, as published."""


class SettlingConfig(MeasureConfig):
    """Settings of the settling measure.

    Attributes:
        horizons: at which states are compared with the closed form [time of the literal pull].
        starts: random ones for every oscillator.
        examples: of validation, the first so many.
        tolerance: relative and absolute, of the solver.
    """

    horizons: list[Annotated[float, Field(gt=0.0)]] = Field(
        default=[1.0, 5.0, 10.0, 30.0, 100.0], min_length=1
    )
    starts: int = Field(default=5, ge=1)
    examples: int = Field(default=32, ge=1)
    tolerance: float = Field(default=1e-4, gt=0.0)


class Settling(Measure):
    """`settled_share_<T>` for every horizon, and `apparent_antipodal_share` at the last."""

    Config = SettlingConfig
    label = "oscillators settled at the closed form"

    @torch.no_grad()
    def after(self, subject: Subject) -> Findings:
        """Integrate the trained last layer; null with its reason where nothing is pulled."""
        horizons = sorted(set(self.config.horizons))
        pulls = self._pulls(subject)
        labels = {f"settled_share_{t:g}": f"oscillators at their fixed point at T = {t:g}" for t in horizons}
        labels["apparent_antipodal_share"] = f"oscillators still far from it at T = {horizons[-1]:g}"
        if pulls is None:
            return Findings({name: self._measured(None, name, label, 0) for name, label in labels.items()})
        generator = torch.Generator().manual_seed(named_seed(SEED, "starts"))
        drawn = torch.randn((self.config.starts, *pulls.shape), generator=generator)
        start = torch.nn.functional.normalize(drawn.to(pulls), dim=-1)
        distances = distances_over_time(pulls, start, horizons, self.config.tolerance)
        shares = [float((distance < NEAR).double().mean()) for distance in distances]
        values = [*shares, float((distances[-1] > FAR).double().mean())]
        count = distances[-1].numel()
        return Findings(
            {
                name: self._measured(value, name, label, count)
                for (name, label), value in zip(labels.items(), values, strict=True)
            }
        )

    def smaller(self) -> tuple[SettlingConfig, float]:
        """One start of one example's oscillators."""
        return self.config.model_copy(
            update={"starts": 1, "examples": 1}
        ), self.config.starts * self.config.examples

    def _pulls(self, subject: Subject) -> Tensor | None:
        """h of every oscillator of the last layer at the tokens that are no padding, (·, n); None where there are none."""
        model, found = subject.model, []
        with evaluating(model):
            for batch in subject.first_examples("validation", self.config.examples):
                diagnostics = model(batch.inputs, diagnostics=True).diagnostics
                if not diagnostics or "pull" not in diagnostics[-1]:
                    break
                pull = diagnostics[-1]["pull"].transpose(1, 2)
                padding = model.context(batch.inputs).key_padding_mask
                real = pull.flatten(0, 1) if padding is None else pull[~padding]
                found.append(real.flatten(0, -2).double())
        return torch.cat(found) if found else None

    def _measured(self, value: float | None, name: str, label: str, count: int) -> Measurement:
        return Measurement.model_validate(
            {
                "value": value,
                "unit": "fraction",
                "label": label,
                "direction": "lower" if name.startswith("apparent") else "higher",
                "n": count,
                "method": "unavailable" if value is None else "measured",
                "reason": "unavailable: nothing pulls oscillators to a fixed point"
                if value is None
                else None,
            }
        )


def distances_over_time(pulls: Tensor, start: Tensor, horizons: list[float], tolerance: float) -> Tensor:
    """‖z(T) − h/‖h‖‖ of oscillators that start at `start` (starts, ·, n) under `pulls` (·, n), (horizons, starts, ·).

    Every oscillator is let go at the same time; a solver chooses its steps for all together.
    """
    from torchdiffeq import odeint

    from oscbench.ops.fixed_query.ode import flow, unit

    times = torch.tensor([0.0, *horizons], dtype=pulls.dtype, device=pulls.device)
    path = odeint(lambda _, z: flow(pulls, z), start, times, method="dopri5", rtol=tolerance, atol=tolerance)
    rest = torch.nn.functional.normalize(pulls, dim=-1)
    distances: Tensor = (unit(path[1:]) - rest).norm(dim=-1)
    return distances


measure = Settling

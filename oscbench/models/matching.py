"""Matching: move the MLP's hidden units until a model costs what the reference model costs.

One hidden unit is about 0.3 % of a small model, one width step is 50 %: so it is the hidden units that move. Both modes are linear in
them, so two counts on the meta device solve the equation, and the residual is recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch

from oscbench.models.backbones import Backbone

Mode = Literal["none", "params", "flops"]
Build = Callable[[int | None], Backbone]


class MatchingError(ValueError):
    """No number of hidden units brings the model within the tolerance."""


@dataclass(frozen=True)
class Matched:
    """What the solver chose: hidden units, and how far the model is from its target (value/target - 1)."""

    by: Mode
    hidden: int
    target: float | None = None
    value: float | None = None
    residual: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a record."""
        return dict(vars(self))


def num_parameters(model: torch.nn.Module) -> int:
    """Parameters, counted once each."""
    return sum(parameter.numel() for parameter in model.parameters())


def match(by: Mode, build: Build, build_reference: Build, tolerance: float = 0.01) -> Matched:
    """Hidden units with which a model costs what the reference does.

    Args:
        by: `params`, `flops` (forward, a sample) or `none`.
        build: makes the model with so many hidden units (None: as its settings say).
        build_reference: the same for the reference mechanism.
        tolerance: largest allowed |residual|.

    Raises:
        MatchingError: the closest model is further away than the tolerance.
    """
    with torch.device("meta"):
        usual = build(None).trunk.hidden
        if by == "none":
            return Matched(by, usual)
        count = num_parameters if by == "params" else _flops
        target = count(build_reference(None))
        one, two = count(build(1)), count(build(2))
        hidden = max(1, round((target - one) / (two - one)) + 1)
        value = count(build(hidden))
    residual = value / target - 1.0
    if abs(residual) > tolerance:
        raise MatchingError(
            f"matching by {by}: the nearest model has {value:,} against {target:,} ({residual:+.1%}, "
            f"tolerance {tolerance:.1%}) at {hidden} hidden units"
        )
    return Matched(by, hidden, target, value, residual)


def _flops(model: Backbone) -> int:
    return model.flops()

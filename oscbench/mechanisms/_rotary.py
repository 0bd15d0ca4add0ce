"""Starting angles from positions, for the mechanisms whose phases begin there."""

from __future__ import annotations

import torch
from torch import Tensor

from oscbench.mechanisms import Positions, Shape
from oscbench.ops.phases import rotary_angles

ROTARY_BASES = {1: 10_000.0, 2: 20.0}
"""Base of the frequencies by the number of axes: RoFormer over sequences, KoPE over images."""


def starting_angles(positions: Positions, shape: Shape, base: float | None, width: int) -> Tensor:
    """Rotary angles (N, width/2) in float64 [rad]; `base` None takes the one that fits the number of axes."""
    base = base or ROTARY_BASES[shape.axes]
    return positions.keep(
        ("angles", base, width),
        lambda: rotary_angles(positions.coordinates, positions.special, width, base),
    )


def starting_waves(
    positions: Positions, shape: Shape, base: float | None, width: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Cosines and sines of `starting_angles`, taken in float64 and then cast."""

    def make() -> tuple[Tensor, Tensor]:
        angles = starting_angles(positions, shape, base, width)
        return angles.cos().to(dtype), angles.sin().to(dtype)

    return positions.keep(("waves", base or ROTARY_BASES[shape.axes], width, dtype), make)

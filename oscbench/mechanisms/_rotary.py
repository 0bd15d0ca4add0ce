"""Starting angles from positions, for the mechanisms whose phases begin there."""

from __future__ import annotations

from torch import Tensor

from oscbench.mechanisms import Positions, Shape
from oscbench.ops.phases import rotary_angles

ROTARY_BASES = {1: 10_000.0, 2: 20.0}
"""Base of the frequencies by the number of axes: RoFormer over sequences, KoPE over images."""


def starting_angles(positions: Positions, shape: Shape, base: float | None, width: int) -> Tensor:
    """Rotary angles (N, width/2) in float64 [rad]; `base` None takes the one that fits the number of axes."""
    return rotary_angles(positions.coordinates, positions.special, width, base or ROTARY_BASES[shape.axes])

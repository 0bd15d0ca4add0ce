"""Where oscillators that also turn by themselves are after a time, exactly: no solver, no step.

ż = A z + (I − z zᵀ) h, A antisymmetric, keeps ‖z‖ = 1. With z = x/s it is the shadow of a linear flow in one more dimension,
(ẋ, ṡ) = (A x + h s, hᵀ x), since ẋ/s − z ṡ/s = A z + h − z hᵀ z; x stays on the cone ‖x‖ = s. So z(T) is the direction of the first n
coordinates of e^{GT} (z(0), 1), G = [[A, h], [hᵀ, 0]]. That the flow acts by Möbius transformations is known of the Kuramoto model on spheres
(Lipton, Mirollo, Strogatz, arXiv 1907.07150).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize


def turned(start: Tensor, pull: Tensor, turning: Tensor, horizon: float) -> Tensor:
    """z(T) of ż = A z + (I − z zᵀ) h.

    e^{GT} comes of k squarings of e^{GT/2ᵏ}, whose exponent has norm 1 or less; since only a direction is asked for, each square is
    scaled, and nothing overflows however long the time. In float64, as each squaring doubles a rounding's share.

    Args:
        start: z(0), unit vectors, (…, n).
        pull: h, (…, n).
        turning: A, antisymmetric, broadcastable to (…, n, n) [1/time].
        horizon: T [time].
    """
    size = start.shape[-1]
    h = pull.double()
    generator = h.new_zeros(*h.shape[:-1], size + 1, size + 1)
    generator[..., :size, :size] = turning
    generator[..., :size, size] = h
    generator[..., size, :size] = h
    generator *= horizon
    longest = float(generator.norm(dim=(-2, -1)).amax())
    squarings = max(0, math.ceil(math.log2(longest))) if 0 < longest < math.inf else 0
    power = torch.linalg.matrix_exp(generator / 2**squarings)
    for _ in range(squarings):
        power = power @ power
        power /= power.abs().amax(dim=(-2, -1), keepdim=True)
    lifted = torch.cat([start.double(), h.new_ones(*h.shape[:-1], 1)], dim=-1)
    return normalize((power @ lifted[..., None])[..., :size, 0], dim=-1).to(start)

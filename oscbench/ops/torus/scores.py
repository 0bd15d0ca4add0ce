"""The torus score: drift as angles that grow with the index, and the score as a dot product of width 2n."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from oscbench.ops import triton_tools
from oscbench.ops.dispatch import Call
from oscbench.ops.phases import at_least_float32, rotate_parts


class Features(NamedTuple):
    """Torus attention as softmax attention of width 2n: q·k is the score, v holds (cos θ, sin θ)."""

    q: Tensor
    k: Tensor
    v: Tensor

    def tangent(self, means: Tensor) -> Tensor:
        """Δ = S cos θ - C sin θ from the means (C, S)."""
        if _in_kernels(self.v):
            from oscbench.ops.torus import triton_waves

            made: Tensor = triton_waves.tangent(means, self.v)
            return made
        cos, sin = self.v.chunk(2, dim=-1)
        mean_cos, mean_sin = means.to(self.v.dtype).chunk(2, dim=-1)
        return mean_sin * cos - mean_cos * sin


def _in_kernels(x: Tensor) -> bool:
    """Whether Triton makes features and tangent."""
    return triton_tools.may_serve(x.device) and triton_tools.why_not(Call(x.device, x.dtype)) is None


def drift_angles(drift: Tensor, num_tokens: int) -> Tensor:
    """Ready angles of a drift, float64: (n,) [rad per index] becomes (N, n), anything wider is ready."""
    drift = drift.to(torch.float64)
    if drift.dim() == 1:
        index = torch.arange(num_tokens, dtype=torch.float64, device=drift.device)
        return index[:, None] * drift
    return drift


def features(theta: Tensor, gate: Tensor, drift: Tensor | None, lag: Tensor | None) -> Features:
    """(g cos φ', g sin φ'), (cos φ, sin φ) and (cos θ, sin θ), each (B, H, N, 2n) in at least float32.

    cos(a - b) = cos a cos b + sin a sin b makes the score a dot product; φ = θ + drift and φ' = φ + lag are
    turned by angle addition, so that a large angle costs no digits.
    """
    wide = at_least_float32(theta)
    cos, sin = wide.cos(), wide.sin()
    if _in_kernels(theta):
        return _in_one_kernel(cos, sin, gate, drift, lag)
    key_cos, key_sin = cos, sin
    if drift is not None:
        angles = drift_angles(drift, theta.shape[-2])
        key_cos, key_sin = rotate_parts(cos, sin, angles.cos().to(wide.dtype), angles.sin().to(wide.dtype))
    query_cos, query_sin = key_cos, key_sin
    if lag is not None:
        angle = at_least_float32(lag).to(wide.dtype)
        query_cos, query_sin = rotate_parts(key_cos, key_sin, angle.cos(), angle.sin())
    gate = gate.to(wide.dtype)
    return Features(
        torch.cat((gate * query_cos, gate * query_sin), dim=-1),
        torch.cat((key_cos, key_sin), dim=-1),
        torch.cat((cos, sin), dim=-1),
    )


def _in_one_kernel(
    cos: Tensor, sin: Tensor, gate: Tensor, drift: Tensor | None, lag: Tensor | None
) -> Features:
    from oscbench.ops.torus.triton_waves import waves

    turns: list[Tensor | None] = [None] * 4
    if drift is not None:
        angles = drift_angles(drift, cos.shape[-2])
        turns[:2] = angles.cos().float(), angles.sin().float()
    if lag is not None:
        turns[2:] = lag.float().cos(), lag.float().sin()
    return Features(*waves(cos, sin, gate.float(), *turns))

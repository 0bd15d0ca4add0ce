"""Torus attention as exactly one fused attention of width 2n.

cos(a - b) = cos a cos b + sin a sin b makes the score a dot product of (g cos φ, g sin φ) with (cos φ, sin φ);
the mean of sin(θ_u - θ_t) is S cos θ_t - C sin θ_t with (C, S) the attention over values (cos θ, sin θ).
"""

from __future__ import annotations

import torch
from torch import Tensor

from oscbench.ops import fused
from oscbench.ops.phases import at_least_float32, rotate_parts
from oscbench.ops.torus.scores import drift_angles


def run(
    theta: Tensor,
    gate: Tensor,
    *,
    drift: Tensor | None,
    lag: Tensor | None,
    include_self: bool,
    is_causal: bool,
    key_padding_mask: Tensor | None,
) -> Tensor:
    """The update of every angle, memory linear in N."""
    dtype = theta.dtype
    wide = at_least_float32(theta)
    cos, sin = wide.cos(), wide.sin()
    key_cos, key_sin = cos, sin
    if drift is not None:
        angles = drift_angles(drift, theta.shape[-2])
        key_cos, key_sin = rotate_parts(cos, sin, angles.cos().to(wide.dtype), angles.sin().to(wide.dtype))
    query_cos, query_sin = key_cos, key_sin
    if lag is not None:
        angle = at_least_float32(lag).to(wide.dtype)
        query_cos, query_sin = rotate_parts(key_cos, key_sin, angle.cos(), angle.sin())
    gate = gate.to(wide.dtype)
    # With self the difference below is small against its terms, and half precision would leave none of its digits.
    compute = wide.dtype if include_self else dtype
    means = fused.attention(
        torch.cat((gate * query_cos, gate * query_sin), dim=-1).to(compute),
        torch.cat((key_cos, key_sin), dim=-1).to(compute),
        torch.cat((cos, sin), dim=-1).to(compute),
        scale=1.0,
        is_causal=is_causal,
        key_padding_mask=key_padding_mask,
        include_self=include_self,
    )
    mean_cos, mean_sin = means.to(wide.dtype).chunk(2, dim=-1)
    return (mean_sin * cos - mean_cos * sin).to(dtype)

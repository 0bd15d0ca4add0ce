"""The Kuramoto step as one fused attention over values (cos, sin)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from oscbench.ops import fused
from oscbench.ops.kuramoto import step
from oscbench.ops.phases import at_least_float32, normalise_phases


def run(
    q: Tensor,
    k: Tensor,
    cos: Tensor,
    sin: Tensor,
    *,
    gamma: float | Tensor,
    is_causal: bool,
    key_padding_mask: Tensor | None,
    attend: fused.Attend = scaled_dot_product_attention,
) -> tuple[Tensor, Tensor]:
    """Both means come from one attention of width d; memory linear in N."""
    default = attend is scaled_dot_product_attention
    if default and key_padding_mask is None and step.serves(q, cos):
        return step.step(q, k, cos, sin, gamma, is_causal)
    dtype = cos.dtype
    cos, sin = at_least_float32(cos), at_least_float32(sin)
    cos, sin = cos.expand(*q.shape[:-1], -1), sin.expand(*q.shape[:-1], -1)
    means = fused.attention(
        q,
        k,
        torch.cat((cos, sin), dim=-1).to(q.dtype),
        scale=q.shape[-1] ** -0.5,
        is_causal=is_causal,
        key_padding_mask=key_padding_mask,
        attend=attend,
    )
    mean_cos, mean_sin = at_least_float32(means).to(cos.dtype).chunk(2, dim=-1)
    # The radial part is taken away as written, not as a rotation by C sin - S cos: that is the same for unit
    # phases only, and bfloat16 phases are unit to three digits.
    along = mean_cos * cos + mean_sin * sin
    new_cos, new_sin = normalise_phases(
        cos + gamma * (mean_cos - along * cos), sin + gamma * (mean_sin - along * sin)
    )
    return new_cos.to(dtype), new_sin.to(dtype)

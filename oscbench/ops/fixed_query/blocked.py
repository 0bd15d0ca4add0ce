"""Fixed-query attention, memory linear in N: the pull streams over tiles, the read-out is linear attention.

For p = 1, Σ_j (1 + x·r_j) v_j is linear attention with features (1, x) and (1, r); for p = 2, their products.
For p = 4 the polynomial has C(d_osc + 4, 4) features and the read-out streams over tiles instead.
"""

from __future__ import annotations

from math import comb

import torch
from torch import Tensor

from oscbench.ops.fixed_query.dense import sums_over_pairs
from oscbench.ops.fixed_query.linear import linear_attention
from oscbench.ops.masking import silence
from oscbench.ops.phases import at_least_float32

NORM_EPSILON = 1e-8
SUM_EPSILON = 1e-8


def settle(h: Tensor) -> Tensor:
    """x* = h/‖h‖, 0 where nobody pulls."""
    return h * torch.rsqrt((h * h).sum(-1, keepdim=True).clamp_min(NORM_EPSILON**2))


def with_one(x: Tensor) -> Tensor:
    """(1, x): a constant channel in front."""
    return torch.nn.functional.pad(x, (1, 0), value=1.0)


def products(x: Tensor) -> Tensor:
    """Features whose dot product is (1 + x·r)²: all z_a z_b, a ≤ b, of z = (1, x), times √2 where a ≠ b."""
    z = with_one(x)
    first, second = torch.triu_indices(z.shape[-1], z.shape[-1], device=x.device)
    twice = (first != second).to(z.dtype)
    return z[..., first] * z[..., second] * torch.sqrt(1.0 + twice)


def read_out(state: Tensor, anchors: Tensor, v: Tensor, exponent: int, is_causal: bool) -> Tensor:
    """Σ_j (1 + x_i·r_j)^p v_j, whose last channel is the sum of the weights where v carries a 1 there."""
    width, tokens = state.shape[-1], state.shape[-2]
    features = 4 * comb(width + exponent, exponent) * v.shape[-1]
    sums: Tensor
    if exponent == 1:
        sums = linear_attention(with_one(state), with_one(anchors), v, is_causal)
    elif exponent == 2 and features < 2 * tokens * (width + v.shape[-1]):
        sums = linear_attention(products(state), products(anchors), v, is_causal)
    else:
        sums = sums_over_pairs(state, anchors, v, f"power{exponent}", is_causal)
    return sums


def run(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    anchors: Tensor,
    *,
    coupling: str,
    exponent: int,
    mask_readout: bool,
    is_causal: bool,
    key_padding_mask: Tensor | None,
) -> Tensor:
    """Pull, settle, read out, in at least float32."""
    assert mask_readout, "dispatch sends the published read-out to the reference"
    dtype = v.dtype
    wide = torch.promote_types(at_least_float32(q).dtype, torch.float32)
    q, k, v = (x.to(wide) for x in (q, silence(k, key_padding_mask), silence(v, key_padding_mask)))
    anchors = anchors.to(wide).expand(q.shape[0], -1, -1, -1)
    # Padding pulls nobody: its anchor is 0 where anchors are summed. It counts for nobody: its 1 is 0.
    h = sums_over_pairs(q * q.shape[-1] ** -0.5, k, silence(anchors, key_padding_mask), coupling, is_causal)
    counted = torch.cat((v, silence(torch.ones_like(v[..., :1]), key_padding_mask)), dim=-1)
    sums = read_out(settle(h), anchors, counted, exponent, is_causal)
    return (sums[..., :-1] / sums[..., -1:].clamp_min(SUM_EPSILON)).to(dtype)

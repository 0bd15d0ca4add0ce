"""Fixed-query attention in Triton kernels, for CUDA: for p = 1 one kernel, else the pull and (p = 4) the read-out.

The pull runs in the inputs' dtype with float32 sums. h has a direction to settle into, so it is kept in
float32, and the read-out is linear attention in float32 as in `blocked`: its cost is linear in N.
"""

from __future__ import annotations

import torch
from torch import Tensor

from oscbench.ops.fixed_query.blocked import SUM_EPSILON, read_out, settle
from oscbench.ops.fixed_query.triton_fused import settle_triton
from oscbench.ops.fixed_query.triton_pairwise import pairwise_triton
from oscbench.ops.masking import silence


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
    """Pull, settle, read out."""
    assert mask_readout, "dispatch sends the published read-out to the reference"
    dtype = v.dtype
    k, v = silence(k, key_padding_mask), silence(v, key_padding_mask)
    anchors = anchors.float()
    spread = anchors.expand(q.shape[0], -1, -1, -1)
    pulling = silence(spread, key_padding_mask).to(dtype)
    scale = q.shape[-1] ** -0.5
    if exponent == 1:
        heard = q.new_ones(q.shape[0], q.shape[2], dtype=torch.float32)
        if key_padding_mask is not None:
            heard = heard.masked_fill(key_padding_mask, 0.0)
        result: Tensor = settle_triton(q, k, pulling, v, anchors, heard, scale, coupling, is_causal)[0]
        return result
    h = pairwise_triton(q, k, pulling, scale, coupling, is_causal)
    v = v.float()
    counted = torch.cat((v, silence(torch.ones_like(v[..., :1]), key_padding_mask)), dim=-1)
    if exponent == 4:
        sums = pairwise_triton(settle(h), spread, counted, 1.0, "power4", is_causal)
    else:
        sums = read_out(settle(h), spread, counted, exponent, is_causal)
    out: Tensor = (sums[..., :-1] / sums[..., -1:].clamp_min(SUM_EPSILON)).to(dtype)
    return out

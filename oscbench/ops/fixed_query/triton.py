"""Fixed-query attention in Triton kernels, for CUDA: for p = 1 one kernel, else the pull and (p = 4) the read-out.

The pull runs in the inputs' dtype with float32 sums. h has a direction to settle into, so it is kept in
float32, and the read-out is linear attention in float32 as in `blocked`: its cost is linear in N.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from oscbench.ops.fixed_query.blocked import NORM_EPSILON, SUM_EPSILON, read_out, settle, with_one
from oscbench.ops.fixed_query.linear import linear_attention_backward, linear_attention_flops
from oscbench.ops.fixed_query.triton_fused_kernel import CHUNK, settle_kernel
from oscbench.ops.fixed_query.triton_pairwise import (
    pairwise_triton,
    pairwise_triton_backward,
    pairwise_triton_flops,
    settings,
)
from oscbench.ops.masking import silence
from oscbench.ops.running_sums import running_sum
from oscbench.ops.triton_tools import block_width, flat, grid


def states(anchors: Tensor, counted: Tensor, is_causal: bool) -> Tensor:
    """Σ_j (1, r_j)ᵀ (v_j, 1): over all senders (B, H, 1, 1 + d_osc, d_v + 1), or causal over those before each chunk."""
    features = with_one(anchors)
    if not is_causal:
        return (features.mT @ counted)[:, :, None].contiguous()
    short = -counted.shape[-2] % CHUNK
    in_chunks = [
        torch.nn.functional.pad(x, (0, 0, 0, short)).unflatten(-2, (-1, CHUNK)) for x in (features, counted)
    ]
    through = running_sum(in_chunks[0].mT @ in_chunks[1], 2)
    return torch.cat((torch.zeros_like(through[:, :, :1]), through[:, :, :-1]), dim=2)


def count(v: Tensor, heard: Tensor) -> Tensor:
    """(v, 1) in float32, the 1 being 0 for what is not heard."""
    ones = heard[:, None, :, None].expand(-1, v.shape[1], -1, -1)
    return torch.cat((v.float(), ones), dim=-1)


@torch.library.custom_op("oscbench::settle_triton", mutates_args=())
def settle_triton(
    q: Tensor,
    k: Tensor,
    c: Tensor,
    v: Tensor,
    anchors: Tensor,
    heard: Tensor,
    scale: float,
    function: str,
    is_causal: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Σ_j (1 + x_i·r_j) v_j / T_i with x_i the direction of h_i = Σ_j f(q_i·k_j scale) c_j.

    Args:
        q: (B, H, N, d), float32, bfloat16 or float16.
        k: (B, H, N, d).
        c: what pulls, the anchors with 0 for padding, (B, H, N, d_osc) of the same dtype.
        v: values, 0 for padding, (B, H, N, d_v).
        anchors: r, (H, N, d_osc) float32.
        heard: (B, N) float32, 1 or 0 for padding.
        scale: factor on the scores.
        function: as for `pairwise_triton`.
        is_causal: leave out j > i.

    Returns:
        The result in v's dtype, h and T = Σ_j (1 + x_i·r_j), not below 1e-8, in float32.
    """
    given = [flat(q), flat(k), flat(c), flat(v), anchors.contiguous(), heard.contiguous()]
    sums = states(anchors.expand(q.shape[0], -1, -1, -1), count(v, heard), is_causal)
    out = torch.empty(v.shape, dtype=v.dtype, device=v.device)
    h = torch.empty(c.shape, dtype=torch.float32, device=c.device)
    total = torch.empty(c.shape[:3], dtype=torch.float32, device=c.device)
    problems, tokens = given[0].shape[:2]
    width = v.shape[-1]
    settle_kernel[grid(problems, tokens)](
        *given, sums, out, h, total, tokens, q.shape[1], sums.shape[2], scale,
        V=width, BLOCK_V=block_width(width), STEP=CHUNK,
        **settings(q.dtype, q.shape[-1], c.shape[-1], function, is_causal, scale),
    )  # fmt: skip
    return out, h, total


@settle_triton.register_fake
def _(q: Tensor, k: Tensor, c: Tensor, v: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    del q, k, rest
    out = torch.empty(v.shape, dtype=v.dtype, device=v.device)
    h = torch.empty(c.shape, dtype=torch.float32, device=c.device)
    return out, h, torch.empty(c.shape[:3], dtype=torch.float32, device=c.device)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    *tensors, ctx.scale, ctx.function, ctx.is_causal = inputs
    ctx.save_for_backward(*tensors, *output)
    ctx.mark_non_differentiable(*output[1:])


def _differentiate(ctx: Any, grad: Tensor, *unused: Tensor | None) -> tuple[Any, ...]:
    del unused
    q, k, c, v, anchors, heard, out, h, total = ctx.saved_tensors
    slopes = grad.float() / total[..., None]
    held = (total > SUM_EPSILON)[..., None]
    down = torch.where(held, -(slopes * out.float()).sum(-1, keepdim=True), 0.0)
    x = settle(h)
    spread = with_one(anchors.expand(q.shape[0], -1, -1, -1))
    counted = count(v, heard)
    d_x, d_anchors, d_counted = linear_attention_backward(
        torch.cat((slopes, down), dim=-1), with_one(x), spread, counted, ctx.is_causal
    )
    d_x = d_x[..., 1:]
    square = (h * h).sum(-1, keepdim=True)
    along = torch.where(square >= NORM_EPSILON**2, (d_x * x).sum(-1, keepdim=True), 0.0)
    d_h = (d_x - along * x) * torch.rsqrt(square.clamp_min(NORM_EPSILON**2))
    d_q, d_k, d_c = pairwise_triton_backward(d_h, q, k, c, ctx.scale, ctx.function, ctx.is_causal)
    d_v = d_counted[..., :-1].to(v.dtype)
    return d_q, d_k, d_c, d_v, d_anchors[..., 1:].sum(dim=0), None, None, None, None


settle_triton.register_autograd(_differentiate, setup_context=_remember)


@register_flop_formula(torch.ops.oscbench.settle_triton)
def _settle_flops(q: Any, k: Any, c: Any, v: Any, *rest: Any, **named: Any) -> int:
    """The pull and the read-out; the backward pass is made of ops that count themselves."""
    features, counted = (*q[:3], c[-1] + 1), (*v[:3], v[-1] + 1)
    function = rest[3]
    return pairwise_triton_flops(q, k, c, 1.0, function) + linear_attention_flops(features, None, counted)


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

"""Torus attention through Triton kernels that leave the diagonal out: CUDA, or the CPU in Triton's interpreter."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from oscbench.ops.masking import silence
from oscbench.ops.torus import triton_kernels
from oscbench.ops.torus.scores import features
from oscbench.ops.torus.sink import finite_or, remember, sink_attention_backward_flops, sink_attention_flops
from oscbench.ops.triton_tools import flat, grid, padding_bytes, product_settings


def settings(q: Tensor, v: Tensor, padding: Tensor | None, is_causal: bool) -> dict[str, Any]:
    """The kernels' constants."""
    return {**product_settings(q, v, is_causal), "PADDED": padding is not None}


@torch.library.custom_op("oscbench::sink_attention_triton", mutates_args=())
def sink_attention_triton(
    q: Tensor, k: Tensor, v: Tensor, sink: Tensor, padding: Tensor | None, is_causal: bool
) -> tuple[Tensor, Tensor]:
    """As `oscbench::sink_attention`, for q, k and v of one dtype, float32, bfloat16 or float16; padding goes with causality too.

    Args:
        q: (B, H, N, d).
        k: (B, H, N, d), finite in padding.
        v: (B, H, N, m), finite in padding.
        sink: the silent self's score, (B, H, N) float32; -inf leaves self out.
        padding: (B, N) bool, True = padding, or None.
        is_causal: only u < t.

    Returns:
        The average (B, H, N, m) in v's dtype, 0 for who hears nobody; and the log of the denominator, (B, H, N) float32, which carries no
        gradient.
    """
    given = [flat(q), flat(k), flat(v), sink.contiguous()]
    out, lse = torch.empty(v.shape, dtype=v.dtype, device=v.device), torch.empty_like(given[3])
    problems, tokens = given[0].shape[:2]
    triton_kernels.forward_kernel[grid(problems, tokens)](
        *given,
        padding_bytes(padding, lse),
        out,
        lse,
        tokens,
        q.shape[1],
        **settings(q, v, padding, is_causal),
    )
    return out, lse


@sink_attention_triton.register_fake
def _(
    q: Tensor, k: Tensor, v: Tensor, sink: Tensor, padding: Tensor | None, is_causal: bool
) -> tuple[Tensor, Tensor]:
    del q, k, padding, is_causal
    out = torch.empty(v.shape, dtype=v.dtype, device=v.device)
    return out, torch.empty(sink.shape, dtype=sink.dtype, device=sink.device)


@torch.library.custom_op("oscbench::sink_attention_triton_backward", mutates_args=())
def sink_attention_triton_backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    along: Tensor,
    lse: Tensor,
    padding: Tensor | None,
    is_causal: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `sink_attention_triton` to q, k and v, in their dtype; `along` is Σ grad·out of each token, (B, H, N) float32."""
    given = [
        flat(q),
        flat(k),
        flat(v),
        flat(grad.to(v.dtype)),
        along.contiguous(),
        finite_or(lse).contiguous(),
    ]
    grads = [torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in (q, k, v)]
    problems, tokens = given[0].shape[:2]
    programs, constants = grid(problems, tokens), settings(q, v, padding, is_causal)
    given.append(padding_bytes(padding, along))
    triton_kernels.row_gradient_kernel[programs](*given, grads[0], tokens, q.shape[1], **constants)
    triton_kernels.column_gradient_kernel[programs](*given, *grads[1:], tokens, q.shape[1], **constants)
    return grads[0], grads[1], grads[2]


@sink_attention_triton_backward.register_fake
def _(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    along: Tensor,
    lse: Tensor,
    padding: Tensor | None,
    is_causal: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    del grad, along, lse, padding, is_causal
    like = [torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in (q, k, v)]
    return like[0], like[1], like[2]


def _differentiate(ctx: Any, grad: Tensor, _: Any) -> tuple[Any, ...]:
    q, k, v, sink, padding, out, lse = ctx.saved_tensors
    along = (grad.float() * out.float()).sum(-1)
    grads = sink_attention_triton_backward(grad, q, k, v, along, lse, padding, ctx.is_causal)
    # The sink's value is 0, so its slope is only what it takes from the others.
    return (*grads, -torch.exp(sink - finite_or(lse)) * along, None, None)


sink_attention_triton.register_autograd(_differentiate, setup_context=remember)
register_flop_formula(torch.ops.oscbench.sink_attention_triton)(sink_attention_flops)
register_flop_formula(torch.ops.oscbench.sink_attention_triton_backward)(sink_attention_backward_flops)


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
    """Δ = Δ_others · sigmoid(lse_others - s_tt); without self s_tt = -inf."""
    made = features(theta, gate, drift, lag)
    # Products in the angles' own precision: nothing large is subtracted. A token's own score is a number a token, so it stays wide.
    q, k, v = (x.to(theta.dtype) for x in made)
    sink = (made.q * made.k).sum(-1) if include_self else torch.full_like(made.q[..., 0], -torch.inf)
    if key_padding_mask is not None:
        # A padded receiver is not heard by itself either.
        sink = sink.masked_fill(key_padding_mask[:, None], -torch.inf)
        k, v = silence(k, key_padding_mask), silence(v, key_padding_mask)
    means, _ = sink_attention_triton(q, k, v, sink, key_padding_mask, is_causal)
    return made.tangent(means).to(theta.dtype)

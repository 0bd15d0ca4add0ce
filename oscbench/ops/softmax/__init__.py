"""Softmax attention, the baseline of every comparison."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from oscbench.ops import checks, memory_efficient
from oscbench.ops.dispatch import Backend, call_of
from oscbench.ops.op import Draw, Op, OpSize, Sample
from oscbench.ops.operations import Operations, pair_products, softmax_stage


def _reference() -> Callable[..., Any]:
    from oscbench.ops.softmax import reference

    return reference.run


def _sdpa() -> Callable[..., Any]:
    from oscbench.ops.softmax import sdpa

    return sdpa.run


def _counted(heads: int, tokens: int, width: int, *, value_width: int | None = None) -> Operations:
    """Scores and values, so 2BHN²(d + d_v) FLOPs, which is 4BHN²d; and a softmax."""
    channels = width + (width if value_width is None else value_width)
    return pair_products(heads, tokens, channels) + softmax_stage(heads, tokens)


def _sampled(size: OpSize, draw: Draw) -> Sample:
    return Sample({name: draw(*size.shape) for name in ("q", "k", "v")})


OP = Op(
    "softmax_attention",
    [
        Backend("reference", _reference, note="the equation, N x N scores"),
        Backend("sdpa", _sdpa, note="torch scaled_dot_product_attention"),
        memory_efficient.backend_of("oscbench.ops.softmax.sdpa"),
    ],
    automatic=lambda call: ["sdpa"],
    counted=_counted,
    sampled=_sampled,
    kernels_of="sdpa",
    rank=0,
)


def softmax_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    scale: float | None = None,
    is_causal: bool = False,
    key_padding_mask: Tensor | None = None,
    backend: str = "auto",
) -> Tensor:
    """softmax(q kᵀ · scale) v, eq. 1 of "Attention is all you need" (arXiv 1706.03762).

    Args:
        q: receivers, (B, H, N, d).
        k: senders, (B, H, N, d).
        v: what the senders say, (B, H, N, ·).
        scale: factor on the scores; 1/√d by default.
        is_causal: receiver i hears only senders j ≤ i.
        key_padding_mask: (B, N) bool, True = padding, which nobody hears.
        backend: `auto`, or one of `oscbench.ops.backends("softmax_attention")`.

    Returns:
        Like v. A token with nobody to hear gets 0.

    Raises:
        ValueError: shapes, dtypes or devices do not agree, or the backend cannot run this call.
    """
    name = OP.name
    checks.same_kind(name, q=q, k=k, v=v)
    checks.heads_tokens(name, q=q, k=k, v=v)
    checks.same_width(name, q=q, k=k)
    checks.padding(name, key_padding_mask, q)
    chosen = OP.choose(backend, call_of(q, is_causal=is_causal, key_padding_mask=key_padding_mask))
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    out: Tensor = chosen.load()(q, k, v, scale=scale, is_causal=is_causal, key_padding_mask=key_padding_mask)
    return out


op = OP

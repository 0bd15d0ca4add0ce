"""Attention over the others with a silent self, as the custom op `oscbench::sink_attention`.

A token's pull on itself is 0, so in the update its own score only takes weight away from the others: softmax
over the others and one more score, the sink, whose value is 0. Nothing large is subtracted, so a dominant
self costs no digits. With the log-sum-exp L of the others and the own score s it is
out = (attention over others)·sigmoid(L - s), and the backward pass is that of plain attention with log-sum-exp
log(e^L + e^s).

On the CPU the others' part is PyTorch's fused kernel, which returns L: one call with a mask that silences the diagonal, an
N × N matrix shared by all heads and kept; beyond `MASKED` tokens, where that would be large, receivers 1.. against senders ..N-2
and, where not causal, the same backwards. Elsewhere, and where padding stands between, tiles of rows in plain PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from oscbench.ops.fused import keep_nan

MASKED = 1024
"""Most tokens for which the diagonal is silenced by a mask (4 MB in float32)."""
_TILE_ELEMENTS = {"cpu": 1 << 19, "cuda": 1 << 26}


def _row_tiles(
    heads: int, tokens: int, device: torch.device, *, is_causal: bool
) -> Iterator[tuple[slice, slice]]:
    rows = min(tokens, max(16, _TILE_ELEMENTS.get(device.type, 1 << 19) // (heads * tokens)))
    for top in range(0, tokens, rows):
        bottom = min(top + rows, tokens)
        yield slice(top, bottom), slice(0, bottom if is_causal else tokens)


def _unheard(
    rows: slice, columns: slice, padding: Tensor | None, device: torch.device, *, is_causal: bool
) -> Tensor:
    """True where a receiver (row) does not hear a sender (column): itself, the future, padding."""
    receiver = torch.arange(rows.start, rows.stop, device=device)[:, None]
    sender = torch.arange(columns.start, columns.stop, device=device)
    unheard = (sender >= receiver if is_causal else sender == receiver)[None, None]
    return unheard if padding is None else unheard | padding[:, None, None, columns]


def finite_or(lse: Tensor) -> Tensor:
    """The log-sum-exp with +inf for those who hear nobody, so that their weights are 0."""
    return lse.masked_fill(lse == -torch.inf, torch.inf)


def _tiled(
    q: Tensor, k: Tensor, v: Tensor, sink: Tensor, padding: Tensor | None, is_causal: bool
) -> tuple[Tensor, Tensor]:
    out, lse = torch.empty_like(v, memory_format=torch.contiguous_format), torch.empty_like(sink)
    heads = q.shape[0] * q.shape[1]
    for rows, columns in _row_tiles(heads, q.shape[-2], q.device, is_causal=is_causal):
        scores = q[..., rows, :] @ k[..., columns, :].mT
        scores.masked_fill_(_unheard(rows, columns, padding, q.device, is_causal=is_causal), -torch.inf)
        lse[..., rows] = torch.logaddexp(scores.logsumexp(-1), sink[..., rows])
        weights = scores.sub_(finite_or(lse[..., rows])[..., None]).exp_()
        out[..., rows, :] = weights @ v[..., columns, :]
    return out, lse


def _tiled_backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    padding: Tensor | None,
    is_causal: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    grad_q, grad_k, grad_v = (torch.zeros_like(x, memory_format=torch.contiguous_format) for x in (q, k, v))
    along = (grad * out).sum(-1, keepdim=True)
    heads = q.shape[0] * q.shape[1]
    for rows, columns in _row_tiles(heads, q.shape[-2], q.device, is_causal=is_causal):
        own_q, own_k, own_grad = q[..., rows, :], k[..., columns, :], grad[..., rows, :]
        scores = own_q @ own_k.mT
        scores.masked_fill_(_unheard(rows, columns, padding, q.device, is_causal=is_causal), -torch.inf)
        weights = scores.sub_(finite_or(lse[..., rows])[..., None]).exp_()
        grad_v[..., columns, :] += weights.mT @ own_grad
        slopes = (own_grad @ v[..., columns, :].mT).sub_(along[..., rows, :]).mul_(weights)
        grad_q[..., rows, :] = slopes @ own_k
        grad_k[..., columns, :] += slopes.mT @ own_q
    return grad_q, grad_k, grad_v


_kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_kernel_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def _halves(tokens: int, is_causal: bool) -> list[bool]:
    """Which halves of the pairs there are: those before a token, and (reversed) those after it."""
    if tokens == 1:
        return []
    return [False] if is_causal else [False, True]


def _half(x: Tensor, backwards: bool, receivers: bool) -> Tensor:
    x = x.flip(-2) if backwards else x
    return x[..., 1:, :] if receivers else x[..., :-1, :]


def _whole(x: Tensor, backwards: bool, receivers: bool) -> Tensor:
    """A half's tensor with the row of 0 that it left out."""
    x = torch.nn.functional.pad(x, (0, 0, 1, 0) if receivers else (0, 0, 0, 1))
    return x.flip(-2) if backwards else x


def _silent_diagonal(q: Tensor) -> Tensor:
    """-inf on the diagonal of all pairs; a fake tensor's is not kept, since real calls could not use it."""
    make = _kept_diagonal if type(q) is Tensor else _diagonal
    return make(q.shape[-2], q.dtype)


def _diagonal(tokens: int, dtype: torch.dtype) -> Tensor:
    return torch.zeros(tokens, tokens, dtype=dtype, device="cpu").fill_diagonal_(-torch.inf)


_kept_diagonal = lru_cache(maxsize=8)(_diagonal)


def others(q: Tensor, k: Tensor, v: Tensor, is_causal: bool) -> tuple[Tensor, Tensor]:
    """Attention over the others and its log-sum-exp, -inf for who hears nobody; CPU, 2 ≤ N ≤ `MASKED`."""
    mask = _silent_diagonal(q)
    out, lse = _kernel(q, k, v, 0.0, is_causal, attn_mask=mask, scale=1.0)
    if is_causal:  # the kernel gives a row of silence 0, and 0 as its log-sum-exp
        lse[..., 0] = -torch.inf
    return out, lse


def others_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, is_causal: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `others`; with a sink's output and log-sum-exp, those of attention with that sink."""
    mask = _silent_diagonal(q)
    if is_causal:
        lse = finite_or(lse)
    made: tuple[Tensor, Tensor, Tensor] = _kernel_backward(
        grad, q, k, v, out, lse, 0.0, is_causal, attn_mask=mask, scale=1.0
    )
    return made


def _fused(q: Tensor, k: Tensor, v: Tensor, sink: Tensor, is_causal: bool) -> tuple[Tensor, Tensor]:
    if 1 < q.shape[-2] <= MASKED:
        out, part_lse = others(q, k, v, is_causal)
        lse = torch.logaddexp(part_lse, sink)
        out = (out * torch.exp(part_lse - finite_or(lse))[..., None]).contiguous()
        return keep_nan(out, q), lse.contiguous()
    lse, parts = sink.clone(), []
    for backwards in _halves(q.shape[-2], is_causal):
        part, part_lse = _kernel(
            _half(q, backwards, True),
            _half(k, backwards, False),
            _half(v, backwards, False),
            0.0,
            True,
            scale=1.0,
        )
        part_lse = torch.nn.functional.pad(part_lse, (1, 0), value=-torch.inf)
        part_lse = part_lse.flip(-1) if backwards else part_lse
        lse = torch.logaddexp(lse, part_lse)
        parts.append((_whole(part, backwards, True), part_lse))
    out = torch.zeros_like(v, memory_format=torch.contiguous_format)
    for part, part_lse in parts:
        out += part * torch.exp(part_lse - finite_or(lse))[..., None]
    return keep_nan(out, q), lse


def _fused_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, is_causal: bool
) -> tuple[Tensor, Tensor, Tensor]:
    if 1 < q.shape[-2] <= MASKED:
        parts = others_backward(grad, q, k, v, out, lse, is_causal)
        return parts[0].contiguous(), parts[1].contiguous(), parts[2].contiguous()
    totals = [torch.zeros_like(x, memory_format=torch.contiguous_format) for x in (q, k, v)]
    for backwards in _halves(q.shape[-2], is_causal):
        # The whole log-sum-exp and the whole output make each half's weights and slopes those of the whole.
        parts = _kernel_backward(
            _half(grad, backwards, True),
            _half(q, backwards, True),
            _half(k, backwards, False),
            _half(v, backwards, False),
            _half(out, backwards, True),
            _half(finite_or(lse)[..., None], backwards, True)[..., 0].contiguous(),
            0.0,
            True,
            scale=1.0,
        )
        for total, part, receivers in zip(totals, parts, (True, False, False), strict=True):
            total += _whole(part, backwards, receivers)
    return totals[0], totals[1], totals[2]


@torch.library.custom_op("oscbench::sink_attention", mutates_args=())
def sink_attention(
    q: Tensor, k: Tensor, v: Tensor, sink: Tensor, padding: Tensor | None, is_causal: bool
) -> tuple[Tensor, Tensor]:
    """Σ_{u ≠ t} e^{q_t·k_u} v_u / (e^{sink_t} + Σ_{u ≠ t} e^{q_t·k_u}), u < t where causal.

    Args:
        q: (B, H, N, d), float32 or float64.
        k: (B, H, N, d).
        v: (B, H, N, m).
        sink: the silent self's score, (B, H, N); -inf leaves self out.
        padding: (B, N) bool, True = padding, or None.
        is_causal: only u < t.

    Returns:
        The average (B, H, N, m), 0 for who hears nobody; and the log of the denominator, (B, H, N), which
        carries no gradient.
    """
    if q.device.type == "cpu" and padding is None:
        return _fused(q, k, v, sink, is_causal)
    return _tiled(q, k, v, sink, padding, is_causal)


@sink_attention.register_fake
def _(
    q: Tensor, k: Tensor, v: Tensor, sink: Tensor, padding: Tensor | None, is_causal: bool
) -> tuple[Tensor, Tensor]:
    del q, k, padding, is_causal
    return torch.empty_like(v, memory_format=torch.contiguous_format), torch.empty_like(sink)


@torch.library.custom_op("oscbench::sink_attention_backward", mutates_args=())
def sink_attention_backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    padding: Tensor | None,
    is_causal: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `sink_attention` to q, k and v."""
    if q.device.type == "cpu" and padding is None:
        return _fused_backward(grad, q, k, v, out, lse, is_causal)
    return _tiled_backward(grad, q, k, v, out, lse, padding, is_causal)


@sink_attention_backward.register_fake
def _(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    padding: Tensor | None,
    is_causal: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    del grad, out, lse, padding, is_causal
    like = [torch.empty_like(x, memory_format=torch.contiguous_format) for x in (q, k, v)]
    return like[0], like[1], like[2]


def remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    """Keep for the backward pass what went in and came out; no gradient flows into the log-sum-exp."""
    q, k, v, sink, padding, ctx.is_causal = inputs
    out, lse = output
    ctx.mark_non_differentiable(lse)
    ctx.save_for_backward(q, k, v, sink, padding, out, lse)


def _differentiate(ctx: Any, grad: Tensor, _: Any) -> tuple[Any, ...]:
    q, k, v, sink, padding, out, lse = ctx.saved_tensors
    grads = sink_attention_backward(grad, q, k, v, out, lse, padding, ctx.is_causal)
    # The sink's value is 0, so its slope is only what it takes from the others.
    share = torch.exp(sink - finite_or(lse))
    return (*grads, -share * (grad * out).sum(-1), None, None)


sink_attention.register_autograd(_differentiate, setup_context=remember)


def sink_attention_flops(q: Any, k: Any, v: Any, *args: Any, **kwargs: Any) -> int:
    """2BHN²(d + m), as any attention."""
    del k, args, kwargs
    batch, heads, tokens, width = (int(size) for size in q)
    return 2 * batch * heads * tokens * tokens * (width + int(v[-1]))


def sink_attention_backward_flops(grad: Any, *args: Any, **kwargs: Any) -> int:
    """Twice the forward."""
    del grad
    return 2 * sink_attention_flops(*args, **kwargs)


register_flop_formula(torch.ops.oscbench.sink_attention)(sink_attention_flops)
register_flop_formula(torch.ops.oscbench.sink_attention_backward)(sink_attention_backward_flops)

"""Linear attention Σ_j (a_i·b_j) c_j, linear in N, as the custom op `oscbench::linear_attention`.

Causal: chunks of tokens keep the sums of all earlier chunks, so a receiver reads one prefix state and only
the pairs within its own chunk are formed. The backward pass is three more linear attentions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from oscbench.ops.running_sums import running_sum

CHUNK = 128


def _everyone(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return a @ (b.mT @ c)


def _earlier(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Σ_{j ≤ i} (a_i·b_j) c_j."""
    tokens = a.shape[-2]
    chunk = min(CHUNK, tokens)
    whole = tokens - tokens % chunk
    out = torch.empty(*a.shape[:-1], c.shape[-1], dtype=c.dtype, device=c.device)
    in_chunks = [x[..., :whole, :].unflatten(-2, (-1, chunk)) for x in (a, b, c)]
    chunk_a, chunk_b, chunk_c = in_chunks
    sums = running_sum(chunk_b.mT @ chunk_c, -3)
    inside = (chunk_a @ chunk_b.mT).tril_() @ chunk_c
    inside[..., 1:, :, :] += chunk_a[..., 1:, :, :] @ sums[..., :-1, :, :]
    out[..., :whole, :] = inside.flatten(-3, -2)
    if whole < tokens:
        rest_a, rest_b, rest_c = (x[..., whole:, :] for x in (a, b, c))
        out[..., whole:, :] = (rest_a @ rest_b.mT).tril_() @ rest_c + rest_a @ sums[..., -1, :, :]
    return out


def _later(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Σ_{j ≥ i} (a_i·b_j) c_j."""
    return _earlier(a.flip(-2), b.flip(-2), c.flip(-2)).flip(-2)


@torch.library.custom_op("oscbench::linear_attention", mutates_args=())
def linear_attention(a: Tensor, b: Tensor, c: Tensor, is_causal: bool) -> Tensor:
    """Σ_j (a_i·b_j) c_j, j ≤ i where causal: a, b (B, H, N, F), c (B, H, N, m) -> (B, H, N, m)."""
    return _earlier(a, b, c) if is_causal else _everyone(a, b, c)


@linear_attention.register_fake
def _(a: Tensor, b: Tensor, c: Tensor, is_causal: bool) -> Tensor:
    del a, b, is_causal
    return torch.empty_like(c, memory_format=torch.contiguous_format)


@torch.library.custom_op("oscbench::linear_attention_backward", mutates_args=())
def linear_attention_backward(
    grad: Tensor, a: Tensor, b: Tensor, c: Tensor, is_causal: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `linear_attention` to a, b and c."""
    forwards, backwards = (_earlier, _later) if is_causal else (_everyone, _everyone)
    grad_a = forwards(grad, c, b)
    grad_b = backwards(c, grad, a)
    grad_c = backwards(b, a, grad)
    return grad_a, grad_b, grad_c


@linear_attention_backward.register_fake
def _(grad: Tensor, a: Tensor, b: Tensor, c: Tensor, is_causal: bool) -> tuple[Tensor, Tensor, Tensor]:
    del grad, is_causal
    like = [torch.empty_like(x, memory_format=torch.contiguous_format) for x in (a, b, c)]
    return like[0], like[1], like[2]


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    del output
    a, b, c, ctx.is_causal = inputs
    ctx.save_for_backward(a, b, c)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
    return (*linear_attention_backward(grad, *ctx.saved_tensors, ctx.is_causal), None)


linear_attention.register_autograd(_differentiate, setup_context=_remember)


def linear_attention_flops(a: Any, b: Any, c: Any, *args: Any, **kwargs: Any) -> int:
    """4BHN·F·m: one product builds the sums, one reads them; pairs within a chunk are not counted."""
    del b, args, kwargs
    batch, heads, tokens, features = a
    return int(4 * batch * heads * tokens * features * c[-1])


def linear_attention_backward_flops(grad: Any, *args: Any, **kwargs: Any) -> int:
    """Twice the forward."""
    del grad
    return 2 * linear_attention_flops(*args, **kwargs)


register_flop_formula(torch.ops.oscbench.linear_attention)(linear_attention_flops)
register_flop_formula(torch.ops.oscbench.linear_attention_backward)(linear_attention_backward_flops)

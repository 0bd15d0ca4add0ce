"""The custom op `oscbench::pairwise_triton`: Σ_j f(q_i·k_j scale) c_j by the kernels beside this file."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from oscbench.ops.fixed_query import pairwise, triton_kernels
from oscbench.ops.triton_tools import block_width, dot_type, flat, grid

FUNCTIONS = ("softplus", "relu", "elu", "power2", "power4")


def settings(
    dtype: torch.dtype, width: int, values: int, function: str, is_causal: bool, scale: float
) -> dict[str, Any]:
    """The kernels' constants. float32 products are three tf32 products each (`ieee` spills), never one.

    The scale goes into a block's own vectors where that loses nothing: in float32, and in half precision where it is a power of two.
    """
    return {
        "D": width,
        "M": values,
        "BLOCK_D": block_width(width),
        "BLOCK_C": block_width(values),
        "FUNCTION": FUNCTIONS.index(function),
        "CAUSAL": is_causal,
        "DOT": dot_type(dtype),
        "PRODUCT": "tf32x3",
        "PRECISE": dtype == torch.float32,
        "FOLD": dtype == torch.float32 or math.frexp(scale)[0] == 0.5,
    }


@torch.library.custom_op("oscbench::pairwise_triton", mutates_args=())
def pairwise_triton(q: Tensor, k: Tensor, c: Tensor, scale: float, function: str, is_causal: bool) -> Tensor:
    """Σ_j f(q_i·k_j scale) c_j, j ≤ i where causal, in float32.

    Args:
        q: (B, H, N, d), float32, bfloat16 or float16.
        k: (B, H, N, d).
        c: (B, H, N, m), of the same dtype.
        scale: factor on the scores.
        function: softplus, relu (plus 1e-3), elu (plus 1), power2 or power4 (of 1 + score, not below 0).
        is_causal: leave out j > i.
    """
    flat_q, flat_k, flat_c = flat(q), flat(k), flat(c)
    out = torch.empty(c.shape, dtype=torch.float32, device=c.device)
    constants = settings(q.dtype, q.shape[-1], c.shape[-1], function, is_causal, scale)
    problems, tokens = flat_q.shape[:2]
    triton_kernels.forward_kernel[grid(problems, tokens)](
        flat_q, flat_k, flat_c, out, tokens, scale, **constants
    )
    return out


@pairwise_triton.register_fake
def _(q: Tensor, k: Tensor, c: Tensor, scale: float, function: str, is_causal: bool) -> Tensor:
    del q, k, scale, function, is_causal
    return torch.empty(c.shape, dtype=torch.float32, device=c.device)


@torch.library.custom_op("oscbench::pairwise_triton_backward", mutates_args=())
def pairwise_triton_backward(
    grad: Tensor, q: Tensor, k: Tensor, c: Tensor, scale: float, function: str, is_causal: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `pairwise_triton` to q, k and c, in their dtype.

    A token's gradient is about 1/N of its output's, of which float16 keeps few digits: there it is multiplied up to 1 and the results, in
    float32, down again.
    """
    narrow = q.dtype == torch.float16
    top = grad.abs().amax().clamp_min(1e-30) if narrow else None
    given = [flat(q), flat(k), flat(c), flat((grad if top is None else grad / top).to(q.dtype))]
    grads = [
        torch.empty(x.shape, dtype=torch.float32 if narrow else x.dtype, device=x.device) for x in (q, k, c)
    ]
    constants = settings(q.dtype, q.shape[-1], c.shape[-1], function, is_causal, scale)
    problems, tokens = given[0].shape[:2]
    programs = grid(problems, tokens)
    triton_kernels.row_gradient_kernel[programs](*given, grads[0], tokens, scale, **constants)
    triton_kernels.column_gradient_kernel[programs](*given, grads[1], grads[2], tokens, scale, **constants)
    if top is not None:
        grads = [(one * top).to(q.dtype) for one in grads]
    return grads[0], grads[1], grads[2]


@pairwise_triton_backward.register_fake
def _(
    grad: Tensor, q: Tensor, k: Tensor, c: Tensor, scale: float, function: str, is_causal: bool
) -> tuple[Tensor, Tensor, Tensor]:
    del grad, scale, function, is_causal
    like = [torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in (q, k, c)]
    return like[0], like[1], like[2]


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    del output
    q, k, c, ctx.scale, ctx.function, ctx.is_causal = inputs
    ctx.save_for_backward(q, k, c)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    grads = pairwise_triton_backward(grad, *ctx.saved_tensors, ctx.scale, ctx.function, ctx.is_causal)
    return (*grads, None, None, None)


pairwise_triton.register_autograd(_differentiate, setup_context=_remember)


def pairwise_triton_flops(
    q: Any, k: Any, c: Any, scale: float, function: str, *args: Any, **named: Any
) -> int:
    """As for `oscbench::pairwise`."""
    del scale, args, named
    return pairwise.pairwise_flops(q, k, c, function)


def pairwise_triton_backward_flops(grad: Any, *args: Any, **kwargs: Any) -> int:
    """Twice the forward."""
    del grad
    return 2 * pairwise_triton_flops(*args, **kwargs)


register_flop_formula(torch.ops.oscbench.pairwise_triton)(pairwise_triton_flops)
register_flop_formula(torch.ops.oscbench.pairwise_triton_backward)(pairwise_triton_backward_flops)

"""Σ_j f(q_i·k_j) c_j without N × N memory: tiles are computed, used and forgotten, and again backwards.

This is the quadratic part of fixed-query attention: the pull (f a coupling, c the anchors) and the sharp
read-out (f a power, c the values and a 1). Plain PyTorch, any device, as the custom op `oscbench::pairwise`.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import comb
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

# The floor of the relu coupling, arXiv 2606.12059; the reference has its own copy, and tests compare the two.
RELU_FLOOR = 1e-3
POWERS = {"power2": 2, "power4": 4}

# Rows of a tile, and elements in all its heads together: on two CPU cores 128 rows and half a million
# elements, which stay in cache, were fastest by a little over 64 to 256 rows; a GPU wants fewer and larger
# launches.
_TILE_ROWS = {"cpu": 128, "cuda": 1024}
_TILE_ELEMENTS = {"cpu": 1 << 19, "cuda": 1 << 25}


def tiles(heads: int, tokens: int, device: torch.device, *, is_causal: bool) -> Iterator[tuple[slice, slice]]:
    """Rectangles (rows, columns) that cover all pairs heard; on the diagonal both are equal, for tril."""
    rows = min(_TILE_ROWS.get(device.type, 128), tokens)
    elements = _TILE_ELEMENTS.get(device.type, 1 << 19)
    columns = max(64, elements // (heads * rows))
    for top in range(0, tokens, rows):
        bottom = min(top + rows, tokens)
        end = top if is_causal else tokens
        for left in range(0, end, columns):
            yield slice(top, bottom), slice(left, min(left + columns, end))
        if is_causal:
            yield slice(top, bottom), slice(top, bottom)


def value(scores: Tensor, function: str) -> Tensor:
    """Values of f on a tile of scores; the tile may be overwritten."""
    if function == "softplus":
        # The fused softplus in place was the fastest exact form on the CPU, a little before exp and log1p.
        soft: Tensor = torch.ops.aten.softplus.out(scores, out=scores)
        return soft
    if function == "relu":
        return scores.relu_().add_(RELU_FLOOR)
    if function == "elu":
        return torch.nn.functional.elu(scores, inplace=True).add_(1.0)
    base = scores.add_(1.0).clamp_min_(0.0).square_()
    return base if function == "power2" else base.square_()


def slope(scores: Tensor, function: str) -> Tensor:
    """Slopes of f on a tile of scores; the tile is overwritten."""
    if function == "softplus":
        return scores.sigmoid_()
    if function == "relu":
        return (scores > 0).to(scores.dtype) + 0.0 * scores
    if function == "elu":
        return scores.clamp_max_(0.0).exp_()
    base = scores.add_(1.0).clamp_min_(0.0)
    return base.mul_(2.0) if function == "power2" else base.pow_(3).mul_(4.0)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left right, all (B·H, ·, ·).

    Into rows of a longer tensor `baddbmm_` falls apart into a product for each head (2,304 in a step of ViT-S/16).
    """
    if total.is_contiguous():
        total.baddbmm_(left, right)
    else:
        total.add_(torch.bmm(left, right))


def flat(x: Tensor) -> Tensor:
    """(B, H, N, ·) as (B·H, N, ·), contiguous."""
    return x.reshape(-1, *x.shape[-2:]).contiguous()


@torch.library.custom_op("oscbench::pairwise", mutates_args=())
def pairwise(q: Tensor, k: Tensor, c: Tensor, function: str, is_causal: bool) -> Tensor:
    """Σ_j f(q_i·k_j) c_j, j ≤ i where causal.

    Args:
        q: (B, H, N, d) float32 or float64.
        k: (B, H, N, d).
        c: (B, H, N, m).
        function: softplus, relu (plus 1e-3), elu (plus 1), power2 or power4 (of 1 + score, not below 0).
        is_causal: leave out j > i.

    Returns:
        (B, H, N, m).
    """
    flat_q, flat_k, flat_c = flat(q), flat(k), flat(c)
    out = torch.zeros_like(flat_c)
    for rows, columns in tiles(flat_q.shape[0], q.shape[-2], q.device, is_causal=is_causal):
        weights = value(torch.bmm(flat_q[:, rows], flat_k[:, columns].mT), function)
        if is_causal and rows == columns:
            weights = weights.tril_()
        _add_product(out[:, rows], weights, flat_c[:, columns])
    return out.view(c.shape)


@pairwise.register_fake
def _(q: Tensor, k: Tensor, c: Tensor, function: str, is_causal: bool) -> Tensor:
    del q, k, function, is_causal
    return torch.empty_like(c, memory_format=torch.contiguous_format)


@torch.library.custom_op("oscbench::pairwise_backward", mutates_args=())
def pairwise_backward(
    grad: Tensor, q: Tensor, k: Tensor, c: Tensor, function: str, is_causal: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `pairwise` to q, k and c; the tiles are computed again."""
    flat_grad, flat_q, flat_k, flat_c = flat(grad), flat(q), flat(k), flat(c)
    grad_q, grad_k, grad_c = (torch.zeros_like(x) for x in (flat_q, flat_k, flat_c))
    for rows, columns in tiles(flat_q.shape[0], q.shape[-2], q.device, is_causal=is_causal):
        own_q, own_k, own_grad = flat_q[:, rows], flat_k[:, columns], flat_grad[:, rows]
        scores = torch.bmm(own_q, own_k.mT)
        diagonal = is_causal and rows == columns
        weights = value(scores.clone(), function)
        if diagonal:
            weights = weights.tril_()
        _add_product(grad_c[:, columns], weights.mT, own_grad)
        pull = torch.bmm(own_grad, flat_c[:, columns].mT, out=weights).mul_(slope(scores, function))
        if diagonal:
            pull = pull.tril_()
        _add_product(grad_q[:, rows], pull, own_k)
        _add_product(grad_k[:, columns], pull.mT, own_q)
    return grad_q.view(q.shape), grad_k.view(k.shape), grad_c.view(c.shape)


@pairwise_backward.register_fake
def _(
    grad: Tensor, q: Tensor, k: Tensor, c: Tensor, function: str, is_causal: bool
) -> tuple[Tensor, Tensor, Tensor]:
    del grad, function, is_causal
    like = [torch.empty_like(x, memory_format=torch.contiguous_format) for x in (q, k, c)]
    return like[0], like[1], like[2]


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    del output
    q, k, c, ctx.function, ctx.is_causal = inputs
    ctx.save_for_backward(q, k, c)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
    grads = pairwise_backward(grad, *ctx.saved_tensors, ctx.function, ctx.is_causal)
    return (*grads, None, None)


pairwise.register_autograd(_differentiate, setup_context=_remember)


def pairwise_flops(q: Any, k: Any, c: Any, function: str, *args: Any, **kwargs: Any) -> int:
    """2BHN²(d + m); for a power no more than its polynomial's features would cost, the cheaper exact way."""
    del k, args, kwargs
    batch, heads, tokens, width = (int(size) for size in q)
    quadratic: int = 2 * batch * heads * tokens * tokens * (width + int(c[-1]))
    if function not in POWERS:
        return quadratic
    monomials = comb(width + POWERS[function], POWERS[function])
    return min(quadratic, 4 * batch * heads * tokens * monomials * int(c[-1]))


def pairwise_backward_flops(grad: Any, *args: Any, **kwargs: Any) -> int:
    """Twice the forward."""
    del grad
    return 2 * pairwise_flops(*args, **kwargs)


register_flop_formula(torch.ops.oscbench.pairwise)(pairwise_flops)
register_flop_formula(torch.ops.oscbench.pairwise_backward)(pairwise_backward_flops)

"""Selective synchronization streamed over tiles: plain PyTorch, memory linear in N, own backward."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from oscbench.ops.synchronization import dense, registration, sparse, tiles
from oscbench.ops.synchronization.order import order_parameter
from oscbench.ops.synchronization.plan import Scratch, Tile, dense_tiles, sizes_for


def _start(
    omega: Tensor,
    order: Tensor,
    v: Tensor,
    coupling: Tensor,
    alpha: Tensor,
    key_padding_mask: Tensor | None,
    law: tiles.Law,
    skip: bool,
    buffers: int,
) -> tuple[tiles.Problem, list[Tile], Scratch]:
    """What both passes begin with."""
    if skip:
        found = sparse.sorted_plan(omega, order, coupling, alpha, key_padding_mask, law)
        if found is not None:
            places, kept = found
            limit = sparse.largest_gap(order, coupling, alpha)
            problem = tiles.prepare(omega, order, v, coupling, alpha, key_padding_mask, law, places, limit)
            largest = max(math.prod(tile.shape) for tile in kept)
            return problem, kept, Scratch(problem.given, largest, buffers)
    problem = tiles.prepare(omega, order, v, coupling, alpha, key_padding_mask, law)
    problems, tokens, _ = problem.given.shape
    sizes = sizes_for(problems, tokens, omega.device, whole_rows=law.top_k is not None)
    plan = dense_tiles(problems, tokens, sizes, causal=law.is_causal, symmetric=problem.symmetric)
    return problem, list(plan), Scratch(problem.given, sizes.numbers, buffers)


@torch.library.custom_op("oscbench::selective_synchronization", mutates_args=())
def synchronize(
    omega: Tensor,
    order: Tensor,
    v: Tensor,
    coupling: Tensor,
    alpha: Tensor,
    key_padding_mask: Tensor | None,
    top_k: int | None,
    edge: float,
    is_causal: bool,
    skip: bool,
) -> tuple[Tensor, Tensor]:
    """(Σ_j S_ij v_j / T_i, T_i) with T_i = Σ_j S_ij + 1e-8, in at least float32.

    Args:
        omega: (B, H, N, d).
        order: r, (B, H, N) when causal, else (B, H, 1).
        v: (B, H, N, d_v).
        coupling: K, (H,).
        alpha: α, (H,).
        key_padding_mask: (B, N), True = padding.
        top_k: senders kept in a row.
        edge: bound of the slope; the forward pass does not use it.
        is_causal: j ≤ i only.
        skip: leave out tiles in which nothing can lock, where that pays.
    """
    law = tiles.Law(is_causal, top_k, edge)
    problem, plan, scratch = _start(omega, order, v, coupling, alpha, key_padding_mask, law, skip, 3)
    sums = problem.in_place(tiles.forward(problem, plan, scratch))
    total = sums[..., -1:] + tiles.SUM_EPSILON
    return (sums[..., :-1] / total).view(v.shape), total.view(*v.shape[:3], 1)


@synchronize.register_fake
def _synchronize_shapes(omega: Tensor, order: Tensor, v: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    del order, rest
    wide = torch.promote_types(omega.dtype, torch.float32)
    return v.new_empty(v.shape, dtype=wide), v.new_empty((*v.shape[:3], 1), dtype=wide)


@torch.library.custom_op("oscbench::selective_synchronization_backward", mutates_args=())
def synchronize_backward(
    grad: Tensor,
    mean: Tensor,
    total: Tensor,
    omega: Tensor,
    order: Tensor,
    v: Tensor,
    coupling: Tensor,
    alpha: Tensor,
    key_padding_mask: Tensor | None,
    top_k: int | None,
    edge: float,
    is_causal: bool,
    skip: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients to ω, r, v, K and α from ∂L/∂out; `mean` and `total` are the forward pass's results."""
    law = tiles.Law(is_causal, top_k, edge)
    problem, plan, scratch = _start(omega, order, v, coupling, alpha, key_padding_mask, law, skip, 5)
    flat = [problem.as_sorted(x.flatten(0, 1).to(problem.given.dtype)) for x in (grad, mean, total)]
    pull = tiles.backward(problem, plan, scratch, *flat)
    found = tiles.gradients(problem, pull, omega.shape, order, coupling)
    return (
        found.omega.to(omega.dtype), found.order.to(order.dtype), found.v.to(v.dtype),
        found.coupling.to(coupling.dtype), found.alpha.to(alpha.dtype),
    )  # fmt: skip


registration.register("selective_synchronization", synchronize, synchronize_backward)


def run(
    omega: Tensor,
    theta: Tensor,
    v: Tensor,
    *,
    coupling: Tensor,
    alpha: Tensor,
    top_k: int | None,
    edge: float,
    is_causal: bool,
    key_padding_mask: Tensor | None,
    skip: bool = False,
) -> Tensor:
    """The public function's backend: r by autograd, the rest by the custom op, or dense where there are few tokens and all are met."""
    order = order_parameter(theta, is_causal=is_causal, key_padding_mask=key_padding_mask)
    everyone = key_padding_mask is None and top_k is None and not skip
    if everyone and dense.serves(omega, v, order, coupling):
        return dense.synchronize(omega, order, v, coupling, alpha, edge, is_causal)
    out, _ = synchronize(omega, order, v, coupling, alpha, key_padding_mask, top_k, edge, is_causal, skip)
    result: Tensor = out.to(v.dtype)
    return result


def run_sparse(omega: Tensor, theta: Tensor, v: Tensor, **options: Any) -> Tensor:
    """The same with tiles left out in which nothing can lock."""
    return run(omega, theta, v, **options, skip=True)

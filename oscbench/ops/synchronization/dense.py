"""Selective synchronization of few tokens as one autograd function that keeps its N × N matrices: Δ², e = exp(-2αΔ²) and S.

Where they fit beside the model's other activations, keeping them spares the tiles' preparation and computing S again.
With W = ∂L/∂S_ij / max(S_ij, edge) and M = W (2αe + 1/(Kr_i)²), both 0 on the diagonal and where nothing locks:
dω_i = Σ_j (M_ij + M_ji)(ω_j - ω_i), dα = -Σ W Δ² e, and with s_i = Σ_j W_ij Δ²_ij / (Kr_i)⁴: dr_i = s_i K² r_i, dK = Σ s_i K r_i².
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from oscbench.ops.derivatives import first_only
from oscbench.ops.synchronization.tiles import LEAST_EXPONENT, SUM_EPSILON, centred, squared_reach

MOST_PAIRS = 1 << 21
"""Most B·H·N² pairs: three matrices of 8 MB a layer in float32."""


def serves(omega: Tensor, v: Tensor, order: Tensor, coupling: Tensor) -> bool:
    """Whether the one function runs: eager, on the CPU, in the width of its sums, few pairs, and r > 0 everywhere."""
    batch, heads, tokens, _ = omega.shape
    return (
        omega.device.type == "cpu"
        and omega.dtype == v.dtype == order.dtype
        and omega.dtype in (torch.float32, torch.float64)
        and batch * heads * tokens**2 <= MOST_PAIRS
        and not torch.compiler.is_compiling()
        and not bool(squared_reach(order.detach(), coupling.detach().to(order.dtype))[1].any())
    )


def synchronize(
    omega: Tensor, order: Tensor, v: Tensor, coupling: Tensor, alpha: Tensor, edge: float, is_causal: bool
) -> Tensor:
    """Σ_j S_ij v_j / (Σ_j S_ij + 1e-8) without padding and top-k; arguments as of `blocked.synchronize`."""
    coupling, alpha = coupling.to(omega.dtype), alpha.to(omega.dtype)
    out: Tensor = _Synchronize.apply(  # type: ignore[no-untyped-call]
        omega, order, v, coupling, alpha, edge, is_causal
    )
    return out


class _Synchronize(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        omega: Tensor,
        order: Tensor,
        v: Tensor,
        coupling: Tensor,
        alpha: Tensor,
        edge: float,
        is_causal: bool,
    ) -> Tensor:
        flat = centred(omega, None, is_causal).flatten(0, 1)
        reach, _ = squared_reach(order, coupling)
        closeness = reach.reciprocal()
        norms = flat.square().sum(dim=-1, keepdim=True)
        gap = torch.baddbmm(norms.mT, flat, flat.mT, alpha=-2.0).add_(norms)
        gap.diagonal(0, 1, 2).mul_(0.0)  # S_ii = 1; NaN stays NaN
        rate = (-2.0 * math.log2(math.e) * alpha).repeat(omega.shape[0])[:, None, None]
        near = (gap * rate).clamp_(LEAST_EXPONENT, 0.0).exp2_()
        strength = torch.addcmul(near, gap, closeness, value=-1.0).clamp_(0.0, 1.0)
        if is_causal:
            strength.tril_()
        strength.sqrt_()
        total = strength.sum(dim=-1, keepdim=True).add_(SUM_EPSILON)
        values = v.flatten(0, 1)
        out = torch.bmm(strength, values).div_(total)
        ctx.save_for_backward(
            flat, values, order, coupling, alpha, closeness, gap, near, strength, total, out
        )
        ctx.edge = edge
        return out.view(v.shape)

    @staticmethod
    @first_only
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (flat, values, order, coupling, alpha, closeness, gap, near, strength, total, out) = ctx.saved_tensors
        batch, heads, tokens, _ = grad.shape
        pull = grad.flatten(0, 1) / total
        push = (pull * out).sum(dim=-1, keepdim=True)
        weight = torch.bmm(pull, values.mT).sub_(push)
        d_values = torch.bmm(strength.mT, pull)
        # Divided by infinity where nothing locks; NaN stays.
        weight.div_(torch.ops.aten.threshold(strength, 0.0, math.inf).clamp_min_(ctx.edge))
        weight.diagonal(0, 1, 2).mul_(0.0)
        moved = (near * (2.0 * alpha).repeat(batch)[:, None, None]).add_(closeness).mul_(weight)
        d_omega = torch.baddbmm(torch.bmm(moved, flat), moved.mT, flat)
        d_omega.addcmul_(moved.sum(dim=-1, keepdim=True) + moved.sum(dim=1)[..., None], flat, value=-1.0)
        weight.mul_(gap)
        spent = (weight.sum(dim=-1, keepdim=True) * closeness.square()).view(batch, heads, tokens)
        if order.shape[-1] == 1:
            spent = spent.sum(dim=-1, keepdim=True)
        d_alpha = weight.mul_(near).sum(dim=(1, 2)).view(batch, heads).sum(0).neg_()
        wide = coupling[:, None]
        return (
            d_omega.view(batch, heads, tokens, -1),
            spent * wide.square() * order,
            d_values.view(batch, heads, tokens, -1),
            (spent * wide * order.square()).sum(dim=(0, 2)),
            d_alpha,
            None,
            None,
        )

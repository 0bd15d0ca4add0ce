"""Selective synchronization of one new token. Kept a token: ω and v, 2D numbers a layer; Σ cos θ and Σ sin θ, 2D a sequence."""

from __future__ import annotations

import torch
from torch import Tensor

from oscbench.ops import checks
from oscbench.ops.phases import at_least_float32
from oscbench.ops.precision import keeps_precision

SUM_EPSILON = 1e-8


@keeps_precision
def order_sums(theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Σ cos θ, Σ sin θ and how many tokens they hold, each (B, H, 1, ·), of phases (B, H, N, d) [rad], in at least float32."""
    theta = at_least_float32(theta)
    count = torch.full_like(theta[..., :1, :1], theta.shape[-2])
    return theta.cos().sum(-2, keepdim=True), theta.sin().sum(-2, keepdim=True), count


@keeps_precision
def selective_synchronization(
    omega: Tensor,
    sums: tuple[Tensor, ...],
    others: Tensor,
    v: Tensor,
    *,
    coupling: Tensor,
    alpha: Tensor,
    top_k: int | None = None,
) -> Tensor:
    """out = Σ_j S_j v_j / Σ_j S_j, S_j² = max(0, exp(-2αΔ_j²) - Δ_j²/(Kr)²) of the newest token, arXiv 2602.14445.

    r is the order parameter over all tokens so far, the mean over channels of |Σ exp(iθ)| over their number.

    Args:
        omega: the receiver's natural frequencies [rad per unit time], (B, H, 1, d).
        sums: of `order_sums` over all tokens so far, the receiver counted.
        others: frequencies of the senders, (B, H, M, d), the receiver's own last; S of that one is 1.
        v: what they say, (B, H, M, ·).
        coupling: K ≥ 0, scalar or (H,).
        alpha: α ≥ 0 [1/frequency²], scalar or (H,).
        top_k: keep only the min(top_k, M) largest S.

    Returns:
        (B, H, 1, ·), in v's dtype.

    Raises:
        ValueError: shapes, dtypes or devices do not agree.
    """
    checks.receiver_and_senders("selective_synchronization", {"omega": omega}, {"others": others, "v": v})
    checks.same_width("decode.selective_synchronization", omega=omega, others=others)
    total_cos, total_sin, count = sums
    order = torch.hypot(total_cos, total_sin).mean(-1, keepdim=True) / count
    reach = coupling.to(order.dtype).reshape(-1, 1, 1) * order
    gap2 = (at_least_float32(others) - at_least_float32(omega)).square().sum(-1)[..., None, :]
    reach2 = reach.square()
    spent = torch.where(gap2 > 0, gap2 / reach2, 0.0)
    # At r = 0 nobody locks but oneself, equal frequencies or not.
    oneself = torch.arange(others.shape[-2], device=others.device) == others.shape[-2] - 1
    spent = torch.where((reach2 <= 0) & ~oneself, torch.inf, spent)
    square = torch.exp(-2 * alpha.to(order.dtype).reshape(-1, 1, 1) * gap2) - spent
    strength = torch.where(square <= 0, 0.0, square.sqrt())  # NaN stays NaN
    if top_k is not None:
        strongest = strength.topk(min(top_k, strength.shape[-1]), dim=-1)
        strength = torch.zeros_like(strength).scatter(-1, strongest.indices, strongest.values)
    total = strength.sum(-1, keepdim=True) + SUM_EPSILON
    return (strength @ at_least_float32(v) / total).to(v.dtype)

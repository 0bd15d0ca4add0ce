"""Selective synchronization written literally, with N × N tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from oscbench.ops.masking import allowed, silence
from oscbench.ops.phases import at_least_float32
from oscbench.ops.synchronization.order import order_parameter

SUM_EPSILON = 1e-8


def bounded_root(square: Tensor, edge: float) -> Tensor:
    """√square with the slope 1/(2 max(√square, edge)); edge 0 is the literal slope. square > 0."""
    root = torch.sqrt(square).detach()
    linear = square / (2 * root.clamp_min(edge))
    return linear + (root - linear).detach()


def locking_strength(omega: Tensor, order: Tensor, coupling: Tensor, alpha: Tensor, edge: float) -> Tensor:
    """S_ij = J_ij √(1 - (Δ_ij/τ_ij)²) where Δ ≤ τ = K r J, else 0; S_ii = 1. (B, H, N, N)."""
    norms = (omega**2).sum(-1)
    gap2 = norms[..., :, None] + norms[..., None, :] - 2 * omega @ omega.mT
    myself = torch.eye(omega.shape[-2], dtype=torch.bool, device=omega.device)
    gap2 = torch.where(myself, 0.0 * gap2, gap2.clamp_min(0.0))
    reach2 = (coupling[..., None] * order)[..., None] ** 2
    # Comparisons are written so that NaN is kept: a broken token must be seen, not read as "not locked".
    nothing = reach2 <= 0
    spent = torch.where(nothing, torch.inf, gap2 / torch.where(nothing, 1.0, reach2))
    square = torch.exp(-2 * alpha[:, None, None] * gap2) - torch.where(myself, 0.0 * gap2, spent)
    apart = square <= 0
    strength = bounded_root(torch.where(apart, 1.0, square), edge)
    return torch.where(apart, 0.0, strength)


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
) -> Tensor:
    """out_i = Σ_j S_ij v_j / (Σ_j S_ij + 1e-8)."""
    dtype = v.dtype
    order = order_parameter(theta, is_causal=is_causal, key_padding_mask=key_padding_mask)
    omega = at_least_float32(silence(omega, key_padding_mask))
    omega = omega - omega[..., :1, :]  # differences stay, and a common offset costs no digits
    coupling, alpha = coupling.to(omega.dtype), alpha.to(omega.dtype)
    strength = locking_strength(omega, order, coupling, alpha, edge)
    hears = allowed(omega.shape[-2], omega.device, is_causal=is_causal, key_padding_mask=key_padding_mask)
    strength = torch.where(hears, strength, 0.0)
    if top_k is not None:
        chosen = strength.topk(min(top_k, strength.shape[-1]), dim=-1)
        strength = torch.zeros_like(strength).scatter(-1, chosen.indices, chosen.values)
    total = strength.sum(-1, keepdim=True) + SUM_EPSILON
    return (strength @ at_least_float32(silence(v, key_padding_mask)) / total).to(dtype)

"""Locking is a ball in frequency space: its radius, an order that keeps near tokens together, bounds.

Δ ≤ K r exp(-αΔ²) holds exactly for Δ ≤ ρ with ρ² = W(2α(Kr)²)/(2α), W Lambert's function.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from oscbench.ops.synchronization.tiles import take

# Tokens in a block: smaller ones are bounded more tightly, larger ones cost fewer calls.
BLOCK = 128
# A bound must exceed ρ by this much before a block is skipped, for the rounding of both.
MARGIN = 1e-4
POWER_STEPS = 6


def lambert_w(z: Tensor) -> Tensor:
    """W(z) with W exp(W) = z for z ≥ 0 to the last digits: Halley's method from a start within 5 %."""
    log = torch.log1p(z)
    w = log * (1.0 - torch.log1p(log) / (2.0 + log))
    for _ in range(3):
        # e^(-w) on both sides, so that nothing overflows for large z.
        miss = w - z * torch.exp(-w)
        w = w - miss / (w + 1.0 - (w + 2.0) * miss / (2.0 * w + 2.0))
    return w


def lock_radius(order: Tensor, coupling: Tensor, alpha: Tensor) -> Tensor:
    """ρ: a receiver locks to those at Δ ≤ ρ [rad per unit time]; K r where α = 0.

    Source: mechanisms note, from arXiv 2602.14445's Δ ≤ K r exp(-αΔ²).

    Args:
        order: r, (B, H, N or 1).
        coupling: K, (H,).
        alpha: α, (H,).

    Returns:
        Like `order`.
    """
    reach = coupling[:, None] * order
    # W/z = exp(-W), which needs no limit at α = 0.
    return reach * torch.exp(-0.5 * lambert_w(2.0 * alpha[:, None] * reach**2))


def frequency_order(omega: Tensor, block: int) -> Tensor:
    """An order (P, N) of tokens in which blocks of `block` hold near frequencies.

    Each set of tokens is sorted along its principal direction and cut in half, until a block is left.

    Args:
        omega: (P, N, d).
        block: tokens in a block.
    """
    problems, tokens, width = omega.shape
    levels = max(1, math.ceil(math.log2(max(tokens / block, 1.0))))
    spare = -tokens % (1 << levels)
    order = torch.arange(tokens + spare, device=omega.device).expand(problems, -1)
    points = torch.nn.functional.pad(omega, (0, 0, 0, spare))
    for level in range(levels):
        sets = points.reshape(problems << level, -1, width)
        order = order.reshape(problems << level, -1)
        # Spare places stay last in every set, and so in the whole order.
        projection = _along_principal_direction(sets).masked_fill(order >= tokens, math.inf)
        ranks = projection.argsort(dim=-1)
        points, order = take(sets, ranks), order.gather(1, ranks)
    return order.reshape(problems, -1)[:, :tokens].contiguous()


def _along_principal_direction(sets: Tensor) -> Tensor:
    """Projections (sets, tokens) on about the direction of largest variance, found by power iteration."""
    points = sets - sets.mean(dim=1, keepdim=True)
    covariance = points.mT @ points
    direction = covariance.sum(dim=-1, keepdim=True)
    for _ in range(POWER_STEPS):
        direction = torch.nn.functional.normalize(covariance @ direction, dim=1)
    return (points @ direction)[..., 0]


def block_gaps(omega: Tensor, block: int) -> Tensor:
    """Lower bounds (P, blocks, blocks) on ‖ω_i - ω_j‖ between blocks of consecutive tokens; negative: none.

    The tokens of two blocks are projected on the line through the centres, and the gap between the two
    intervals there is taken.

    Args:
        omega: (P, N, d), near tokens together.
        block: tokens in a block.
    """
    problems, tokens, width = omega.shape
    blocks = -(-tokens // block)
    spare = blocks * block - tokens
    # The last block is filled up with its own first token, which changes no bound but its centre.
    filler = omega[:, (blocks - 1) * block, None].expand(-1, spare, -1)
    points = torch.cat((omega, filler), dim=1).view(problems, blocks, block, width)
    centres = points.mean(dim=2)
    # How far block I reaches towards the centre of block J, times the distance of the centres.
    along = points.flatten(1, 2) @ centres.mT
    own = along.view(problems, blocks, block, blocks)
    own = own - own.diagonal(dim1=1, dim2=3).mT.unsqueeze(-1)
    towards = own.amax(dim=2)
    return -(towards + towards.mT) / torch.cdist(centres, centres)


def reachable(omega: Tensor, radius: Tensor, block: int) -> Tensor:
    """Which blocks of senders some receiver of a block may lock to, (P, blocks, blocks) bool.

    Args:
        omega: (P, N, d), near tokens together.
        radius: ρ, (P, N or 1), in the same order.
        block: tokens in a block.
    """
    gaps = block_gaps(omega, block)
    if radius.shape[1] > 1:
        blocks = gaps.shape[1]
        filled = torch.nn.functional.pad(radius, (0, blocks * block - radius.shape[1]))
        radius = filled.view(-1, blocks, block).amax(-1)
    # Written so that NaN is kept, never skipped.
    return ~(gaps > radius[..., None] * (1.0 + MARGIN))

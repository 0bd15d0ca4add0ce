"""How many blocks of pairs the sparse backend of selective synchronization could leave out."""

from __future__ import annotations

from torch import Tensor

from oscbench.ops.synchronization.geometry import BLOCK, frequency_order, lock_radius, reachable
from oscbench.ops.synchronization.order import order_parameter
from oscbench.ops.synchronization.tiles import centred, take


def skippable_share(
    omega: Tensor,
    theta: Tensor,
    *,
    coupling: Tensor,
    alpha: Tensor,
    is_causal: bool = False,
    key_padding_mask: Tensor | None = None,
    block: int = BLOCK,
) -> Tensor:
    """Share of all pairs of blocks that cannot lock once tokens are sorted by frequency, in [0, 1].

    What `sparse` could leave out for these frequencies, for example those of a trained model.

    Args:
        omega: natural frequencies, (B, H, N, d).
        theta: phases [rad], (B, H, N, ·).
        coupling: K, (H,).
        alpha: α, (H,).
        is_causal: ρ then belongs to the receiver; pairs in the future count like all others.
        key_padding_mask: (B, N) bool, True = padding.
        block: tokens in a block.

    Returns:
        (B, H).
    """
    order = order_parameter(theta, is_causal=is_causal, key_padding_mask=key_padding_mask)
    points = centred(omega, key_padding_mask, is_causal)
    radius = lock_radius(order.to(points.dtype), coupling.to(points.dtype), alpha.to(points.dtype))
    flat, radius = points.flatten(0, 1), radius.flatten(0, 1)
    places = frequency_order(flat, block)
    if radius.shape[1] > 1:
        radius = radius.gather(1, places)
    kept = reachable(take(flat, places), radius, block)
    return (1.0 - kept.to(flat.dtype).mean(dim=(1, 2))).view(omega.shape[:2])

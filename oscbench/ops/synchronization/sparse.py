"""Exact skipping: tokens sorted by frequency, and only the tiles in which something can lock.

The dense plan is taken instead where the bound leaves out less than a fifth of the work; only the time to find
out is lost then.
"""

from __future__ import annotations

import math
from itertools import groupby

import torch
from torch import Tensor

from oscbench.ops.synchronization.geometry import (
    BLOCK,
    MARGIN,
    frequency_order,
    lambert_w,
    lock_radius,
    reachable,
)
from oscbench.ops.synchronization.plan import CPU_TILE, GPU_TILE, Tile, ranges
from oscbench.ops.synchronization.tiles import Law, centred, take

# Finding out costs about N log N against N²: 10 % of the dense time at N = 1024, 7 % at 4096 where nothing can be
# skipped (one core, 32-dimensional cloud).
LEAST_TOKENS = 2048
# Work that must remain undone for the sorted plan to be taken.
LEAST_SAVING = 0.2
# Heads share a tile when serving all of them alike adds no more than this to the work.
SHARING_COST = 1.15


def sorted_plan(
    omega: Tensor,
    order: Tensor,
    coupling: Tensor,
    alpha: Tensor,
    key_padding_mask: Tensor | None,
    law: Law,
) -> tuple[Tensor, list[Tile]] | None:
    """An order of the tokens (B·H, N) and the tiles to compute in it; None where dense is as good.

    Args:
        omega: (B, H, N, d).
        order: r, (B, H, N or 1).
        coupling: K, (H,).
        alpha: α, (H,).
        key_padding_mask: (B, N), True = padding.
        law: the options; no top-k.
    """
    tokens = omega.shape[2]
    if tokens < LEAST_TOKENS:
        return None
    points = centred(omega, key_padding_mask, law.is_causal).flatten(0, 1)
    wide = points.dtype
    radius = lock_radius(order.to(wide), coupling.to(wide), alpha.to(wide)).flatten(0, 1)
    places = frequency_order(points, BLOCK)
    if radius.shape[1] > 1:
        radius = radius.gather(1, places)
    kept = reachable(take(points, places), radius, BLOCK)
    if law.is_causal:
        kept &= ~_only_future(places, BLOCK)
    share = kept.to(torch.float32).mean()
    # Symmetric pairs are met once in both plans; causal tiles are half of the square only in the dense one.
    if not bool(share <= (1.0 - LEAST_SAVING) * (0.5 if law.is_causal else 1.0)):
        return None
    budget = CPU_TILE if omega.device.type == "cpu" else GPU_TILE
    return places, _tiles(kept.cpu(), tokens, budget, symmetric=not law.is_causal)


def largest_gap(order: Tensor, coupling: Tensor, alpha: Tensor) -> float:
    """The largest (ρ/(Kr))²: no receiver locks beyond it. Infinite on a GPU, where asking costs a wait."""
    if order.device.type != "cpu":
        return math.inf
    reach = coupling[:, None] * order
    largest = torch.exp(-lambert_w(2.0 * alpha[:, None] * reach**2)).amax()
    # NaN is compared as false, so it skips nothing.
    return float(largest) * (1.0 + MARGIN)


def _only_future(places: Tensor, block: int) -> Tensor:
    """Pairs of blocks whose senders all come after the last of the receivers, (P, blocks, blocks)."""
    blocks = -(-places.shape[1] // block)
    spare = blocks * block - places.shape[1]
    shape = (places.shape[0], blocks, block)
    last = torch.nn.functional.pad(places, (0, spare), value=-1).view(shape).amax(-1)
    first = torch.nn.functional.pad(places, (0, spare), value=places.shape[1]).view(shape).amin(-1)
    return first[:, None, :] > last[:, :, None]


def _tiles(kept: Tensor, tokens: int, budget: int, *, symmetric: bool) -> list[Tile]:
    """Kept pairs of blocks (P, blocks, blocks) as tiles: neighbours along a row become one."""
    if symmetric:
        kept = (kept | kept.mT).triu()
    found: list[Tile] = []
    for group in ranges(kept.shape[0], max(1, budget // (4 * BLOCK * BLOCK))):
        together = kept[group].any(dim=0)
        shared = float(together.sum()) <= SHARING_COST * float(kept[group].sum(dim=(1, 2)).float().mean())
        # Each head by itself, or all alike.
        patterns = [(group, together)] if shared else [
            (slice(head, head + 1), kept[head]) for head in range(group.start, group.stop)
        ]  # fmt: skip
        for heads, pattern in patterns:
            longest = max(1, budget // ((heads.stop - heads.start) * BLOCK * BLOCK))
            for row, columns in enumerate(pattern.tolist()):
                found += _row_tiles(heads, row, columns, tokens, longest, symmetric=symmetric)
    return found


def _row_tiles(
    heads: slice, row: int, columns: list[bool], tokens: int, longest: int, *, symmetric: bool
) -> list[Tile]:
    """Tiles of one row of blocks: runs of kept columns, no run longer than `longest` blocks."""
    rows = slice(row * BLOCK, min((row + 1) * BLOCK, tokens))
    tiles = []
    start = 0
    # With symmetry the block of a row with itself stands alone: it has no mirror image.
    for kept, run in groupby(enumerate(columns), key=lambda item: (item[1], symmetric and item[0] == row)):
        count = len(list(run))
        if kept[0]:
            for piece in ranges(count, longest):
                senders = slice((start + piece.start) * BLOCK, min((start + piece.stop) * BLOCK, tokens))
                tiles.append(Tile(heads, rows, senders, both_ways=symmetric and not kept[1]))
        start += count
    return tiles

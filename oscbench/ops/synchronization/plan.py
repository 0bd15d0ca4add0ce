"""Which tiles of the square of receivers and senders are computed, how large they are, and their buffers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

# Numbers in one tile. CPU: 1 MB in float32, so that a tile's buffers stay near the cores' caches.
# GPU: enough to fill the chip.
CPU_TILE = 1 << 18
GPU_TILE = 1 << 24


@dataclass(frozen=True)
class Tile:
    """A rectangle of pairs: problems × receivers × senders.

    Attributes:
        problems: which of the B·H heads.
        receivers: their tokens.
        senders: theirs.
        both_ways: the mirrored rectangle is served by this one too (S is symmetric where r is shared).
    """

    problems: slice
    receivers: slice
    senders: slice
    both_ways: bool

    @property
    def offset(self) -> int:
        """Which diagonal of the tile is the tokens' own (as `torch.diagonal` counts)."""
        return int(self.receivers.start - self.senders.start)

    @property
    def holds_self(self) -> bool:
        """Whether some receiver meets itself here."""
        return bool(self.receivers.start < self.senders.stop and self.senders.start < self.receivers.stop)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(problems, receivers, senders)."""
        sides = (self.problems, self.receivers, self.senders)
        groups, rows, columns = (side.stop - side.start for side in sides)
        return groups, rows, columns


@dataclass(frozen=True)
class Sizes:
    """Heads, rows and columns of a tile."""

    problems: int
    rows: int
    columns: int

    @property
    def numbers(self) -> int:
        """How many pairs a full tile holds."""
        return self.problems * self.rows * self.columns


def sizes_for(problems: int, tokens: int, device: torch.device, *, whole_rows: bool = False) -> Sizes:
    """Tile sizes for B·H heads of N tokens.

    Args:
        problems: B·H.
        tokens: N.
        device: decides the budget.
        whole_rows: a tile must see all senders of its receivers (top-k); still linear in N.
    """
    budget, side = (CPU_TILE, 256) if device.type == "cpu" else (GPU_TILE, 1024)
    if whole_rows:
        rows = min(tokens, max(1, budget // tokens))
        return Sizes(max(1, min(problems, budget // (rows * tokens))), rows, tokens)
    side = min(tokens, side)
    while side < tokens and problems * (2 * side) ** 2 <= budget:
        side *= 2
    side = min(side, tokens)
    return Sizes(max(1, min(problems, budget // side**2)), side, side)


def ranges(total: int, step: int) -> list[slice]:
    """0..total cut into pieces of `step`."""
    return [slice(start, min(start + step, total)) for start in range(0, total, step)]


def dense_tiles(problems: int, tokens: int, sizes: Sizes, *, causal: bool, symmetric: bool) -> Iterator[Tile]:
    """Every tile some receiver of which may hear some sender of which.

    Args:
        problems: B·H.
        tokens: N.
        sizes: of a tile.
        causal: senders after the last receiver are left out.
        symmetric: only one of each pair of mirrored tiles is listed, with `both_ways` set.
    """
    for group in ranges(problems, sizes.problems):
        for rows in ranges(tokens, sizes.rows):
            if symmetric:
                for columns in ranges(tokens, sizes.columns):
                    if columns.start >= rows.start:
                        yield Tile(group, rows, columns, both_ways=columns.start > rows.start)
            else:
                end = rows.stop if causal else tokens
                for columns in ranges(end, sizes.columns):
                    yield Tile(group, rows, columns, both_ways=False)


class Scratch:
    """Buffers used again for every tile: allocating a megabyte costs as much as filling it."""

    def __init__(self, like: Tensor, numbers: int, count: int) -> None:
        self._flat = like.new_empty((count, numbers))

    def views(self, shape: tuple[int, int, int]) -> list[Tensor]:
        """Each buffer as a contiguous tensor of this shape."""
        numbers = math.prod(shape)
        return [flat[:numbers].view(shape) for flat in self._flat]

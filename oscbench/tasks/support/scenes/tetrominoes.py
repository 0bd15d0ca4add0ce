"""Scenes of tetrominoes: each of four square cells side by side, all of one grey on grey noise, so that brightness parts no two of them.

Blocks may touch, and then only their shapes tell where one ends; none hides another. They stand on a grid of their cells, so that a patch
as large as a cell shows one thing: where borders run through patches, two readers who know every object differ by 0.3 in FG-ARI. Scene i
of a split depends on the split, i and the settings alone.
"""

from __future__ import annotations

import torch
from torch import Tensor

from oscbench.models.trunk import named_seed

SCENE_SEED = 20_261_127
CHUNK = 256
"""Scenes drawn at once, each chunk from a stream of its own."""
TRIES = 8
"""Places that a block is offered at once, of which it takes the first that is free."""
CELLS = 4
SHAPES = (
    ("1111",),
    ("11", "11"),
    ("010", "111"),
    ("011", "110"),
    ("110", "011"),
    ("100", "111"),
    ("001", "111"),
)
"""I, O, T, S, Z, J and L."""


def turned_shapes() -> Tensor:
    """All nineteen shapes that turning the seven by quarters gives, (19, 4, 4) bool in the upper left corner."""
    found: list[Tensor] = []
    for rows in SHAPES:
        shape = torch.tensor([[cell == "1" for cell in row] for row in rows])
        for quarters in range(4):
            turned = shape.rot90(quarters)
            whole = torch.zeros(CELLS, CELLS, dtype=torch.bool)
            whole[: turned.shape[0], : turned.shape[1]] = turned
            if not any(torch.equal(whole, other) for other in found):
                found.append(whole)
    return torch.stack(found)


def block_scenes(
    stream: str, count: int, size: int, blocks: int, cell: int, noise: float
) -> dict[str, Tensor]:
    """Scenes of a stream of randomness.

    Args:
        stream: name of it.
        count: scenes.
        size: side of a scene [pixels].
        blocks: in a scene.
        cell: side of a cell [pixels].
        noise: spread of the noise on every pixel, where the ground is 0.3 and a block's grey from 0.55 to 0.95.

    Returns:
        `images` (count, 1, size, size) uint8, `objects` (count, size, size) int8, which block a pixel shows, -1 for none.
    """
    chunks = []
    for start in range(0, count, CHUNK):
        generator = torch.Generator().manual_seed(named_seed(SCENE_SEED, f"{stream}/{start // CHUNK}"))
        objects = _placed(size, blocks, cell, generator)
        grey = 0.55 + 0.4 * torch.rand(CHUNK, 1, 1, generator=generator)
        shown = torch.where(objects >= 0, grey, 0.3)
        shown = shown + noise * torch.randn(shown.shape, generator=generator)
        images = (255.0 * shown).round().clamp(0, 255).to(torch.uint8)[:, None]
        chunks.append((images[: count - start], objects[: count - start]))
    return {
        "images": torch.cat([images for images, _ in chunks]),
        "objects": torch.cat([objects for _, objects in chunks]),
    }


def _placed(size: int, blocks: int, cell: int, generator: torch.Generator) -> Tensor:
    """A chunk of object maps (CHUNK, size, size) int8. Where a block finds no room, its scene begins anew."""
    objects = torch.full((CHUNK, size, size), -1, dtype=torch.int8)
    wanting = torch.arange(CHUNK)
    while len(wanting):
        objects[wanting] = -1
        fits = torch.ones(len(wanting), dtype=torch.bool)
        for number in range(blocks):
            tried = _offered(len(wanting), size, cell, generator)
            taken = (objects[wanting] >= 0)[:, None]
            free = ~(tried & taken).flatten(2).any(-1)
            first = free.int().argmax(1)
            fits &= free.any(1)
            chosen = tried[torch.arange(len(wanting)), first]
            objects[wanting] = torch.where(chosen, number, objects[wanting])
        wanting = wanting[~fits]
    return objects


def _offered(count: int, size: int, cell: int, generator: torch.Generator) -> Tensor:
    """Masks (count, TRIES, size, size) of a random shape a scene, wholly inside at random places of the grid of cells."""
    shapes = turned_shapes()
    which = torch.randint(len(shapes), (count,), generator=generator)
    extent = torch.stack((shapes.any(2).sum(1), shapes.any(1).sum(1)), dim=1)[which] * cell  # (count, 2)
    room = ((size - extent) // cell + 1)[:, None]
    corner = (torch.rand(count, TRIES, 2, generator=generator) * room).long() * cell
    cells = (torch.arange(size) - corner[..., None]).div(cell, rounding_mode="floor")
    # Which of the shape's rows a pixel row lies in, and the same of columns, (count, TRIES, 4, size): a mask is rowsᵀ · shape · columns.
    rows, columns = ((cells[:, :, axis, None] == torch.arange(CELLS)[:, None]).float() for axis in range(2))
    return (rows.mT @ shapes[which][:, None].float() @ columns) > 0

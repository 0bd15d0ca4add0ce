"""Grids on a canvas of fixed size, their eight symmetric views, and votes over answers (the canvas of VARC, arXiv 2511.14761)."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from oscbench.tasks.support.arc.rules import Grid

BACKGROUND, BORDER, NUM_MARKS = 10, 11, 12
"""What stands on a canvas besides the ten colours: nothing, and a line below and right of the grid, which shows its shape."""
NUM_VIEWS = 8
"""In a grid's own colours."""


def placed(grid: Grid, side: int) -> Grid:
    """The grid in the upper left corner of a canvas (side, side), with its border."""
    height, width = grid.shape
    canvas = np.full((side, side), BACKGROUND, dtype=np.int64)
    canvas[: height + 1, : width + 1] = BORDER
    canvas[:height, :width] = grid
    return canvas


def read(canvas: Grid) -> Grid | None:
    """The grid in the upper left corner, as far as no border or background comes; None where something else is in it."""
    down, right = canvas[:, 0] >= BACKGROUND, canvas[0] >= BACKGROUND
    if not down.any() or not right.any():
        return None
    grid = canvas[: int(down.argmax()), : int(right.argmax())]
    return grid if grid.size and (grid < BACKGROUND).all() else None


def as_text(grid: Grid) -> str:
    """A grid for records: the digits of its colours, rows parted by `/`."""
    return "/".join("".join(str(int(colour)) for colour in row) for row in grid)


def moved(canvases: Sequence[Tensor], generator: torch.Generator) -> list[Tensor]:
    """Canvases (B, side, side), several of each example, moved to a random place that leaves all of an example's inside."""
    count, side, _ = canvases[0].shape
    used = torch.stack([canvas != BACKGROUND for canvas in canvases]).any(0)
    index = torch.arange(side)
    room = [side - 1 - (used.any(axis) * index).amax(1) for axis in (2, 1)]
    shift = [(torch.rand(count, generator=generator) * (free + 1)).long() for free in room]
    row = (index - shift[0][:, None]) % side
    column = (index - shift[1][:, None]) % side
    # What leaves on one side and comes back on the other is background.
    return [
        canvas[torch.arange(count)[:, None, None], row[:, :, None], column[:, None]] for canvas in canvases
    ]


def viewed(grid: Grid, view: int) -> Grid:
    """A grid in one of its views: eight symmetric ones in its own colours, then the same in other colours, and so on.

    Of eight, each is turned by `view` quarters, and transposed from the fifth on.
    """
    colouring, symmetry = divmod(view, NUM_VIEWS)
    turned = np.rot90(colours_of(colouring)[grid], symmetry % 4)
    return turned.T if symmetry >= 4 else turned


def unviewed(grid: Grid, view: int) -> Grid:
    """The grid whose view this is."""
    colouring, symmetry = divmod(view, NUM_VIEWS)
    turned = np.rot90(grid.T if symmetry >= 4 else grid, -(symmetry % 4))
    return np.argsort(colours_of(colouring))[turned]


@cache
def colours_of(colouring: int) -> Grid:
    """What each of the ten colours becomes: itself under colouring 0, otherwise 1 to 9 in a fixed random order; 0 is always the ground."""
    found = np.arange(BACKGROUND)
    if colouring:
        random.Random(f"colouring {colouring}").shuffle(others := found[1:].tolist())
        found[1:] = others
    return found


@dataclass(frozen=True)
class Answer:
    """One answer: a grid, None where the canvas could not be read, and its log-likelihood a cell [nats]."""

    grid: Grid | None
    likelihood: float


def ranked(answers: Sequence[Answer]) -> list[Grid]:
    """Distinct grids, the one that most answers give first; among equally frequent ones the likelier by its mean."""
    likelihoods: dict[tuple[tuple[int, ...], bytes], list[float]] = defaultdict(list)
    grids = {}
    for answer in answers:
        if answer.grid is not None:
            key = (answer.grid.shape, answer.grid.astype(np.uint8).tobytes())
            likelihoods[key].append(answer.likelihood)
            grids[key] = answer.grid
    order = sorted(grids, key=lambda key: (-len(likelihoods[key]), -float(np.mean(likelihoods[key]))))
    return [grids[key] for key in order]

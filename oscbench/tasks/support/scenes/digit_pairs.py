"""Two digits of a scene that stand in a relation: which scans, where they lie, and whether it holds."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

CHUNK = 256
"""Scenes that are composed at once, from one stream of random numbers."""
TRIES = 16
RELATIONS = ("same", "larger_above")
SIZE_GAP, HEIGHT_GAP = 3, 6
"""Of `larger_above`: least difference of the two sides, and of their centres' heights, that both can be seen [pixels]."""


class Sizes(Protocol):
    """What placing reads of a scene's settings."""

    @property
    def size(self) -> int:
        """Side of the scene [pixels]."""

    @property
    def min_scale(self) -> int:
        """Side of the smallest digit [pixels]."""

    @property
    def max_scale(self) -> int:
        """Side of the largest digit [pixels]."""

    @property
    def max_overlap(self) -> float:
        """Share of a digit's square that another may cover."""


def pair(targets: Tensor, label: str, generator: torch.Generator) -> Tensor:
    """Rows (CHUNK, 2) of two different scans: of one digit, or for `same` of one in half of the scenes and of two in the others."""
    first = torch.randint(len(targets), (CHUNK,), generator=generator)
    alike = torch.rand(CHUNK, generator=generator) < (0.5 if label == "same" else 1.0)
    fits = (targets == targets[first][:, None]) == alike[:, None]
    fits[torch.arange(CHUNK), first] = False
    # Of another digit each is as likely as the next, however many scans it has.
    shares = fits / torch.bincount(targets)[targets]
    second = torch.multinomial(shares, 1, generator=generator)[:, 0]
    return torch.stack((first, second), dim=1)


def relation_of(label: str, classes: Tensor, sides: Tensor, corners: Tensor) -> Tensor:
    """Whether it holds, (CHUNK,): from two digits' classes, sides and upper left corners."""
    if label == "same":
        return classes[:, 0] == classes[:, 1]
    centres = 2 * corners[..., 0] + sides  # twice the height of the centre, from above
    return (sides[:, 0] > sides[:, 1]) == (centres[:, 0] < centres[:, 1])


def unlike_places(config: Sizes, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Sides (CHUNK, 2) and corners (CHUNK, 2, 2) of two digits of unlike size at unlike height, either of them the larger and the upper.

    Of some random places the first that parts them enough and covers no more than `max_overlap`, or else the one that parts them most.
    """
    apart = torch.randint(SIZE_GAP, config.max_scale - config.min_scale + 1, (CHUNK,), generator=generator)
    smaller = (
        config.min_scale
        + (torch.rand(CHUNK, generator=generator) * (config.max_scale - config.min_scale - apart + 1)).long()
    )
    swapped = torch.rand(CHUNK, generator=generator) < 0.5
    sides = torch.stack((smaller, smaller + apart), dim=1)
    sides = torch.where(swapped[:, None], sides.flip(1), sides)
    room = (config.size - sides + 1)[:, None, :, None]
    corners = (torch.rand(CHUNK, TRIES, 2, 2, generator=generator) * room).long()
    centres = corners + sides[:, None, :, None] / 2
    height = (centres[:, :, 0, 0] - centres[:, :, 1, 0]).abs()
    low, ends = corners.amax(2), (corners + sides[:, None, :, None]).amin(2)
    covered = (ends - low).clamp_min(0).prod(-1) / smaller[:, None].square()
    fits = (height >= HEIGHT_GAP) & (covered <= config.max_overlap)
    best = torch.where(fits.any(1), fits.int().argmax(1), height.argmax(1))
    return sides, corners[torch.arange(CHUNK), best]

"""Images of two digits that stand side by side, or one above the other, as captions say it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from oscbench.tasks import Batch
from oscbench.tasks.support.scenes.composition import placed
from oscbench.tasks.support.text.caption_grammar import PAIRS, relation_of

if TYPE_CHECKING:
    from oscbench.tasks.captions import CaptionsConfig


def compose(
    scans: Batch, contents: Tensor, config: CaptionsConfig, generator: torch.Generator, *, alone: bool = False
) -> Tensor:
    """Images (B, size, size) uint8 of meanings (B,), or of single digits: black 0, full ink 224.

    The row, or column, that both digits share is drawn, as are the scans, their sides, their places in their cells, and noise.
    """
    count, cell = len(contents), config.size // 2
    if alone:
        digits, corner_cells = contents[:, None], torch.randint(2, (count, 1, 2), generator=generator)
    else:
        digits = torch.tensor(PAIRS)[contents % len(PAIRS)]
        free = torch.randint(2, (count,), generator=generator)
        corner_cells = _turned(torch.arange(2).expand(count, 2), free[:, None].expand(count, 2), contents)
    chosen = torch.stack([_scan_of(scans, of, generator) for of in digits.unbind(1)], dim=1)
    sides = _sides(digits, contents, config, generator, alone=alone)
    if config.places == "free" and not alone:
        corners = _apart(sides, contents, config.size, generator)
    else:
        room = ((config.size if config.places == "free" else cell) - sides + 1)[..., None]
        jitter = (torch.rand(*digits.shape, 2, generator=generator) * room).long()
        corners = jitter if config.places == "free" else corner_cells * cell + jitter
    ink = placed(scans.inputs[chosen], sides, corners, config.size).amax(1)
    ink = ink + config.noise * torch.randn(ink.shape, generator=generator)
    return (16.0 + 208.0 * ink).round().clamp(0, 255).to(torch.uint8)


def _sides(
    digits: Tensor, contents: Tensor, config: CaptionsConfig, generator: torch.Generator, *, alone: bool
) -> Tensor:
    """Sides [pixels] of digits, (B, 2) or, alone, (B, 1): any, or of the low or the high third as captions say it; alone either."""
    low, high = config.min_scale, config.max_scale
    if not config.sizes:
        return torch.randint(low, high + 1, digits.shape, generator=generator)
    third = (high - low + 1) // 3
    big = (
        torch.randint(2, digits.shape, generator=generator).bool() if alone else config.grammar.big(contents)
    )
    return torch.where(big, high - third + 1, low) + torch.randint(third, digits.shape, generator=generator)


def _turned(along: Tensor, across: Tensor, meanings: Tensor) -> Tensor:
    """Places (B, 2) along a meaning's axis and across it, as rows and columns (B, 2, 2)."""
    above = (relation_of(meanings) == 0)[:, None]
    return torch.stack((torch.where(above, along, across), torch.where(above, across, along)), dim=2)


def _apart(sides: Tensor, meanings: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Corners (B, 2, 2) of two digits that each meaning is true of, and no meaning of the other axis.

    Along the axis the second begins where the first has ended, or later; across it they share a row, or a column, of pixels at least.
    """
    first, second = sides.unbind(1)

    def between(low: Tensor, high: Tensor) -> Tensor:
        return low + (torch.rand(len(sides), generator=generator) * (high - low + 1)).long()

    start = between(torch.zeros_like(first), size - first - second)
    along = torch.stack((start, between(start + first, size - second)), dim=1)
    aside = between(torch.zeros_like(first), size - first)
    low, high = (aside - second + 1).clamp_min(0), torch.minimum(aside + first - 1, size - second)
    return _turned(along, torch.stack((aside, between(low, high)), dim=1), meanings)


def _scan_of(scans: Batch, digits: Tensor, generator: torch.Generator) -> Tensor:
    """A random scan (B,) of each digit."""
    score = torch.rand(len(digits), len(scans.targets), generator=generator)
    return score.masked_fill(scans.targets != digits[:, None], -1.0).argmax(1)

"""Positions added to tokens: the backbone's business, not the mechanism's."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from oscbench.mechanisms import Mechanism, Positions
from oscbench.ops.dispatch import UnsupportedError
from oscbench.ops.phases import rotary_frequencies

PositionMode = Literal["auto", "none", "learned", "sinusoidal"]
"""What is added to tokens: `oscbench.positions.ADDED`, or `auto`, which is `learned` where the mechanism's trait asks for it, else `none`."""


def image_positions(rows: int, columns: int, num_special: int) -> Positions:
    """Integer (row, column) of each patch in reading order, after `num_special` CLS and register tokens at (0, 0)."""
    places = [(0, 0)] * num_special + [(row, column) for row in range(rows) for column in range(columns)]
    # On the CPU also where a model is only planned, on the meta device: matching builds it several times.
    coordinates = torch.tensor(places, dtype=torch.float64, device="cpu")
    special = torch.tensor([index < num_special for index in range(len(places))], device="cpu")
    return Positions(coordinates, special)


def sequence_positions(length: int, first: int = 0) -> Positions:
    """Indices first, first + 1, …, one axis, nobody special; kept, with all that follows from them."""
    return _line(length, first) if torch.compiler.is_compiling() else _kept_line(length, first)


def _line(length: int, first: int) -> Positions:
    index = torch.arange(first, first + length, dtype=torch.float64, device="cpu")
    return Positions(index[:, None], torch.zeros(length, dtype=torch.bool, device="cpu"))


@lru_cache(maxsize=64)
def _kept_line(length: int, first: int) -> Positions:
    with torch.inference_mode(False):
        return _line(length, first)


class AddedPositions(nn.Module):
    """Adds to tokens what `position` says; `auto` is `learned` where the mechanism's trait asks for it, else `none`."""

    waves: Tensor

    def __init__(self, mode: PositionMode, mechanism: Mechanism, positions: Positions) -> None:
        super().__init__()
        if mode == "auto":
            mode = "learned" if mechanism.traits.needs_position else "none"
        self.mode = mode
        self.num_tokens = len(positions.special)
        width = mechanism.shape.width
        if mode == "learned":
            self.table = nn.Embedding(self.num_tokens, width)
        elif mode == "sinusoidal":
            self.register_buffer("waves", sinusoidal(positions, width), persistent=False)

    def forward(self, tokens: Tensor, first: int = 0) -> Tensor:
        """(B, N, D) -> (B, N, D); the tokens stand at positions first to first + N - 1."""
        end = first + tokens.shape[1]
        self.require(end)
        if self.mode == "learned":
            added: Tensor = tokens + self.table.weight[first:end]
            return added
        if self.mode == "sinusoidal":
            return tokens + self.waves[first:end].to(tokens.dtype)
        return tokens

    def require(self, num_tokens: int) -> None:
        """See that positions reach so many tokens.

        Raises:
            UnsupportedError: they do not.
        """
        if self.mode != "none" and num_tokens > self.num_tokens:
            raise UnsupportedError(
                f"{self.mode} positions reach {self.num_tokens} tokens, a sequence has {num_tokens}"
            )


class OtherGrid(nn.Module):
    """Positions of patches on another grid than that of training, as when a view shows fewer of them.

    Coordinates, and the waves of `sinusoidal`, are those of a grid that begins at (0, 0), with steps of one patch: rotary angles are then not
    rescaled, as in KoPE. Learned positions are the table of training, resampled to the other grid by bicubic interpolation, as in DINO (arXiv
    2104.14294): one linear map, so that gradients are exact and repeatable on every device.

    Args:
        added: what is added on the grid of training.
        trained: its rows and columns.
        grid: rows and columns of the other.
    """

    resampling: Tensor
    waves: Tensor

    def __init__(self, added: AddedPositions, trained: tuple[int, int], grid: tuple[int, int]) -> None:
        super().__init__()
        self.positions = image_positions(*grid, 0)
        if added.mode == "learned":
            self.register_buffer("resampling", resampling(trained, grid), persistent=False)
        elif added.mode == "sinusoidal":
            waves = sinusoidal(self.positions, added.waves.shape[1])
            self.register_buffer("waves", waves, persistent=False)

    def forward(self, tokens: Tensor, added: AddedPositions) -> Tensor:
        """Tokens (B, n, D) of the other grid in reading order, with what `added` adds there."""
        if added.mode == "learned":
            joined: Tensor = tokens + self.resampling @ added.table.weight
            return joined
        return tokens + self.waves.to(tokens.dtype) if added.mode == "sinusoidal" else tokens


def resampling(trained: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Weights (n, N) that make of a table over one grid of N places, in reading order, that over another of n; each row sums to 1."""
    places = torch.eye(trained[0] * trained[1], device="cpu").unflatten(1, trained)[:, None]
    return interpolate(places, size=grid, mode="bicubic", align_corners=False).flatten(1).T.contiguous()


def sinusoidal(positions: Positions, width: int, base: float = 10_000.0) -> Tensor:
    """Sines and cosines of the index in every axis, (N, D), as in arXiv 1706.03762; special tokens get 0."""
    axes = positions.coordinates.shape[-1]
    if width % (2 * axes):
        raise ValueError(
            f"sinusoidal positions over {axes} axes need a width divisible by {2 * axes}, got {width}"
        )
    # Frequencies go where the coordinates are: a model that is only planned lives on the meta device.
    frequencies = rotary_frequencies(width // (2 * axes), base, positions.coordinates.device)
    angles = positions.coordinates[..., None] * frequencies
    waves = torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)
    return waves.masked_fill(positions.special[:, None], 0.0)

"""What a mechanism does with one example, as plain arrays that pictures are drawn from."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from oscbench import words
from oscbench.models.backbones import Backbone
from oscbench.modes import evaluating
from oscbench.records.diagnostics import Diagnostics

KEPT = ("attention", "phases", "pull", "anchors")
"""Diagnostics that pictures show."""
MOST_TOKENS = 256
"""Tokens beyond this are left out: an attention matrix grows with their square."""


def diagnosed(model: Backbone, inputs: Tensor, sample: int = 0) -> Diagnostics:
    """Every layer's diagnostics of one example, in evaluation mode; the model is left as it was.

    Args:
        model: any.
        inputs: a batch as the model takes it.
        sample: of the batch, counted from its end where negative.

    Raises:
        ValueError: the batch has no such sample.
    """
    if not -len(inputs) <= sample < len(inputs):
        raise ValueError(f"sample: got {sample}; the batch has {words.many(len(inputs), 'sample')}")
    with evaluating(model), torch.no_grad():
        one = inputs[sample % len(inputs)][None]
        found = model(one, diagnostics=True).diagnostics
        positions = model.context(one).positions
    places = [_place(coordinates) for coordinates in positions.coordinates.tolist()]
    image = one[0].double().cpu().numpy() if one.dim() == 4 else None
    return Diagnostics(
        np.array(places[:MOST_TOKENS], dtype=np.int64),
        positions.special.cpu().numpy()[:MOST_TOKENS],
        image,
        tuple({name: _array(name, layer[name]) for name in KEPT if name in layer} for layer in found),
    )


def _place(coordinates: list[float]) -> tuple[int, int]:
    """(row, column); along a sequence (0, index)."""
    row, column = coordinates if len(coordinates) == 2 else (0.0, coordinates[0])
    return int(row), int(column)


def _array(name: str, values: Tensor) -> np.ndarray[Any, Any]:
    """The example's own, without tokens beyond the most."""
    own = values[0, :, :MOST_TOKENS]
    if name == "attention":
        own = own[..., :MOST_TOKENS]
    return own.double().cpu().numpy()

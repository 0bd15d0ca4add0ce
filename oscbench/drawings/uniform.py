"""Uniform: all weights alike."""

from __future__ import annotations

import torch
from matplotlib.axes import Axes

from oscbench.drawings import matrix
from oscbench.ops import softmax_attention


def draw(axes: Axes, colour: str) -> str:
    """Where queries say nothing, softmax is the mean."""
    nothing = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
    weights = softmax_attention(nothing, nothing, torch.eye(8, dtype=torch.float64)[None, None])[0, 0]
    matrix(axes, weights, colour)
    return f"eight tokens, whom each hears: everybody, {float(weights[0, 0]):.1%} each"

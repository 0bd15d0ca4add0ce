"""Softmax: its attention matrix."""

from __future__ import annotations

import torch
from matplotlib.axes import Axes

from oscbench.drawings import drawn, matrix
from oscbench.ops import softmax_attention


def draw(axes: Axes, colour: str) -> str:
    """Eight random queries against eight random keys; with one-hot values the output is the weights."""
    q, k = 1.6 * drawn(2, 1, 1, 8, 8, seed=3)
    weights = softmax_attention(q, k, torch.eye(8, dtype=torch.float64)[None, None])[0, 0]
    matrix(axes, weights, colour)
    return f"eight tokens, whom each hears: the strongest takes {float(weights.max(1).values.mean()):.0%} on average"

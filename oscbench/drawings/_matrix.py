"""Attention as squares: a row for each token that hears, a column for each that is heard, darker where it hears more."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor


def matrix(axes: Axes, weights: Tensor, colour: str) -> None:
    """Draw weights (N, N), the ink of each square the root of its weight, so that small ones are seen."""
    count = len(weights)
    for row, column in ((r, c) for r in range(count) for c in range(count)):
        place = (column + 0.06, count - 1 - row + 0.06)
        axes.add_patch(
            Rectangle(
                place, 0.88, 0.88, facecolor=colour, alpha=float(weights[row, column]) ** 0.5, linewidth=0.0
            )
        )
    axes.set_aspect("equal")
    axes.set_ylim(0.0, count)
    axes.set_xlim(0.0, count)

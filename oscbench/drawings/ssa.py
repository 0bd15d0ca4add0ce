"""SSA: who locks with whom."""

from __future__ import annotations

import torch
from matplotlib.axes import Axes
from matplotlib.patches import Arc
from torch import Tensor

from oscbench.drawings import drawn
from oscbench.ops import selective_synchronization
from oscbench.reporting.page.style import MUTED

TOKENS = 10


def locked() -> tuple[Tensor, Tensor]:
    """Natural frequencies of ten tokens in order, (10,), and whether each pair locks, (10, 10) bool."""
    omega = 1.5 * drawn(TOKENS, seed=2).sort().values
    theta = torch.zeros(1, 1, TOKENS, 1, dtype=torch.float64)
    heard = selective_synchronization(
        omega[None, None, :, None],
        theta,
        torch.eye(TOKENS, dtype=torch.float64)[None, None],
        coupling=1.0,
        alpha=0.5,
    )[0, 0]
    return omega, heard > 0


def draw(axes: Axes, colour: str) -> str:
    """Tokens along a line by frequency, an arc between two that lock."""
    omega, pairs = locked()
    for one, other in torch.triu(pairs, 1).nonzero().tolist():
        low, high = float(omega[one]), float(omega[other])
        axes.add_patch(
            Arc(
                ((low + high) / 2, 0.0),
                high - low,
                1.3 * (high - low),
                theta2=180.0,
                color=colour,
                linewidth=1.2,
            )
        )
    ends = float(omega[0]) - 0.2, float(omega[-1]) + 0.2
    axes.plot(ends, (0.0, 0.0), color=MUTED, linewidth=0.7)
    axes.plot(omega.numpy(), torch.zeros(TOKENS).numpy(), "o", color=colour, markersize=3.2)
    axes.set_xlim(*ends)
    axes.set_ylim(-0.15, 0.75)
    number = int(torch.triu(pairs, 1).sum())
    return f"ten tokens by natural frequency, an arc where two lock: {number} of {TOKENS * (TOKENS - 1) // 2} pairs"

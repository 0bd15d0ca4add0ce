"""Torus: angles that pull one another."""

from __future__ import annotations

import torch
from matplotlib.axes import Axes
from matplotlib.patches import Circle
from torch import Tensor

from oscbench.drawings import drawn, square
from oscbench.ops import torus_attention
from oscbench.reporting.page.style import MUTED

TOKENS = 9


def pulled() -> tuple[Tensor, Tensor]:
    """Angles of nine tokens and the pull on each, (9,) [rad]."""
    theta = 2.2 * drawn(1, 1, TOKENS, 1, seed=11)
    gate = torch.full_like(theta, 2.0)
    return theta[0, 0, :, 0], torus_attention(theta, gate, is_causal=False)[0, 0, :, 0]


def draw(axes: Axes, colour: str) -> str:
    """Where each angle is, hollow, and where its pull takes it, full."""
    theta, pull = pulled()
    axes.add_patch(Circle((0.0, 0.0), 1.0, fill=False, edgecolor=MUTED, linewidth=0.7))
    for start, end in zip(theta, theta + pull, strict=True):
        way = torch.linspace(float(start), float(end), 24)
        axes.plot(way.cos().numpy(), way.sin().numpy(), color=colour, linewidth=2.0, alpha=0.5)
    for at, filled in ((theta, "none"), (theta + pull, colour)):
        axes.plot(
            at.cos().numpy(), at.sin().numpy(), "o", color=colour, markerfacecolor=filled, markersize=3.2
        )
    square(axes)
    mean = float(pull.abs().mean())
    return f"one angle of nine tokens, hollow, and where their pull on one another takes it, full: {mean:.2f} rad on average"

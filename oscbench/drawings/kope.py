"""KoPE: phases of tokens over blocks."""

from __future__ import annotations

import math

import torch
from matplotlib.axes import Axes
from torch import Tensor

from oscbench.drawings import drawn
from oscbench.ops import kuramoto_step

TOKENS, BLOCKS, GAMMA = 10, 12, 0.5


def phases() -> Tensor:
    """Phases of ten tokens before and after each of twelve blocks, (13, 10) [rad]; the first five attend to one another, as the others do."""
    group = torch.arange(TOKENS) < TOKENS // 2
    alike = torch.stack((group, ~group), -1).double()[None, None] * 2.5
    theta = 1.2 * drawn(TOKENS, seed=37) + torch.where(group, 1.4, -1.4)
    found = [theta]
    for _ in range(BLOCKS):
        cos, sin = (f(found[-1])[None, None, :, None] for f in (torch.cos, torch.sin))
        moved_cos, moved_sin = kuramoto_step(alike, alike, cos, sin, gamma=GAMMA)
        turn = torch.atan2(moved_sin * cos - moved_cos * sin, moved_cos * cos + moved_sin * sin)
        found.append(found[-1] + turn[0, 0, :, 0])
    return torch.stack(found)


def order(theta: Tensor) -> float:
    """|mean e^(iθ)|."""
    return float(torch.hypot(theta.cos().mean(), theta.sin().mean()))


def draw(axes: Axes, colour: str) -> str:
    """Lines from scattered phases to two bundles."""
    theta = phases()
    for token in range(TOKENS):
        first = token < TOKENS // 2
        axes.plot(theta[:, token].numpy(), color=colour, linewidth=1.1, linestyle="-" if first else "--")
    axes.plot(torch.zeros(TOKENS).numpy(), theta[0].numpy(), "o", color=colour, markersize=2.4)
    axes.set_xlim(-0.4, BLOCKS + 0.2)
    axes.set_ylim(-math.pi, math.pi)
    ends = [order(theta[at, : TOKENS // 2]) for at in (0, -1)]
    return f"phases of ten tokens over twelve blocks: those that attend to one another come together, order {ends[0]:.2f} to {ends[1]:.2f}"

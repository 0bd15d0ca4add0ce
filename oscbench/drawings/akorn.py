"""AKOrN: oscillators on a sphere, several steps in a layer."""

from __future__ import annotations

import torch
from matplotlib.axes import Axes
from matplotlib.patches import Circle
from torch import Tensor

from oscbench.drawings import drawn, square
from oscbench.ops import softmax_attention
from oscbench.ops.spheres import tangent, unit
from oscbench.reporting.page.style import MUTED

TOKENS, STEPS, GAMMA = 7, 10, 0.3


def ways() -> Tensor:
    """Oscillators of seven tokens on a sphere, steps after one another, pulled by one another and each by its token: (11, 7, 3)."""
    x, own = unit(drawn(2, 1, TOKENS, 3, seed=4), 3)
    found = [x]
    for _ in range(STEPS):
        heads = x[:, None]
        y = softmax_attention(heads, heads, heads)[:, 0]
        x = unit(x + GAMMA * tangent(x, y + 0.7 * own, 3), 3)
        found.append(x)
    return torch.stack(found)[:, 0]


def draw(axes: Axes, colour: str) -> str:
    """Seen from one side, ways behind the sphere paler."""
    found = ways()
    axes.add_patch(Circle((0.0, 0.0), 1.0, fill=False, edgecolor=MUTED, linewidth=0.7))
    for token in range(TOKENS):
        x, y, z = found[:, token].unbind(-1)
        alpha = 1.0 if float(z.mean()) > 0 else 0.45
        axes.plot(x.numpy(), y.numpy(), ".-", color=colour, linewidth=0.9, markersize=1.8, alpha=alpha)
        axes.plot(float(x[-1]), float(y[-1]), "o", color=colour, markersize=3.2, alpha=alpha)
    square(axes)
    order = [float(found[at].mean(0).norm()) for at in (0, -1)]
    told = f"order {order[0]:.2f} to {order[1]:.2f}"
    return f"oscillators of seven tokens on a sphere, pulled by one another and by their tokens for {STEPS} steps of a layer: {told}"

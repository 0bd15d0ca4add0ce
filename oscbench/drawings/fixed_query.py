"""Fixed query: oscillators on their way to rest among anchors."""

from __future__ import annotations

import torch
from matplotlib.axes import Axes
from matplotlib.patches import Circle
from torch import Tensor

from oscbench.drawings import drawn, square
from oscbench.ops.fixed_query.ode import settle
from oscbench.ops.fixed_query.reference import fixed_point, pull
from oscbench.reporting.page.style import INK, MUTED

TOKENS, HORIZON, TIMES = 6, 5.0, 25


def settling() -> tuple[Tensor, Tensor, Tensor]:
    """Angles on the way (25, 6), at rest (6,) and of the anchors (6,) [rad]."""
    q, k = 1.5 * drawn(2, 1, 1, TOKENS, 4, seed=8)
    turns = torch.arange(TOKENS, dtype=torch.float64) * (2 * torch.pi / TOKENS)
    anchors = torch.stack((turns.cos(), turns.sin()), -1)[None, None]
    h = pull(q, k, anchors, coupling="softplus", is_causal=False, key_padding_mask=None)
    start = torch.nn.functional.normalize(drawn(1, 1, TOKENS, 2, seed=9), dim=-1)
    way = [start]
    for _ in range(TIMES - 1):
        way.append(settle(h, way[-1], solver="rk4", horizon=HORIZON / (TIMES - 1), num_steps=4).state)
    angles = torch.stack([torch.atan2(at[0, 0, :, 1], at[0, 0, :, 0]) for at in way])
    rest = fixed_point(h)[0, 0]
    return angles, torch.atan2(rest[:, 1], rest[:, 0]), turns


def draw(axes: Axes, colour: str) -> str:
    """Time runs outwards: oscillators start inside and come to rest on the circle, where the anchors stand."""
    angles, rest, anchors = settling()
    radius = torch.linspace(0.35, 1.0, TIMES, dtype=torch.float64)[:, None]
    x, y = radius * angles.cos(), radius * angles.sin()
    axes.add_patch(Circle((0.0, 0.0), 1.0, fill=False, edgecolor=MUTED, linewidth=0.7))
    axes.plot(x.numpy(), y.numpy(), color=colour, linewidth=1.1)
    axes.plot(x[0].numpy(), y[0].numpy(), "o", color=colour, markerfacecolor="none", markersize=2.6)
    axes.plot(x[-1].numpy(), y[-1].numpy(), "o", color=colour, markersize=3.2)
    axes.plot(anchors.cos().numpy(), anchors.sin().numpy(), "+", color=INK, markersize=4.5)
    square(axes)
    left = torch.remainder(angles[-1] - rest + torch.pi, 2 * torch.pi) - torch.pi
    told = f"{float(left.abs().max()):.2f} rad from rest at most"
    return f"six oscillators settle between anchors (crosses), time runs outwards: at its end {told}"

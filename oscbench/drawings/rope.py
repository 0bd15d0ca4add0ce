"""RoPE: one query at several places."""

from __future__ import annotations

import math

import torch
from matplotlib.axes import Axes
from matplotlib.patches import Circle

from oscbench.ops import rotate
from oscbench.ops.phases import rotary_frequencies
from oscbench.reporting.page.style import MUTED

PLACES = 5


def draw(axes: Axes, colour: str) -> str:
    """The same two channel pairs at five places: the first turns by 1 rad a place, the second by a tenth."""
    frequencies = rotary_frequencies(2, 100.0)
    angles = torch.arange(PLACES, dtype=torch.float64)[:, None] * frequencies
    same = torch.tensor([0.0, 1.0], dtype=torch.float64).repeat(1, 1, PLACES, 2)
    turned = rotate(same, angles.cos(), angles.sin())[0, 0].view(PLACES, 2, 2)
    for place in range(PLACES):
        for pair in range(2):
            x, y = 2.4 * place, 2.4 * (1 - pair)
            axes.add_patch(Circle((x, y), 1.0, fill=False, edgecolor=MUTED, linewidth=0.6))
            hand = turned[place, pair]
            axes.plot([x, x + float(hand[0])], [y, y + float(hand[1])], color=colour, linewidth=1.6)
    axes.set_aspect("equal")
    axes.set_xlim(-1.2, 2.4 * (PLACES - 1) + 1.2)
    axes.set_ylim(-1.2, 3.6)
    told = " and ".join(f"{math.degrees(float(frequency)):.0f}" for frequency in frequencies)
    return f"two channel pairs of one query at {PLACES} places, turned by {told} degrees a place"

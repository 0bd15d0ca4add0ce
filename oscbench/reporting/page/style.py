"""One look for every figure: ink, palette, markers.

Light colours in the files, dark twins for the page's dark mode.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

INK = "#1d2127"
MUTED = "#68707b"
GRID = "#e2e5e9"
PAPER = "#ffffff"

# (light, dark) pairs, told apart with the common colour-vision deficiencies and ≥ 3:1 on their background
# (a test measures both).
PALETTE = (
    ("#0450d8", "#8cc6ff"),
    ("#e0530b", "#f5861f"),
    ("#0a9a94", "#2fe08c"),
    ("#b552c0", "#b65cf0"),
    ("#5c3d00", "#f5ec5c"),
    ("#1d1d1f", "#a0a0a0"),
    ("#17475f", "#2f7ca3"),
    ("#c9605a", "#d8303f"),
)
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<", ">", "p", "h")

_DARK = {INK: ("ink", "#e6e8eb"), MUTED: ("muted", "#9aa3ae"), GRID: ("grid", "#2e343c")}


class Look(tuple[str, str]):
    """Colour and marker of one entry."""

    __slots__ = ()

    @property
    def colour(self) -> str:
        """The light colour, as hex."""
        return self[0]

    @property
    def marker(self) -> str:
        """Matplotlib's marker letter."""
        return self[1]


def looks(names: Iterable[str]) -> dict[str, Look]:
    """A colour and a marker for each name, by its place, so that the first eight share no colour.

    The pair repeats only after 88 names.
    """
    ordered = dict.fromkeys(names)
    return {
        name: Look((PALETTE[i % len(PALETTE)][0], MARKERS[i % len(MARKERS)]))
        for i, name in enumerate(ordered)
    }


def settings() -> dict[Any, Any]:
    """Matplotlib settings for all figures."""
    return {
        "font.family": ["DejaVu Sans"],
        "font.size": 8.5,
        "axes.titlesize": 9.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelsize": 8.5,
        "axes.edgecolor": MUTED,
        "axes.labelcolor": INK,
        "axes.titlecolor": INK,
        "axes.linewidth": 0.7,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.facecolor": "none",
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": GRID,
        "grid.linewidth": 0.7,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "text.color": INK,
        "legend.frameon": False,
        "legend.fontsize": 8,
        "figure.facecolor": PAPER,
        "savefig.facecolor": PAPER,
        "svg.fonttype": "none",
        "svg.hashsalt": "oscbench",
        "path.simplify": True,
    }


def _variables() -> dict[str, tuple[str, str]]:
    """Each light colour's CSS variable and dark twin."""
    named = {hexa: (f"--figure-{name}", twin) for hexa, (name, twin) in _DARK.items()}
    return named | {hexa: (f"--figure-{i}", twin) for i, (hexa, twin) in enumerate(PALETTE)}


def themed(svg: str) -> str:
    """An SVG with the page's typeface, and colours that follow the reader's light or dark preference by `theme`."""
    for hexa, (name, _) in _variables().items():  # as they stand in style attributes, not in words
        svg = re.sub(rf"(?<=stroke: ){hexa}|(?<=fill: ){hexa}", f"var({name})", svg)
    return svg.replace(
        "font-family: 'DejaVu Sans'", "font-family: system-ui, 'Helvetica Neue', Arial, sans-serif"
    )


def theme() -> str:
    """The rules that give the figures of a page their colours."""
    light = ";".join(f"{name}:{hexa}" for hexa, (name, _) in _variables().items())
    dark = ";".join(f"{name}:{twin}" for name, twin in _variables().values())
    return f":root{{{light}}}@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}"

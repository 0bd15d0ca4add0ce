"""One look for every figure: ink, palette, markers.

Light colours in the files, dark twins for the page's dark mode.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any, NamedTuple, TypeAlias

from oscbench.analysis.selection import Entry

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
# A variant's lines; the solid one is an entry's without a variant. Pairs are Matplotlib's: an offset, and lengths on and off.
Line: TypeAlias = str | tuple[float, tuple[float, ...]]
LINES: tuple[Line, ...] = ("--", "-.", ":", (0, (7, 1.5)), (0, (3, 1.2, 1, 1.2, 1, 1.2)), (0, (1, 3)))
_SALT = 8724
_LINE_SALT = 50

_DARK = {INK: ("ink", "#e6e8eb"), MUTED: ("muted", "#9aa3ae"), GRID: ("grid", "#2e343c")}


class Look(NamedTuple):
    """How one entry is drawn, in every figure of every report.

    Attributes:
        colour: The light colour, as hex: its mechanism's.
        marker: Matplotlib's marker letter: its variant's.
        line: Matplotlib's line style: its variant's.
    """

    colour: str
    marker: str
    line: Line


def look_of(entry: Entry) -> Look:
    """Colour by the mechanism's name and marker and line by the variant's, whatever else a report holds.

    A name's place in the palette is a hash of it. Salts were chosen once, so that the mechanisms of this package share no colour, and no
    two variants of one mechanism in a suite of ours a line (a test holds both); others may share one with them by chance.
    """
    plain = entry.variant == "default"
    marker = MARKERS[_place(entry.mechanism if plain else entry.variant, len(MARKERS))]
    line = "-" if plain else LINES[_place(entry.variant, len(LINES), _LINE_SALT)]
    return Look(PALETTE[_place(entry.mechanism, len(PALETTE))][0], marker, line)


def _place(name: str, count: int, salt: int = _SALT) -> int:
    return int.from_bytes(sha256(f"{salt}:{name}".encode()).digest()[:8]) % count


def settings() -> dict[Any, Any]:
    """Matplotlib settings for all figures."""
    return {
        "font.family": ["DejaVu Sans"],
        "text.parse_math": False,  # a variant may be called $x$, which is no formula
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


def darkened(svg: str) -> str:
    """An SVG file in the dark twins of its colours, for a page that shows one file or the other."""
    twins = {hexa: twin for hexa, (_, twin) in _variables().items()}
    colours = "|".join(twins)
    return re.sub(rf"(?<=stroke: )(?:{colours})|(?<=fill: )(?:{colours})", lambda found: twins[found[0]], svg)


def theme() -> str:
    """The rules that give the figures of a page their colours."""
    light = ";".join(f"{name}:{hexa}" for hexa, (name, _) in _variables().items())
    dark = ";".join(f"{name}:{twin}" for name, twin in _variables().values())
    return f":root{{{light}}}@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}"

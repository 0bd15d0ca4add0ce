"""A small drawing of each mechanism, for the README: `python -m oscbench.drawings`.

A file here draws the mechanism of its name, from numbers that the mechanism's own op gives for a few made-up tokens: it has
`draw(axes, colour)`, which returns in words what is seen, with the numbers. A test fails when the README's words are others.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from oscbench.analysis.selection import Entry
from oscbench.reporting.page.figure import finish
from oscbench.reporting.page.style import darkened, look_of, settings

FOLDER = Path("docs") / "mechanisms"
SIZE = (1.3, 0.8)  # inches


@dataclass(frozen=True)
class Drawing:
    """One mechanism's drawing.

    Attributes:
        alt: what is seen, in words.
        light: the SVG for light pages.
        dark: the same for dark ones.
    """

    alt: str
    light: str
    dark: str


def names() -> list[str]:
    """Every mechanism that has a drawing, by the files of this folder."""
    return sorted(found.name for found in pkgutil.iter_modules(__path__) if not found.name.startswith("_"))


def make(name: str) -> Drawing:
    """Draw one mechanism."""
    with matplotlib.rc_context(settings()):
        figure = Figure(figsize=SIZE)
        axes = figure.add_axes((0.02, 0.03, 0.96, 0.94))
        axes.set_axis_off()
        colour = look_of(Entry(name, "default")).colour
        alt: str = importlib.import_module(f"{__name__}.{name}").draw(axes, colour)
        svg = finish(figure, name, "drawing", name, alt).svg
    return Drawing(alt, svg, darkened(svg))


def write(folder: Path = FOLDER) -> list[Path]:
    """Write `NAME-light.svg` and `NAME-dark.svg` of every mechanism."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in names():
        made = make(name)
        for kind, svg in (("light", made.light), ("dark", made.dark)):
            path = folder / f"{name}-{kind}.svg"
            path.write_text(svg, encoding="utf-8")
            written.append(path)
    return written


def drawn(*shape: int, seed: int) -> Tensor:
    """Standard normal numbers in float64, the same everywhere."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def square(axes: Axes) -> None:
    """Circles are round: both axes from -1.15 to 1.15."""
    axes.set_aspect("equal")
    axes.set_xlim(-1.15, 1.15)
    axes.set_ylim(-1.15, 1.15)


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

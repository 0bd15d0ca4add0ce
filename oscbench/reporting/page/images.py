"""Small images that records keep as text, and maps of labels in colours."""

from __future__ import annotations

import base64
import textwrap
import zlib
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from oscbench.reporting.page.figure import WIDTH
from oscbench.reporting.page.style import GRID, INK, MUTED

GROWN = 6
"""Pixels a side that a pixel becomes where lines part segments."""
ROW = 1.0
"""Inches of a row of pictures."""
LETTERS = 16
"""Of a name that stand beside a row, upright, before it goes on in another line."""


def unpacked(text: str, shape: Sequence[int]) -> NDArray[np.uint8]:
    """Bytes of a shape that a record keeps compressed, as text."""
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=np.uint8).reshape(shape)


def painted(labels: NDArray[np.uint8], classes: int, background: int | None) -> NDArray[np.float64]:
    """Labels (h, w) in colours (h, w, 3): a hue a class, the background light, and grey for a label beyond the classes."""
    others = [c for c in range(classes) if c != background]
    hues = matplotlib.colormaps["tab20" if len(others) <= 20 else "hsv"]
    table = np.tile(to_rgb(MUTED), (256, 1))
    for place, number in enumerate(others):
        table[number] = hues(place if len(others) <= 20 else place / len(others))[:3]
    if background is not None:
        table[background] = to_rgb(GRID)
    return np.asarray(table[labels])


def parted(colours: NDArray[np.float64], segments: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Colours (h, w, 3) with a dark line wherever one segment (h, w) meets another, each pixel grown to `GROWN` by `GROWN`."""
    grown, numbers = (np.repeat(np.repeat(x, GROWN, 0), GROWN, 1) for x in (colours, segments.astype(int)))
    edge = np.zeros(numbers.shape, dtype=bool)
    edge[1:] |= numbers[1:] != numbers[:-1]
    edge[:, 1:] |= numbers[:, 1:] != numbers[:, :-1]
    grown[edge] = to_rgb(INK)
    return grown


def gallery(
    title: str,
    images: NDArray[np.uint8],
    rows: Sequence[tuple[str, NDArray[np.uint8] | None]],
    classes: int,
    background: int | None,
    segments: Sequence[NDArray[np.uint8] | None] = (),
) -> Figure:
    """Rows of pictures below one another: images (n, C, h, w) where a row has no labels, else its labels (n, h, w) painted.

    With `segments` (n, h, w), row by row, lines part one segment from the next.
    """
    lines = segments or [None] * len(rows)
    figure = Figure(figsize=(WIDTH, 0.4 + ROW * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), len(images), squeeze=False)
    for axes, (name, labels), parts in zip(grid, rows, lines, strict=True):
        for place, one in enumerate(axes):
            if labels is None:
                seen = images[place].transpose(1, 2, 0)
                grey = {"cmap": "gray"} if seen.shape[-1] == 1 else {}
                one.imshow(seen.squeeze(), interpolation="nearest", **grey)
            else:
                colours = painted(labels[place], classes, background)
                shown = colours if parts is None else parted(colours, parts[place])
                one.imshow(shown, interpolation="nearest")
            one.set(xticks=[], yticks=[])
        axes[0].set_ylabel(textwrap.fill(name, LETTERS), color=INK, fontsize=7.5)
    figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, fontweight="bold")
    return figure

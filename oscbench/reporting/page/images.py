"""Small images that records keep as text, and maps of labels in colours."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from oscbench.reporting.page.style import GRID, MUTED


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

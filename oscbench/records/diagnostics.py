"""What the mechanism of a trained model did with one test example, layer by layer, as a file beside the model's weights (no torch)."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oscbench.records.packed import UnreadableError, regular

_LAYER = re.compile(r"layer(\d+)/(\w+)")
MOST_BYTES = 200_000_000
"""A file that would unpack to more is none of ours."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Diagnostics:
    """One example and what each layer made of it.

    Attributes:
        places: (N, 2), row and column of each token in an image; (0, index) along a sequence.
        special: (N,) bool, CLS and registers, which stand nowhere.
        image: (channels, height, width) as the model read it; None where the input is no image.
        layers: of each layer, by name: `attention` (H, N, N), `phases` (H, N, m) [rad], `pull` (H, N, d) towards `anchors` (H, N, d),
            as far as the mechanism has them.
    """

    places: NDArray[np.int64]
    special: NDArray[np.bool_]
    image: Array | None = None
    layers: tuple[Mapping[str, Array], ...] = field(default=())

    def of(self, name: str) -> list[Array]:
        """A quantity of every layer; none at all where a layer lacks it."""
        found = [layer[name] for layer in self.layers if name in layer]
        return found if len(found) == len(self.layers) else []

    @property
    def is_image(self) -> bool:
        """Whether tokens stand in rows and columns."""
        return bool(self.places[:, 0].any())

    def packed(self) -> bytes:
        """As a compressed file of three to four digits a number."""
        arrays: dict[str, NDArray[np.generic]] = {"places": self.places, "special": self.special}
        if self.image is not None:
            arrays["image"] = self.image.astype(np.float32)
        for index, layer in enumerate(self.layers):
            arrays |= {f"layer{index}/{name}": values.astype(np.float16) for name, values in layer.items()}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        return buffer.getvalue()


def read_diagnostics(path: Path) -> Diagnostics | None:
    """What a file holds; None where there is none, or it is torn or of another kind."""
    try:
        regular(path)
        with zipfile.ZipFile(path) as packed:
            if sum(one.file_size for one in packed.infolist()) > MOST_BYTES:
                return None
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        places, special = arrays.pop("places"), arrays.pop("special")
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, UnreadableError):
        return None
    image = arrays.pop("image", None)
    layers: dict[int, dict[str, Array]] = {}
    for name, values in arrays.items():
        if match := _LAYER.fullmatch(name):
            layers.setdefault(int(match[1]), {})[match[2]] = values.astype(np.float64)
    return Diagnostics(
        places,
        special,
        None if image is None else image.astype(np.float64),
        tuple(layers[index] for index in sorted(layers)),
    )

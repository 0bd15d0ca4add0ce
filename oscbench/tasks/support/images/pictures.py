"""Pictures in folders by class: found in a fixed order, decoded side by side, and told in a line where one is damaged.

Reading images needs Pillow (`pip install "oscbench[images]"`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from oscbench.errors import UserError, first_line

SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".webp", ".ppm")
DECODERS = 8


@dataclass(frozen=True)
class Picture:
    """One image: where it is for messages, its class, and how to open it."""

    where: str
    label: int
    open: Callable[[], Any]


def pictures_below(folder: Path, names: Iterable[str], layout: str) -> list[Picture]:
    """Every image of `folder/CLASS`, class by class, in a fixed order.

    Args:
        folder: of a split.
        names: classes, in the order of their numbers.
        layout: what is wanted, for messages.

    Raises:
        UserError: a class has no image, or Pillow is not installed.
    """
    found = []
    for label, name in enumerate(names):
        paths = sorted(path for path in (folder / name).glob("*") if path.suffix.lower() in SUFFIXES)
        if not paths:
            raise UserError(f"task.path: {folder / name}: no image in it ({', '.join(SUFFIXES)}); {layout}")
        found += [Picture(str(path), label, partial(pillow().open, path)) for path in paths]
    return found


def decoded(pictures: list[Picture], size: int, *, scaled: bool = True) -> tuple[Tensor, Tensor]:
    """Images (n, 3, size, size) uint8 and classes (n,).

    Args:
        pictures: in the order wanted.
        size: side [pixels].
        scaled: take the middle square of an image of any size, scaled; else an image of another size is refused.

    Raises:
        UserError: one cannot be read, or has another size; names it.
    """
    read = partial(_square if scaled else _as_it_is, size=size)
    images = torch.empty(len(pictures), 3, size, size, dtype=torch.uint8)
    with ThreadPoolExecutor(DECODERS) as pool:  # Pillow decodes outside the interpreter's lock
        for row, image in enumerate(pool.map(read, pictures)):
            images[row] = image
    return images, torch.tensor([picture.label for picture in pictures], dtype=torch.int64)


def _square(picture: Picture, size: int) -> Tensor:
    """The middle square of an image, scaled so that it is `size` pixels wide."""
    image = _opened(picture)
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    cut = image.resize((size, size), pillow().Resampling.BICUBIC, box=(left, top, left + side, top + side))
    return _tensor(cut)


def _as_it_is(picture: Picture, size: int) -> Tensor:
    image = _opened(picture)
    if image.size != (size, size):
        raise UserError(
            f"task.path: {picture.where}: {image.width} × {image.height} pixels, needs {size} × {size}; bring it again"
        )
    return _tensor(image)


def _opened(picture: Picture) -> Any:
    try:
        with picture.open() as opened:
            return opened.convert("RGB")
    except Exception as error:  # whatever a decoder makes of damaged bytes
        raise UserError(
            f"task.path: {picture.where}: cannot be read as an image ({first_line(error)}); bring it again, or remove it"
        ) from error


def _tensor(image: Any) -> Tensor:
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)


def pillow() -> Any:
    """Pillow's Image module, which is an extra.

    Raises:
        UserError: it is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise UserError(
            'task.path: images are read with Pillow, which is not installed; pip install "oscbench[images]"'
        ) from error
    return Image

"""Pictures with a label for every pixel, in folders side by side: paired by name, decoded, and told in a line where something is wrong.

A label picture has one channel of 8 bits, which is the class; `panoptic_pictures` has those whose colours tell segments. Reading images
needs Pillow (`pip install "oscbench[images]"`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from oscbench.errors import UserError, first_line
from oscbench.tasks.support.images.pictures import DECODERS, SUFFIXES, pillow
from oscbench.tasks.support.segments.segmentation import IGNORED


@dataclass(frozen=True)
class Labelling:
    """What the numbers of label pictures mean.

    Attributes:
        classes: how many there are.
        first: number of the first class; the others follow.
        void: number of pixels that nobody labelled.
    """

    classes: int
    first: int
    void: int

    def table(self) -> Tensor:
        """From a number to its class, to `IGNORED` for void, and to -1 for what means nothing: (256,)."""
        found = torch.full((256,), -1, dtype=torch.int16)
        found[self.first : self.first + self.classes] = torch.arange(self.classes, dtype=torch.int16)
        found[self.void] = IGNORED
        return found

    def words(self) -> str:
        """What is allowed."""
        return f"allowed: {self.first} to {self.first + self.classes - 1}, and {self.void} for void"


def labelled(images: Path, labels: Path, layout: str) -> list[tuple[Path, Path]]:
    """Every image of a folder with the label picture of the same name in another one, in a fixed order.

    Args:
        images: folder of the images.
        labels: folder of the label pictures, PNG.
        layout: what is wanted, for messages.

    Raises:
        UserError: no image is there, or one has no labels.
    """
    paths = sorted(path for path in images.glob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise UserError(f"task.path: {images}: no image in it ({', '.join(SUFFIXES)}); {layout}")
    found = [(path, labels / f"{path.stem}.png") for path in paths]
    for image, label in found:
        if not label.is_file():
            raise UserError(f"task.path: {label}: no such file; {image} has no labels")
    return found


def decoded_with_labels(
    pairs: Sequence[tuple[Path, Path]], size: tuple[int, int], labelling: Labelling, *, square: bool = False
) -> tuple[Tensor, Tensor]:
    """Images (n, 3, height, width) and classes (n, height, width), both uint8, `IGNORED` where nobody labelled.

    Args:
        pairs: of an image and its label picture, in the order wanted.
        size: (height, width) that both are scaled to, images by area or bicubically, labels to the nearest.
        labelling: what the labels' numbers mean.
        square: take the middle part of the wanted shape first; else the whole picture is scaled.

    Raises:
        UserError: one cannot be read, the two differ in size, the labels are no class numbers, or no pixel of all is labelled.
    """
    read = partial(_classes, labelling=labelling)
    images, classes = decoded_together(pairs, size, read, torch.uint8, square=square)
    if bool((classes == IGNORED).all()):
        raise UserError(f"task.path: {pairs[0][1].parent}: every pixel of every label picture is void")
    return images, classes


def decoded_together(
    pairs: Sequence[tuple[Path, Path]],
    size: tuple[int, int],
    read: Callable[[Path, Any], Tensor],
    kind: torch.dtype,
    *,
    square: bool = False,
) -> tuple[Tensor, Tensor]:
    """Images (n, 3, height, width) uint8 and labels (n, height, width) of a kind.

    Args:
        pairs: of an image and its label picture, in the order wanted.
        size: (height, width) that both are scaled to, images by area or bicubically, labels to the nearest.
        read: labels (h, w) int64 from a label picture and its path.
        kind: of the labels.
        square: take the middle part of the wanted shape first; else the whole picture is scaled.

    Raises:
        UserError: one cannot be read, or the two differ in size; or what `read` raises.
    """
    images = torch.empty(len(pairs), 3, *size, dtype=torch.uint8)
    labels = torch.empty(len(pairs), *size, dtype=kind)
    one = partial(_pair, size=size, read=read, square=square)
    with ThreadPoolExecutor(DECODERS) as pool:  # Pillow decodes outside the interpreter's lock
        for row, (image, label) in enumerate(pool.map(one, pairs)):
            images[row], labels[row] = image, label
    return images, labels


def _classes(path: Path, picture: Any, labelling: Labelling) -> Tensor:
    if picture.mode not in ("L", "1"):
        raise UserError(
            f"task.path: {path}: a picture in colours (mode {picture.mode}), needs one channel of class numbers (mode L)"
        )
    numbers = torch.from_numpy(np.asarray(picture.convert("L")).copy()).long()
    classes = labelling.table()[numbers]
    if bool((classes < 0).any()):
        wrong = int(numbers[classes < 0][0])
        raise UserError(f"task.path: {path}: a label of {wrong}; {labelling.words()}")
    return classes


def _pair(
    paths: tuple[Path, Path], size: tuple[int, int], read: Callable[[Path, Any], Tensor], square: bool
) -> tuple[Tensor, Tensor]:
    image, label = (_opened(path) for path in paths)
    labels = read(paths[1], label)
    if image.size != label.size:
        raise UserError(
            f"task.path: {paths[1]}: {label.width} × {label.height} pixels, its image {paths[0].name} has "
            f"{image.width} × {image.height}"
        )
    module, (height, width) = pillow(), size
    box = _middle(image.size, size) if square else (0.0, 0.0, float(image.width), float(image.height))
    shrinks = box[2] - box[0] >= width and box[3] - box[1] >= height
    how = module.Resampling.BOX if shrinks else module.Resampling.BICUBIC
    scaled = image.convert("RGB").resize((width, height), how, box=box)
    rows = _nearest(box[1], box[3], height, image.height)
    columns = _nearest(box[0], box[2], width, image.width)
    picture = torch.from_numpy(np.asarray(scaled).copy()).permute(2, 0, 1)
    return picture, labels[rows[:, None], columns]


def _middle(there: tuple[int, int], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """The largest part in the middle of a picture (width, height) that has the wanted (height, width)'s shape."""
    scale = min(there[0] / size[1], there[1] / size[0])
    width, height = scale * size[1], scale * size[0]
    left, top = (there[0] - width) / 2, (there[1] - height) / 2
    return left, top, left + width, top + height


def _nearest(low: float, high: float, count: int, limit: int) -> Tensor:
    """Pixels of a picture that the centres of `count` equal parts of a stretch fall on."""
    centres = low + (torch.arange(count, dtype=torch.float64) + 0.5) * (high - low) / count
    return centres.floor().long().clamp(0, limit - 1)


def _opened(path: Path) -> Any:
    try:
        with pillow().open(path) as opened:
            opened.load()
            return opened
    except UserError:
        raise
    except Exception as error:  # whatever a decoder makes of damaged bytes
        raise UserError(
            f"task.path: {path}: cannot be read as an image ({first_line(error)}); bring it again, or remove it"
        ) from error

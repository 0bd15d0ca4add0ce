"""Pictures whose segments are told by colour, in COCO's panoptic form: a list of images and segments, and a PNG of segment ids for each.

A pixel's id is R + 256 G + 65,536 B, and 0 is void. `segments_info` gives each id its category, and says of crowds that they are such.
Categories say whether they are things. Reading images needs Pillow (`pip install "oscbench[images]"`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from oscbench.errors import UserError, first_line
from oscbench.tasks.support.images.labelled_pictures import decoded_together
from oscbench.tasks.support.segments.panoptic import INSTANCES, MOST_CLASSES, VOID, crowd_of

RED_GREEN_BLUE = np.array([1, 256, 65_536])


@dataclass(frozen=True)
class Category:
    """A class: its id in files, its name, and whether it is of things that can be counted."""

    number: int
    name: str
    is_thing: bool


@dataclass(frozen=True)
class Segmented:
    """An image, its label picture, and the label (as `segments.panoptic` has them) of each segment's id."""

    image: Path
    picture: Path
    labels: Mapping[int, int]


def read_list(path: Path) -> dict[str, Any]:
    """What a list of segments holds: `images`, `annotations` and `categories`, all lists of objects.

    Raises:
        UserError: it is not there, is no JSON, or lacks one of them.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"task.path: {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"task.path: {path}: no JSON ({first_line(error)})") from error
    for key in ("images", "annotations", "categories"):
        rows = content.get(key) if isinstance(content, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise UserError(f'task.path: {path}: has no list of objects "{key}"')
    return dict(content)


def categories_of(content: Mapping[str, Any], path: Path) -> tuple[Category, ...]:
    """The classes of a list, in its order.

    Raises:
        UserError: there is none, there are too many, one is there twice, or one says too little.
    """
    rows = content["categories"]
    if not 0 < len(rows) <= MOST_CLASSES:
        raise UserError(f"task.path: {path}: {len(rows)} categories; allowed: 1 to {MOST_CLASSES}")
    found = []
    for row in rows:
        number, name = _whole(row, "id", "a category", path), str(row.get("name", row["id"]))
        thing = _whole(row, "isthing", f"category {number}", path)
        if thing not in (0, 1):
            raise UserError(f"task.path: {path}: category {number}: isthing is {thing}; allowed: 0, 1")
        found.append(Category(number, name, bool(thing)))
    numbers = [one.number for one in found]
    twice = next((number for number in numbers if numbers.count(number) > 1), None)
    if twice is not None:
        raise UserError(f"task.path: {path}: category {twice} is there twice")
    return tuple(found)


def segmented(
    content: Mapping[str, Any], path: Path, images: Path, pictures: Path, categories: Sequence[Category]
) -> list[Segmented]:
    """Every annotated image of a list, in the order of their names.

    Args:
        content: of the list.
        path: of the list.
        images: folder of the images.
        pictures: folder of the label pictures.
        categories: classes, in the order of their numbers.

    Raises:
        UserError: no image is annotated, a file is missing, or segments are of no category, or not told apart.
    """
    names = {_whole(row, "id", "an image", path): str(row.get("file_name")) for row in content["images"]}
    class_of = {one.number: (place, one.is_thing) for place, one in enumerate(categories)}
    found = []
    for row in content["annotations"]:
        where, number = f"annotation {row.get('file_name')}", _whole(row, "image_id", "an annotation", path)
        if number not in names:
            raise UserError(f"task.path: {path}: {where}: image_id {number} is none of its images")
        labels = _labels(row.get("segments_info"), class_of, path, where)
        found.append(Segmented(images / names[number], pictures / str(row.get("file_name")), labels))
    if not found:
        raise UserError(f"task.path: {path}: no image is annotated")
    for one in found:
        for file in (one.image, one.picture):
            if not file.is_file():
                raise UserError(f"task.path: {file}: no such file; {path.name} names it")
    return sorted(found, key=lambda one: one.image)


def _labels(
    segments: object, class_of: Mapping[int, tuple[int, bool]], path: Path, where: str
) -> dict[int, int]:
    """The label of each id of an image's segments; things are numbered class by class, stuff of a class is one."""
    if not isinstance(segments, list) or not all(isinstance(one, dict) for one in segments):
        raise UserError(f'task.path: {path}: {where}: has no list of objects "segments_info"')
    labels: dict[int, int] = {}
    many: dict[int, int] = {}
    for one in segments:
        number = _whole(one, "id", where, path)
        segment = f"{where}: segment {number}"
        category = _whole(one, "category_id", segment, path)
        if number in labels:
            raise UserError(f"task.path: {path}: {segment} is there twice")
        if category not in class_of:
            ids = sorted(class_of)
            raise UserError(
                f"task.path: {path}: {segment}: category_id {category} is none of its {len(ids)} categories ({ids[0]} to {ids[-1]})"
            )
        place, is_thing = class_of[category]
        if _whole({"iscrowd": 0, **one}, "iscrowd", segment, path):
            labels[number] = crowd_of(place)
            continue
        instance = many.get(place, 0) if is_thing else 0
        if instance >= INSTANCES:
            raise UserError(
                f"task.path: {path}: {segment}: more things of category {category} than {INSTANCES} in an image"
            )
        many[place] = instance + 1
        labels[number] = place * INSTANCES + instance
    return labels


def _whole(row: Mapping[str, Any], key: str, where: str, path: Path) -> int:
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, int):
        told = f"{key} is {value!r}" if key in row else f"has no {key}"
        raise UserError(f"task.path: {path}: {where}: {told}; needs a whole number")
    return value


def decoded_with_segments(found: Sequence[Segmented], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Images (n, 3, height, width) uint8 and labels (n, height, width) int16, both scaled to a size (height, width).

    Raises:
        UserError: a picture cannot be read, is of another size than its image, or shows an id of no segment; or all is void.
    """
    read = partial(_segments, labels={one.picture: one.labels for one in found})
    pairs = [(one.image, one.picture) for one in found]
    images, labels = decoded_together(pairs, size, read, torch.int16)
    if bool((labels == VOID).all()):
        raise UserError(f"task.path: {pairs[0][1].parent}: every pixel of every label picture is void")
    return images, labels


def _segments(path: Path, picture: Any, labels: Mapping[Path, Mapping[int, int]]) -> Tensor:
    """The label of each pixel of a label picture."""
    if picture.mode not in ("RGB", "RGBA"):
        raise UserError(
            f"task.path: {path}: mode {picture.mode}, needs colours (mode RGB), which are ids: R + 256 G + 65,536 B"
        )
    ids = np.asarray(picture.convert("RGB")).astype(np.int64) @ RED_GREEN_BLUE
    numbers, places = np.unique(ids, return_inverse=True)
    told = {0: VOID, **labels[path]}
    wrong = next((number for number in numbers.tolist() if number not in told), None)
    if wrong is not None:
        raise UserError(f"task.path: {path}: a segment of id {wrong} that its segments_info lacks")
    by_place = torch.tensor([told[number] for number in numbers.tolist()])
    return by_place[torch.from_numpy(places.reshape(ids.shape))]

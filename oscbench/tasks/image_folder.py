"""Photographs in folders by class, laid out like ImageNet (`train/class/*.jpg` and `val/class/*.jpg`), from a local folder.

A folder that Hugging Face `datasets` wrote with `save_to_disk` is read too. Images are scaled so that the shorter side fits, cut to the
middle square, and kept as prepared bytes; crops, shifts and flips are drawn anew each epoch. The labelled `val` (or `test`) images are the
test, and a tenth of the training images, of each class alike, is held back for validation.

Reading images needs Pillow (`pip install "oscbench[images]"`), saved data sets need `datasets` (`pip install "oscbench[hub]"`).
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import Field
from torch import Tensor

from oscbench.data import locate
from oscbench.data.prepared import prepared
from oscbench.errors import UserError, first_line
from oscbench.tasks import ImageInputs, Metric
from oscbench.tasks.support.images.pictures import Picture, decoded, pictures_below, pillow
from oscbench.tasks.support.images.saved_datasets import is_saved, saved_classes, saved_pictures
from oscbench.tasks.support.images.stored import StoredImages, StoredImagesConfig, as_batch

PREPARATION = "image_folder v1"
TEST_FOLDERS = ("val", "validation", "test")
LAYOUT = "give a folder with train/CLASS/*.jpg and val/CLASS/*.jpg"


class ImageFolderConfig(StoredImagesConfig):
    """Settings of photographs in folders.

    Attributes:
        path: the folder with `train` and `val`, or one written by `save_to_disk`.
        size: side of the square that images are scaled and cut to [pixels].
        classes: only so many classes, the first by name; None is all.
        class_list: a text file with a class to a line, as those of ImageNet-100 are published; only these.
        crop_area: as in the paper's recipe it would be 0.08; small models learn more from larger parts.
    """

    path: str | None = None
    size: int = Field(default=64, ge=4)
    classes: int | None = Field(default=None, ge=2)
    class_list: str | None = None
    crop_area: float = Field(default=0.35, gt=0.0, le=1.0)


class ImageFolder(StoredImages):
    """Which class a photograph belongs to."""

    Config = ImageFolderConfig
    version = 2
    label = "photographs"

    def __init__(self, config: ImageFolderConfig) -> None:
        self.config = config
        self.inputs = self.describe(config)
        assert config.path is not None
        located = locate(config.path)
        names = class_names(config)
        key = f"{PREPARATION} {config.size} {json.dumps(names)} {located.sha256()}"
        found = prepared(key, lambda: _read(located.path, names, config.size))
        self.keep(as_batch(found, "train"), as_batch(found, "test"))

    @classmethod
    def describe(cls, config: ImageFolderConfig) -> ImageInputs:
        """Coloured squares; refused here, before anything runs, where folders or packages are missing."""
        pillow()
        return ImageInputs(3, config.size, config.size, len(class_names(config)))

    @classmethod
    def headline(cls, config: ImageFolderConfig) -> tuple[str, Metric]:
        """Which photographs."""
        where = f" of {Path(config.path).name}" if config.path else ""
        return f"{cls.label}{where}, {config.size} pixels", cls.metric


def class_names(config: ImageFolderConfig) -> list[str]:
    """Classes that are used, in the order of their numbers.

    Raises:
        UserError: there is no such folder, or a class that is asked for is not in it.
    """
    if config.path is None:
        raise UserError(f"task.path: not given; {LAYOUT}, as in --set task.path=FOLDER")
    place = locate(config.path).path
    if is_saved(place):
        there = saved_classes(place)
    else:
        train = place / "train"
        if not train.is_dir():
            raise UserError(f"task.path: {train}: no such folder; {LAYOUT}")
        there = sorted(folder.name for folder in train.iterdir() if folder.is_dir())
    names = there if config.class_list is None else _listed(config.class_list, there)
    if config.classes is not None and config.classes > len(names):
        raise UserError(f"task.classes: got {config.classes}; {place} has {len(names)} of them")
    names = names[: config.classes]
    if len(names) < 2:
        raise UserError(f"task.path: {place}: {len(names)} classes, at least 2 are needed; {LAYOUT}")
    return names


def _listed(path: str, there: list[str]) -> list[str]:
    """Classes of a list, each of which must be there."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"task.class_list: {path}: cannot be read ({first_line(error)})") from error
    names = list(dict.fromkeys(line.split()[0] for line in text.splitlines() if line.strip()))
    for name in names:
        if name not in there:
            raise UserError(
                f'task.class_list: {path}: "{name}" is none of the {len(there)} classes that are there'
            )
    return names


def _read(place: Path, names: list[str], size: int) -> dict[str, Tensor]:
    """Images (n, 3, size, size) uint8 and classes of training and test."""
    found = {}
    for split in ("train", "test"):
        if is_saved(place):
            pictures = [Picture(*found) for found in saved_pictures(place, split, names)]
        else:
            pictures = pictures_below(_split_folder(place, split), names, LAYOUT)
        found[f"{split}.images"], found[f"{split}.classes"] = decoded(pictures, size)
    return found


def _split_folder(place: Path, split: str) -> Path:
    if split == "train":
        return place / "train"
    there = [place / name for name in TEST_FOLDERS if (place / name).is_dir()]
    if not there:
        raise UserError(f"task.path: {place}: none of {', '.join(TEST_FOLDERS)} is there; {LAYOUT}")
    return there[0]


task = ImageFolder

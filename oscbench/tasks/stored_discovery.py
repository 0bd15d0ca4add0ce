"""Object discovery in the scenes that AKOrN was tried on (arXiv 2410.13821), Tetrominoes, dSprites and CLEVR, as its script leaves them.

`convert_tfrecord_to_np.py` of the authors' repository makes NAME_train.npz, NAME_val.npz and NAME_test.npz of published TFRecords, each with
`images` (n, C, h, w) from 0 to 1 and `labels` (n, h, w): 0 where a pixel shows the ground, k where it shows object k. A label of -1 or 255
is an overlap, which counts nowhere. Only so many scenes of validation are read, since each is clustered after every epoch.
"""

from __future__ import annotations

import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from oscbench.data import locate
from oscbench.data.prepared import prepared
from oscbench.errors import UserError, first_line
from oscbench.tasks import Metric, ViewInputs
from oscbench.tasks.support.segments.discovery import (
    DiscoveryConfig,
    ObjectDiscovery,
    with_objects,
    without_objects,
)
from oscbench.tasks.support.segments.grouping import OVERLAP

PREPARATION = "object scenes v1"
FILES = {"train": "train", "validation": "val", "test": "test"}
"""Endings of the files' names by split."""
LAYOUT = (
    "give the folder that AKOrN's convert_tfrecord_to_np.py wrote, with *_train.npz, *_val.npz and *_test.npz"
)
LABELS = {"tetrominoes": "Tetrominoes", "multi_dsprites": "dSprites", "clevr6": "CLEVR"}
"""Of stored data sets, as AKOrN names them."""
CLUSTERS = {"tetrominoes": 4, "multi_dsprites": 7, "clevr6": 11}
"""Into how many clusters AKOrN's evaluation cuts every scene of a set."""
OVERLAPPED = (-1, 255)
MOST_OBJECTS = np.iinfo(np.int16).max
AT_ONCE = 1024


class StoredDiscoveryConfig(DiscoveryConfig):
    """Settings of stored scenes.

    Attributes:
        path: folder of the three files; by default the stored data set.
        validation_scenes: the first so many of validation.
        clusters: into how many every scene is cut; by default as AKOrN's evaluation cuts the set's, and in another set as many as a scene
            has objects and one for the ground, which knows more.
    """

    path: str = "tetrominoes"
    clusters: int | None = Field(default=None, ge=2)
    validation_scenes: int = Field(default=100, ge=1)


class StoredDiscovery(ObjectDiscovery):
    """Which patches of a stored scene show the same object."""

    Config = StoredDiscoveryConfig
    version = 2
    label = "object discovery in stored scenes"
    config: StoredDiscoveryConfig

    def __init__(self, config: StoredDiscoveryConfig) -> None:
        self.config = config
        located = locate(config.path)
        paths = _paths(located.path)
        made = {
            split: prepared(f"{PREPARATION} {split} {located.sha256()}", partial(read_scenes, path))
            for split, path in paths.items()
        }
        shapes = {split: tuple(part["images"].shape[1:]) for split, part in made.items()}
        for split, shape in shapes.items():
            if shape != shapes["train"]:
                raise UserError(
                    f"task.path: {paths[split]}: images of {_size(shape)}, those of {paths['train'].name} are {_size(shapes['train'])}"
                )
        self.inputs = config.inputs(*shapes["train"])
        validation = {name: part[: config.validation_scenes] for name, part in made["validation"].items()}
        self.take(
            {
                "train": without_objects(made["train"]["images"]),
                "validation": with_objects(validation),
                "test": with_objects(made["test"]),
            }
        )

    def num_clusters(self, objects: np.ndarray) -> int:
        """As the settings say."""
        told = self.config.clusters or CLUSTERS.get(self.config.path)
        return told or super().num_clusters(objects)

    @classmethod
    def describe(cls, config: Any) -> ViewInputs:
        """The size of the test images, which alone are few enough to look at."""
        path = _paths(locate(config.path).path)["test"]
        shape = _arrays(path)[0].shape
        found: ViewInputs = config.inputs(*shape[1:])
        return found

    @classmethod
    def headline(cls, config: Any) -> tuple[str, Metric]:
        """The label names the set where it is a stored one."""
        return f"object discovery in {LABELS.get(config.path, 'stored scenes')}", cls.metric


def read_scenes(path: Path) -> dict[str, Tensor]:
    """`images` (n, C, h, w) uint8 and `objects` (n, h, w) int16 of a file.

    Raises:
        UserError: it is no such file, or says something else than was wanted.
    """
    images, labels = _arrays(path)
    if labels.shape != (len(images), *images.shape[2:]):
        raise UserError(
            f"task.path: {path}: labels of shape {labels.shape} beside images of shape {images.shape}; needs a label for every pixel"
        )
    if len(images) == 0:
        raise UserError(f"task.path: {path}: no image in it")
    outside = labels[(labels < min(OVERLAPPED)) | (labels > MOST_OBJECTS)]
    if outside.size:
        raise UserError(
            f"task.path: {path}: a label of {outside[0]}; allowed: 0 for the ground, 1 to {MOST_OBJECTS} for objects, -1 for overlaps"
        )
    found = np.where(np.isin(labels, OVERLAPPED), OVERLAP, labels.astype(np.int16) - 1).astype(np.int16)
    return {"images": torch.from_numpy(_as_bytes(images, path)), "objects": torch.from_numpy(found)}


def _arrays(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """`images` with an axis of channels, and `labels`, of whole numbers."""
    try:
        with np.load(path, allow_pickle=False) as held:
            lost = next((name for name in ("images", "labels") if name not in held.files), None)
            if lost is not None:
                raise UserError(
                    f"task.path: {path}: no array `{lost}`, it has {', '.join(held.files) or 'none'}; {LAYOUT}"
                )
            images, labels = held["images"], held["labels"]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(
            f"task.path: {path}: cannot be read as .npz ({first_line(error)}); {LAYOUT}"
        ) from error
    if images.ndim == 3:  # what had one channel was squeezed
        images = images[:, None]
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise UserError(
            f"task.path: {path}: images of shape {images.shape}; needs (images, channels, height, width) with 1 or 3 channels"
        )
    if labels.dtype.kind not in "iu":
        raise UserError(f"task.path: {path}: labels of type {labels.dtype}; needs whole numbers")
    return images, labels


def _as_bytes(images: np.ndarray, path: Path) -> np.ndarray:
    """Images as bytes; numbers with a point go from 0 to 1."""
    if images.dtype == np.uint8:
        return images
    low, high = float(images.min()), float(images.max())
    if images.dtype.kind != "f" or not (low >= 0.0 and high <= 1.0):
        raise UserError(
            f"task.path: {path}: images of type {images.dtype} from {low:g} to {high:g}; needs bytes, or numbers from 0 to 1"
        )
    found = np.empty(images.shape, dtype=np.uint8)
    for start in range(0, len(images), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        found[part] = np.rint(255.0 * images[part])
    return found


def _paths(folder: Path) -> dict[str, Path]:
    """The file of each split; all of one name.

    Raises:
        UserError: one is missing, or there are several.
    """
    found = {}
    for split, ending in FILES.items():
        there = sorted(folder.glob(f"*_{ending}.npz"))
        if len(there) != 1:
            names = f"{len(there)} files" if there else "no file"
            raise UserError(f"task.path: {folder}: {names} named *_{ending}.npz; {LAYOUT}")
        found[split] = there[0]
    return found


def _size(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))


task = StoredDiscovery

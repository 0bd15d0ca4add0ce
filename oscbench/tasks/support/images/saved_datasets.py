"""Image data sets that Hugging Face `datasets` wrote to disk: read offline, by the types of their columns."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from oscbench.errors import UserError, first_line

TEST_SPLITS = ("validation", "valid", "val", "test")


def is_saved(place: Path) -> bool:
    """Whether a folder was written by `DatasetDict.save_to_disk`."""
    return (place / "dataset_dict.json").is_file()


def saved_classes(place: Path) -> list[str]:
    """Names of the classes, in the data set's own order."""
    _, _, names = _columns(place, _load(place)["train"])
    return names


def saved_pictures(place: Path, split: str, names: list[str]) -> Iterable[tuple[str, int, Callable[[], Any]]]:
    """Where, class among `names`, and how to open, of every image of `train` or `test` with one of the classes.

    Raises:
        UserError: the data set has no such split.
    """
    whole = _load(place)
    part = "train" if split == "train" else next((name for name in TEST_SPLITS if name in whole), None)
    if part is None:
        raise UserError(f"task.path: {place}: none of the splits {', '.join(TEST_SPLITS)} is there")
    rows = whole[part]
    image, label, there = _columns(place, rows)
    wanted = {there.index(name): number for number, name in enumerate(names)}
    for row, own in enumerate(rows[label]):
        if own in wanted:
            yield f"{place} {part}[{row}]", wanted[own], partial(_open, rows, row, image)


def _load(place: Path) -> Any:
    """The data set, without ever asking the network; it needs `train`."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        library: Any = importlib.import_module("datasets")
    except ImportError as error:
        raise UserError(
            f'task.path: {place} was written by datasets, which is not installed; pip install "oscbench[hub]"'
        ) from error
    try:
        whole = library.load_from_disk(str(place))
    except Exception as error:  # whatever stands in the folder
        raise UserError(
            f"task.path: {place}: cannot be read as a saved data set ({first_line(error)})"
        ) from error
    if "train" not in whole:
        raise UserError(f"task.path: {place}: it has no split `train`")
    return whole


def _open(rows: Any, row: int, column: str) -> Any:
    return rows[row][column]


def _columns(place: Path, rows: Any) -> tuple[str, str, list[str]]:
    """Names of the column of images and of the column of classes, and the classes' names."""
    kinds = {name: type(feature).__name__ for name, feature in rows.features.items()}
    images = [name for name, kind in kinds.items() if kind == "Image"]
    labels = [name for name, kind in kinds.items() if kind == "ClassLabel"]
    if len(images) != 1 or len(labels) != 1:
        raise UserError(
            f"task.path: {place}: needs one column of images and one of classes, has {', '.join(f'{n} ({k})' for n, k in kinds.items())}"
        )
    return images[0], labels[0], list(rows.features[labels[0]].names)

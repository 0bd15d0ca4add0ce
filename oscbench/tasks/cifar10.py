"""CIFAR-10: 60,000 photographs of 32 × 32 pixels in ten classes (Krizhevsky, 2009), from a local folder.

Both published forms are read, `cifar-10-batches-bin` and `cifar-10-batches-py`; of the pickles nothing is run but what rebuilds arrays
of bytes. So are images in folders, `train/CLASS/*.jpg` and `test/CLASS/*.jpg`: those that go round are JPEG, which is not bit for bit the
original, and the label then says so. They are decoded once and kept as bytes. A tenth of the training images, of each class alike, is held
back for validation; the published test images are the test.
"""

from __future__ import annotations

import codecs
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from oscbench.data import Located, locate
from oscbench.data.known import CIFAR10_CLASSES, class_folders_mistake
from oscbench.data.prepared import prepared
from oscbench.errors import UserError
from oscbench.tasks import Batch, ImageInputs, Metric
from oscbench.tasks.support.images.pictures import decoded, pictures_below, pillow
from oscbench.tasks.support.images.stored import StoredImages, StoredImagesConfig, as_batch

SIDE, NUM_CLASSES = 32, 10
PIXELS = 3 * SIDE * SIDE
FILES = {"train": tuple(f"data_batch_{part}" for part in range(1, 6)), "test": ("test_batch",)}
FOLDERS = ("cifar-10-batches-bin", "cifar-10-batches-py")
REMEDY = "give the unpacked folder cifar-10-batches-bin or cifar-10-batches-py"
AS_IMAGES = "cifar10_jpeg"
"""Name of the stored images in folders."""
PREPARATION = "cifar10 images v1"
LAYOUT = "give a folder with train/CLASS/*.jpg and test/CLASS/*.jpg"


class Cifar10Config(StoredImagesConfig):
    """Settings of CIFAR-10.

    Attributes:
        path: the unpacked folder, or the one that it lies in; by default the stored data set. `cifar10_jpeg` is the one of
            images in folders.
        shift: as in most recipes.
    """

    path: str = "cifar10"
    shift: int = 4


class Cifar10(StoredImages):
    """Which of ten things a small photograph shows."""

    Config = Cifar10Config
    version = 2
    label = "CIFAR-10"
    inputs = ImageInputs(channels=3, height=SIDE, width=SIDE, num_classes=NUM_CLASSES)

    def __init__(self, config: Cifar10Config) -> None:
        self.config = config
        located = locate(config.path)
        if _holds_images(located.path):
            key = f"{PREPARATION} {located.sha256()}"
            found = prepared(key, lambda: _decoded(located.path))
            self.keep(as_batch(found, "train"), as_batch(found, "test"))
            return
        folder = _folder(located)
        splits = {}
        for split, names in FILES.items():
            parts = [_read(path) for path in _paths(folder, names)]
            images = np.concatenate([images for images, _ in parts]).reshape(-1, 3, SIDE, SIDE)
            classes = np.concatenate([classes for _, classes in parts]).astype(np.int64)
            splits[split] = Batch(torch.from_numpy(images), torch.from_numpy(classes))
        self.keep(splits["train"], splits["test"])

    @classmethod
    def describe(cls, config: Cifar10Config) -> ImageInputs:
        """Small coloured images; refused here, before anything runs, where they are not."""
        located = locate(config.path)
        if _holds_images(located.path):
            pillow()
            if mistake := class_folders_mistake(located.path, CIFAR10_CLASSES):
                raise UserError(f"task.path: {located.path}: {mistake}; {LAYOUT}")
            return cls.inputs
        for names in FILES.values():
            _paths(_folder(located), names)
        return cls.inputs

    @classmethod
    def headline(cls, config: Cifar10Config) -> tuple[str, Metric]:
        """Label and metric; images in folders have been through JPEG."""
        as_images = config.path == AS_IMAGES or _holds_images(Path(config.path))
        return f"{cls.label} (JPEG)" if as_images else cls.label, cls.metric


def _holds_images(folder: Path) -> bool:
    """Whether images lie in folders by class, rather than in batches."""
    return (folder / "train").is_dir()


def _decoded(folder: Path) -> dict[str, torch.Tensor]:
    """Images (n, 3, 32, 32) uint8 and classes of both splits."""
    found = {}
    for split in FILES:
        pictures = pictures_below(folder / split, CIFAR10_CLASSES, LAYOUT)
        found[f"{split}.images"], found[f"{split}.classes"] = decoded(pictures, SIDE, scaled=False)
    return found


def _folder(located: Located) -> Path:
    """The folder with the batches, at a path or one below it."""
    place = located.path
    return next((place / name for name in FOLDERS if (place / name).is_dir()), place)


def _paths(folder: Path, names: tuple[str, ...]) -> list[Path]:
    """Files of a split, all binary or all pickled."""
    suffix = ".bin" if (folder / f"{names[0]}.bin").is_file() else ""
    paths = [folder / f"{name}{suffix}" for name in names]
    for path in paths:
        if not path.is_file():
            raise UserError(f"task.path: {path}: no such file; {REMEDY}")
    return paths


def _read(path: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Images (n, 3072) uint8 and classes (n,) of one file.

    Raises:
        UserError: it is not what was published.
    """
    try:
        images, classes = _binary(path) if path.suffix == ".bin" else _pickled(path)
    except (OSError, ValueError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        said = str(error) or "it ends too soon"
        raise UserError(f"task.path: {path}: not a batch of CIFAR-10 ({said}); bring it again") from error
    if classes.min() < 0 or classes.max() >= NUM_CLASSES:
        raise UserError(
            f"task.path: {path}: not a batch of CIFAR-10 (a class of {classes.max()}); bring it again"
        )
    return images, classes


def _binary(path: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Rows of a class and 3072 pixels, a byte each."""
    raw = np.fromfile(path, dtype=np.uint8)
    if len(raw) == 0 or len(raw) % (PIXELS + 1):
        raise ValueError(f"{len(raw):,} bytes are no whole number of images of {PIXELS + 1}")
    rows = raw.reshape(-1, PIXELS + 1)
    return rows[:, 1:].copy(), rows[:, 0]


def _pickled(path: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """A dictionary of an array of pixels and a list of classes."""
    with path.open("rb") as file:
        found = _ArraysOnly(file, encoding="bytes").load()
    images, classes = found[b"data"], np.asarray(found[b"labels"])
    if not (isinstance(images, np.ndarray) and images.dtype == np.uint8 and images.ndim == 2):
        raise ValueError("data is no table of bytes")
    if images.shape != (len(classes), PIXELS) or len(classes) == 0 or classes.dtype.kind not in "iu":
        raise ValueError(f"data of {images.shape} beside {len(classes)} labels")
    return images, classes


class _ArraysOnly(pickle.Unpickler):
    """Rebuilds arrays and nothing else: a pickle may name any function, and this one refuses."""

    def find_class(self, module: str, name: str) -> Any:
        """The few names that an array's pickle needs, under their old and new modules."""
        if (module, name) in (
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
        ):
            return _empty_array
        allowed: dict[tuple[str, str], Any] = {
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("_codecs", "encode"): codecs.encode,
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no array needs")
        return allowed[module, name]


def _empty_array(kind: type, shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
    """What numpy calls `_reconstruct`: an empty array, which its state then fills."""
    if kind is not np.ndarray:
        raise pickle.UnpicklingError("it rebuilds something that is no array")
    return np.ndarray.__new__(np.ndarray, shape, dtype)


task = Cifar10

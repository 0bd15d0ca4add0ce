"""ADE20K scene parsing: photographs of everything, 150 classes (Zhou et al., 2017), from the unpacked folder ADEChallengeData2016.

In the label pictures 0 is "other" and counts nowhere, 1 to 150 are the classes; they are renumbered once, here. The images of `validation`
are the test, as is usual; a tenth of the training images is held back for validation. Each image is scaled, cut to the square in its middle
and scored so, where benchmarks slide a window over the whole image: numbers here are not those that others publish.

Reading images needs Pillow (`pip install "oscbench[images]"`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from oscbench.data import locate
from oscbench.data.known import ade20k_mistake
from oscbench.data.prepared import prepared
from oscbench.errors import UserError
from oscbench.tasks import Batch, ImageInputs
from oscbench.tasks.support.images.labelled_pictures import Labelling, decoded_with_labels, labelled
from oscbench.tasks.support.images.pictures import pillow
from oscbench.tasks.support.images.stored_segmentation import StoredSegmentation, StoredSegmentationConfig
from oscbench.tasks.support.training_subsets import training_rows

NUM_CLASSES = 150
LABELLING = Labelling(classes=NUM_CLASSES, first=1, void=0)
PREPARATION = "ade20k v1"
FOLDERS = {"train": "training", "test": "validation"}
VALIDATION_SHARE = 0.1
LAYOUT = (
    "give the unpacked folder ADEChallengeData2016, with images and annotations of training and validation"
)


class Ade20kConfig(StoredSegmentationConfig):
    """Settings of ADE20K.

    Attributes:
        path: the unpacked folder; by default the stored data set.
        size: side of the square that images are scaled and cut to [pixels].
    """

    path: str = "ade20k"
    size: int = Field(default=512, ge=1)


class Ade20k(StoredSegmentation):
    """What each pixel of a photograph belongs to."""

    Config = Ade20kConfig
    version = 2
    label = "ADE20K"
    classes = tuple(str(number) for number in range(1, NUM_CLASSES + 1))

    def __init__(self, config: Ade20kConfig) -> None:
        self.config = config
        self.inputs = self.describe(config)
        located = locate(config.path)
        key = f"{PREPARATION} {config.size} {located.sha256()}"
        found = prepared(key, lambda: _read(located.path, config.size))
        train, test = (Batch(found[f"{split}.images"], found[f"{split}.labels"]) for split in FOLDERS)
        held = training_rows(
            torch.zeros(len(train.inputs), dtype=torch.int64), VALIDATION_SHARE, "validation"
        )
        rest = torch.ones(len(train.inputs), dtype=torch.bool)
        rest[held] = False
        self.keep(
            {
                "train": Batch(train.inputs[rest], train.targets[rest]),
                "validation": Batch(train.inputs[held], train.targets[held]),
                "test": test,
            }
        )

    @classmethod
    def describe(cls, config: Ade20kConfig) -> ImageInputs:
        """Coloured squares; refused here, before anything runs, where folders or packages are missing."""
        located = locate(config.path)
        pillow()
        if mistake := ade20k_mistake(located.path):
            raise UserError(f"task.path: {located.path}: {mistake}; {LAYOUT}")
        return ImageInputs(3, config.size, config.size, NUM_CLASSES)

    @classmethod
    def headline(cls, config: Ade20kConfig) -> tuple[str, Any]:
        """Label with the size that images are seen and scored at."""
        return f"{cls.label}, middle squares of {config.size} pixels", cls.metric


def _read(folder: Path, size: int) -> dict[str, Tensor]:
    found = {}
    for split, name in FOLDERS.items():
        pairs = labelled(folder / "images" / name, folder / "annotations" / name, LAYOUT)
        found[f"{split}.images"], found[f"{split}.labels"] = decoded_with_labels(
            pairs, (size, size), LABELLING, square=True
        )
    return found


task = Ade20k

"""COCO panoptic: photographs of things, each a segment of its own, and of stuff (Kirillov et al., arXiv 1801.00868), from a local folder.

Classes, and which of them are things, are those of the file `annotations/panoptic_val2017.json`. The images of `val2017` are the test, as is
usual; a twentieth of the training images is held back for validation. Whole images are scaled to a square and scored at that size, and so
numbers here are not those that others publish. Crowds and what nobody labelled move no mask and count nowhere, as panoptic quality has it.

Reading images needs Pillow (`pip install "oscbench[images]"`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from oscbench.data import locate
from oscbench.data.known import COCO_SPLITS, coco_labels, coco_panoptic_mistake
from oscbench.data.prepared import prepared
from oscbench.errors import UserError
from oscbench.tasks import Batch, ImageInputs
from oscbench.tasks.support.floors import Floor
from oscbench.tasks.support.images.panoptic_pictures import (
    Category,
    Segmented,
    categories_of,
    decoded_with_segments,
    read_list,
    segmented,
)
from oscbench.tasks.support.images.pictures import pillow
from oscbench.tasks.support.images.stored_segmentation import StoredLabels, StoredSegmentationConfig
from oscbench.tasks.support.segments.panoptic import INSTANCES
from oscbench.tasks.support.segments.panoptic_task import SURE, Panoptic, sure_of
from oscbench.tasks.support.training_subsets import training_rows

PREPARATION = "coco_panoptic v1"
VALIDATION_SHARE = 0.05
SPLITS = ("train", "validation", "test")
LAYOUT = "give a folder with train2017, val2017, and annotations with panoptic_*2017.json and their folders of PNG files"


class CocoPanopticConfig(StoredSegmentationConfig):
    """Settings of COCO panoptic.

    Attributes:
        path: the unpacked folder; by default the stored data set.
        size: side of the square that images are scaled to [pixels].
    """

    path: str = "coco_panoptic"
    size: int = Field(default=256, ge=1)


class CocoPanoptic(StoredLabels, Panoptic):
    """Segments of photographs and their classes."""

    Config = CocoPanopticConfig
    version = 1
    label = "COCO panoptic segmentation"

    def __init__(self, config: CocoPanopticConfig) -> None:
        self.config = config
        self.inputs = self.describe(config)
        located = locate(config.path)
        categories = _categories(located.path)
        self.classes = tuple(one.name for one in categories)
        self.stuff = frozenset(place for place, one in enumerate(categories) if not one.is_thing)
        found = prepared(
            f"{PREPARATION} {config.size} {located.sha256()}",
            lambda: _read(located.path, config.size, categories),
        )
        self.keep({split: Batch(found[f"{split}.images"], found[f"{split}.labels"]) for split in SPLITS})

    @classmethod
    def describe(cls, config: CocoPanopticConfig) -> ImageInputs:
        """Coloured squares and the file's classes; refused here, before anything runs, where folders or packages are missing."""
        located = locate(config.path)
        pillow()
        if mistake := coco_panoptic_mistake(located.path):
            raise UserError(f"task.path: {located.path}: {mistake}; {LAYOUT}")
        return ImageInputs(3, config.size, config.size, len(_categories(located.path)))

    @classmethod
    def headline(cls, config: CocoPanopticConfig) -> tuple[str, Any]:
        """Label with the size that images are seen and scored at."""
        return f"{cls.label}, whole images at {config.size} × {config.size}", cls.metric

    @classmethod
    def floors(cls, config: Any) -> dict[str, str]:
        """Nothing but stuff."""
        del config
        return {"chance": "all of an image is the stuff that training has most of"}

    def floor(self, name: str) -> nn.Module:
        """One query that says so; where no class is stuff, one that says nothing."""
        del name
        areas = torch.zeros(len(self.classes), dtype=torch.int64)
        for labels in self.splits["train"].targets.split(64):
            known = labels[labels >= 0].long() // INSTANCES
            areas += torch.bincount(known, minlength=len(self.classes))
        most = max(self.stuff, key=areas.__getitem__, default=len(self.classes))
        everywhere = torch.full((1, 1, self.inputs.height * self.inputs.width), SURE)
        answer = torch.cat((sure_of([most], len(self.classes)), everywhere), dim=2)
        return Floor(lambda images: answer.expand(len(images), -1, -1))


def _list_of(folder: Path, name: str) -> Path:
    return folder / "annotations" / f"panoptic_{name}.json"


def _categories(folder: Path) -> tuple[Category, ...]:
    """Those of the test; training must have the same."""
    path = _list_of(folder, COCO_SPLITS["test"])
    return categories_of(read_list(path), path)


def _read(folder: Path, size: int, categories: tuple[Category, ...]) -> dict[str, Tensor]:
    found: dict[str, list[Segmented]] = {}
    for split, name in COCO_SPLITS.items():
        path = _list_of(folder, name)
        content = read_list(path)
        if categories_of(content, path) != categories:
            raise UserError(
                f"task.path: {path}: its categories are not those of panoptic_{COCO_SPLITS['test']}.json"
            )
        found[split] = segmented(content, path, folder / name, coco_labels(folder, name), categories)
    if len(found["train"]) < 2:
        raise UserError(
            f"task.path: {_list_of(folder, COCO_SPLITS['train'])}: one annotated image; needs two, of which one is held back"
        )
    rows = torch.zeros(len(found["train"]), dtype=torch.int64)
    held = set(training_rows(rows, VALIDATION_SHARE, "validation").tolist())
    found["validation"] = [one for row, one in enumerate(found["train"]) if row in held]
    found["train"] = [one for row, one in enumerate(found["train"]) if row not in held]
    made = {}
    for split, ones in found.items():
        made[f"{split}.images"], made[f"{split}.labels"] = decoded_with_segments(ones, (size, size))
    return made


task = CocoPanoptic

"""Panoptic segmentation of cluttered scenes: every digit a segment of its own, and which digit it is; clutter and empty space as stuff.

The scenes of `digit_scenes`. Each digit that can be seen is a thing, of the class of its digit, with the pixels that it shows; clutter and
look-alikes together are one segment of stuff, and so is what is empty. Scored by panoptic quality, pooled over the split: that of things is
the headline, since all classes together reward whoever finds empty space and not one digit.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from oscbench.tasks import ImageInputs, Metric
from oscbench.tasks.support.floors import Floor
from oscbench.tasks.support.scenes.composition import SceneConfig, ScenePixels, Scenes
from oscbench.tasks.support.segments.panoptic import INSTANCES
from oscbench.tasks.support.segments.panoptic_floors import classed_parts
from oscbench.tasks.support.segments.panoptic_task import LABELS, SURE, Panoptic, sure_of

EMPTY, CLUTTER, DIGITS = 0, 1, 2
CLASSES = ("empty", "clutter", *(f"digit_{digit}" for digit in range(10)))
STUFF = frozenset({EMPTY, CLUTTER})


class ScenePanopticConfig(SceneConfig):
    """Settings of panoptic segmentation of scenes, which are those of every scene; scenes are smaller by default.

    Attributes:
        size: side of a scene [pixels].
        max_digits: at most so many, each with an instance number.
        max_overlap: less than elsewhere, so that most of a digit can be seen.
    """

    size: int = Field(default=32, ge=16)
    max_digits: int = Field(default=3, ge=1, le=INSTANCES)
    max_overlap: float = Field(default=0.3, ge=0.0, le=1.0)


class ScenePanoptic(ScenePixels, Panoptic):
    """Segments and their classes."""

    Config = ScenePanopticConfig
    version = 2
    label = "panoptic segmentation of digits in cluttered scenes"
    metric = Metric("pq_things", LABELS["pq_things"], "fraction", "higher")
    classes = CLASSES
    stuff = STUFF

    def __init__(self, config: ScenePanopticConfig) -> None:
        self.config = config
        self.inputs = self.describe(config)
        self.read(Scenes(config), ("images", "classes", "visible", "clutter"), labels_of)

    @classmethod
    def describe(cls, config: ScenePanopticConfig) -> ImageInputs:
        """One channel; two kinds of stuff and ten of things."""
        return ImageInputs(1, config.size, config.size, len(CLASSES))

    @classmethod
    def floors(cls, config: Any) -> dict[str, str]:
        """Nothing but stuff, and connected parts told by their look."""
        del config
        return {
            "chance": "all of an image is empty",
            "threshold": "what is brighter than a level is clutter, the rest empty",
            "parts": "connected parts of what is brighter, classed one by one with logistic regression on their pixels",
        }

    def floor(self, name: str) -> nn.Module:
        """Queries that say so; the level is the one that tells most pixels of training right."""
        if name == "parts":
            return classed_parts(self.fitting(), self._level(), len(CLASSES), EMPTY, CLUTTER)
        level = self._level() if name == "threshold" else math.inf
        scores = sure_of((EMPTY, CLUTTER), len(CLASSES))

        def predict(images: Tensor) -> Tensor:
            bright = SURE * torch.where(images.flatten(1) > level, 1.0, -1.0)
            masks = torch.stack((-bright, bright), dim=1)
            return torch.cat((scores.expand(len(images), -1, -1), masks), dim=2)

        return Floor(predict)

    def _level(self) -> float:
        """The brightness, as a model reads it, above which a training pixel is rather not empty."""
        train = self.splits["train"]
        empty = torch.bincount(train.inputs[:, 0][train.targets == EMPTY].long(), minlength=256)
        shown = torch.bincount(train.inputs.flatten().long(), minlength=256) - empty
        right = empty.cumsum(0) - shown.cumsum(0)
        return float((right.argmax() + 0.5 - self.mean) / self.spread)


def labels_of(scenes: dict[str, Tensor]) -> Tensor:
    """class · INSTANCES + instance of each pixel, (scenes, size, size) int16."""
    classes, visible = scenes["classes"], scenes["visible"]
    chosen = classes.gather(1, visible.clamp_min(0).flatten(1)).view_as(visible)
    stuff = torch.where(scenes["clutter"], CLUTTER, EMPTY) * INSTANCES
    things = (chosen + DIGITS) * INSTANCES + visible
    return torch.where(visible >= 0, things, stuff).to(torch.int16)


task = ScenePanoptic

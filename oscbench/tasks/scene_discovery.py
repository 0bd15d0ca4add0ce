"""Object discovery in scenes of real handwritten digits, two to four of them, among clutter and look-alikes, without a label.

The scenes of `digit_scenes`. A pixel that two digits cover counts nowhere, as in AKOrN's sets (arXiv 2410.13821); clutter and look-alikes are
ground.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from oscbench.tasks import ViewInputs
from oscbench.tasks.support.scenes.composition import SPLITS, SceneConfig, Scenes
from oscbench.tasks.support.segments.discovery import (
    DiscoveryConfig,
    ObjectDiscovery,
    with_objects,
    without_objects,
)
from oscbench.tasks.support.segments.grouping import OVERLAP


class SceneDiscoveryConfig(SceneConfig, DiscoveryConfig):
    """Settings of scenes and of discovery; scenes are smaller by default, and their digits more.

    Attributes:
        size: side of a scene [pixels].
        min_digits: fewest digits of a scene; one alone has nothing to be told from.
        max_digits: most digits of a scene.
        validation_scenes: of validation, which clusters them after every epoch.
        test_scenes: of test.
    """

    size: int = Field(default=32, ge=16)
    min_digits: int = Field(default=2, ge=2)
    max_digits: int = Field(default=4, ge=2)
    validation_scenes: int = Field(default=100, ge=1)
    test_scenes: int = Field(default=320, ge=1)


class SceneDiscovery(ObjectDiscovery):
    """Which patches show the same digit."""

    Config = SceneDiscoveryConfig
    version = 2
    label = "object discovery in scenes of digits"
    config: SceneDiscoveryConfig

    def __init__(self, config: SceneDiscoveryConfig) -> None:
        self.config = config
        self.inputs = self.describe(config)
        scenes = Scenes(config)
        made = {split: scenes.kept(split, "images", "classes", "visible", "masks") for split in SPLITS[1:]}
        train = scenes.kept("train", "images", "classes")
        kept = scenes.training_rows((train["classes"] >= 0).sum(1))
        found = {split: with_objects({**part, "objects": objects_of(part)}) for split, part in made.items()}
        self.take({"train": without_objects(train["images"][kept]), **found})

    @classmethod
    def describe(cls, config: Any) -> ViewInputs:
        """Grey scenes."""
        found: ViewInputs = config.inputs(1, config.size, config.size)
        return found


def objects_of(scenes: dict[str, Tensor]) -> Tensor:
    """Which digit each pixel shows, (scenes, size, size) int8: -1 for none, -2 where two or more lie over one another."""
    several = scenes["masks"].sum(1) > 1
    return torch.where(several, OVERLAP, scenes["visible"]).to(torch.int8)


task = SceneDiscovery

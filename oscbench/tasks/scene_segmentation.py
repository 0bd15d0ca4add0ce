"""Scene segmentation: which digit does each pixel of a cluttered scene belong to, if any?

The scenes of `digit_scenes`, and for every pixel the class of the digit that it shows, 0 to 9, or background: empty space, clutter and
look-alikes, whose strokes are a digit's too. So a pixel's class hangs on where its stroke leads, patches away. Where digits overlap, the
upper one counts. About nine pixels in ten are background, so the share of right pixels tells little; mIoU counts every class alike.

A model trained on scenes of one size may be tested on larger ones, whose digits, of the same sizes, stand as dense (`at_size`).
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from oscbench.tasks import Batch, ImageInputs, LengthError
from oscbench.tasks.support.scenes.composition import SceneConfig, ScenePixels, Scenes
from oscbench.tasks.support.segments.segmentation import Segmentation

PARTS = ("images", "classes", "visible")
COUNTS = ("min_digits", "max_digits", "look_alikes", "clutter")
"""Settings that grow with a scene's area, so that as much is hidden and as much is none of a digit's."""
CLASSES = ("background", *(f"digit_{digit}" for digit in range(10)))


class SceneSegmentationConfig(SceneConfig):
    """Settings of scene segmentation, which are those of every scene; scenes are smaller by default.

    Attributes:
        size: side of a scene [pixels].
    """

    size: int = Field(default=32, ge=16)


class SceneSegmentation(ScenePixels, Segmentation):
    """The digit, or none, that each pixel belongs to."""

    Config = SceneSegmentationConfig
    version = 1
    label = "segmentation of digits in cluttered scenes"
    classes = CLASSES
    background = 0

    def __init__(self, config: SceneSegmentationConfig) -> None:
        self.config = config
        self.inputs = self.describe(config)
        self.read(Scenes(config), PARTS, labels_of)

    @classmethod
    def describe(cls, config: SceneSegmentationConfig) -> ImageInputs:
        """One channel, and a class for each digit and for none."""
        return ImageInputs(1, config.size, config.size, len(CLASSES))

    @classmethod
    def floors(cls, config: Any) -> dict[str, str]:
        """Without places: digits may be anywhere."""
        return {name: idea for name, idea in super().floors(config).items() if "place" not in name}

    def at_size(self, size: int) -> SceneSegmentation:
        """Test scenes of another side and as dense, with digits of the same sides, as bright as the model was trained to see them."""
        if size < self.config.max_scale:
            raise LengthError(
                f"scenes of {size} pixels are smaller than a digit of {self.config.max_scale}, task.max_scale"
            )
        area = (size / self.config.size) ** 2
        counts = {
            name: (getattr(self.config, name), round(area * getattr(self.config, name))) for name in COUNTS
        }
        grown = {name: max(min(1, count), scaled) for name, (count, scaled) in counts.items()}
        other = copy.copy(self)
        other.config = self.config.model_copy(update={"size": size, **grown})
        other.inputs = self.describe(other.config)
        other.scenes = Scenes(other.config)
        made = other.scenes.kept("test", *PARTS)
        other.splits = {"test": Batch(made["images"], labels_of(made))}
        return other


def labels_of(scenes: dict[str, Tensor]) -> Tensor:
    """Which class each pixel shows, (scenes, size, size) uint8: 0 for none, a digit and 1 for a digit."""
    classes, visible = scenes["classes"], scenes["visible"]
    chosen = classes.gather(1, visible.clamp_min(0).flatten(1)).view_as(visible)
    return torch.where(visible >= 0, chosen + 1, 0).to(torch.uint8)


task = SceneSegmentation

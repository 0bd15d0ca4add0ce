"""What tasks of labelled photographs share: bytes in memory, random crops and flips of image and labels together."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import grid_sample

from oscbench.tasks import Batch, TaskConfig
from oscbench.tasks.support.images.stored import channel_statistics, crop_places
from oscbench.tasks.support.in_memory import InMemoryTask, mixed_but_training
from oscbench.tasks.support.segments.segmentation import Segmentation


class StoredSegmentationConfig(TaskConfig):
    """Settings that tasks of labelled photographs share.

    Attributes:
        crop_area: least share of a training image's area that a random crop keeps before it is enlarged again; 1 turns crops off.
        flip: training images are mirrored half of the time.
    """

    crop_area: float = Field(default=0.25, gt=0.0, le=1.0)
    flip: bool = True


class StoredLabels(InMemoryTask):
    """A label for each pixel of a photograph; subclasses say where photographs come from, and what is asked of them."""

    config: StoredSegmentationConfig

    def keep(self, splits: dict[str, Batch]) -> None:
        """Take images (n, 3, h, w) uint8 and labels (n, h, w), whole numbers, of each split."""
        self.splits = mixed_but_training(splits)
        self.mean, self.spread = channel_statistics(splits["train"].inputs)

    def ready(self, batch: Batch) -> Batch:
        """Images normalised channel by channel, and whole numbers."""
        return Batch((batch.inputs.float() - self.mean) / self.spread, batch.targets.long())

    def input_range(self) -> tuple[Tensor, Tensor]:
        """Bytes 0 and 255, channel by channel."""
        low, high = ((level - self.mean[0]) / self.spread[0] for level in (0.0, 255.0))
        return low, high

    def augmented(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Images and their labels cropped alike, and mirrored alike."""
        images, labels = batch.inputs, batch.targets
        if self.config.crop_area < 1.0:
            grid = crop_places(images, self.config.crop_area, generator)
            images = grid_sample(images, grid, padding_mode="border", align_corners=False)
            numbers = grid_sample(
                labels[:, None].float(), grid, mode="nearest", padding_mode="border", align_corners=False
            )
            labels = numbers[:, 0].round().long()
        if self.config.flip:
            mirrored = torch.rand(len(images), generator=generator) < 0.5
            images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
            labels = torch.where(mirrored[:, None, None], labels.flip(-1), labels)
        return Batch(images, labels)


class StoredSegmentation(StoredLabels, Segmentation):
    """The class of each pixel of a photograph."""

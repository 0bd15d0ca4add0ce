"""What tasks of coloured photographs share: bytes in memory, random crops, flips, one class an image.

Images stay uint8, which is what the data hash reads and a quarter of the memory; a batch is normalised by the training images' mean and
spread of each channel.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from oscbench.settings import added
from oscbench.tasks import Batch, Draw, ImageInputs, Metric, TaskConfig, draw_number
from oscbench.tasks.digits import shifted
from oscbench.tasks.support.in_memory import Classification, mixed_but_training
from oscbench.tasks.support.training_subsets import drawn, training_rows

VALIDATION_SHARE = 0.1
CHUNK_VALUES = 200_000
"""Pixels in a chunk of statistics: as doubles they stay in the cache, which is eight times as fast as a thousand images at once."""


class StoredImagesConfig(TaskConfig):
    """Settings that tasks of photographs share.

    Attributes:
        shift: training images are shifted by up to so many pixels in each direction; 0 turns it off.
        crop_area: least share of a training image's area that a random crop keeps before it is enlarged again; 1 turns crops off.
        flip: training images are mirrored half of the time.
        fraction: share of the training images that is used, of each class alike; smaller shares lie within larger ones.
        draw: which images outside the test are held back for validation, and which a share keeps; `per_seed` draws them anew for each
            seed.
    """

    shift: int = Field(default=0, ge=0)
    crop_area: float = Field(default=1.0, gt=0.0, le=1.0)
    flip: bool = True
    fraction: float = Field(default=1.0, gt=0.0, le=1.0)
    draw: Draw = added("fixed", neutral="fixed")


class StoredImages(Classification):
    """Which class an image belongs to; subclasses say where images come from."""

    metric = Metric("accuracy", "test accuracy", "fraction", "higher")
    backbone = "vision"
    inputs: ImageInputs
    config: StoredImagesConfig

    def keep(self, train: Batch, test: Batch) -> None:
        """Take uint8 images (n, C, h, w) and classes; a tenth of each training class becomes validation."""
        draw = draw_number(self.config.draw)
        held = training_rows(train.targets, VALIDATION_SHARE, drawn("validation", draw))
        rest = torch.ones(len(train.targets), dtype=torch.bool)
        rest[held] = False
        rows = rest.nonzero()[:, 0]
        rows = rows[training_rows(train.targets[rows], self.config.fraction, drawn("share", draw))]
        splits = {"train": _rows(train, rows), "validation": _rows(train, held), "test": test}
        self.splits = mixed_but_training(splits)
        self.mean, self.spread = channel_statistics(self.splits["train"].inputs)

    def ready(self, batch: Batch) -> Batch:
        """Images normalised channel by channel."""
        return Batch((batch.inputs.float() - self.mean) / self.spread, batch.targets)

    def input_range(self) -> tuple[Tensor, Tensor]:
        """Bytes 0 and 255, channel by channel."""
        low, high = ((level - self.mean[0]) / self.spread[0] for level in (0.0, 255.0))
        return low, high

    def augmented(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Images cropped, shifted and mirrored, in this order."""
        images = cropped(batch.inputs, self.config.crop_area, generator)
        images = shifted(images, self.config.shift, 0.0, generator)
        if self.config.flip:
            mirrored = torch.rand(len(images), generator=generator) < 0.5
            images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
        return Batch(images, batch.targets)


def channel_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and spread of each channel (1, C, 1, 1) over uint8 images, in chunks: a million images do not fit as floats."""
    count = images.shape[0] * images.shape[2] * images.shape[3]
    total, squares = (torch.zeros(images.shape[1], dtype=torch.float64) for _ in range(2))
    for chunk in images.split(max(1, CHUNK_VALUES // images[0].numel())):
        values = chunk.double()
        total += values.sum((0, 2, 3))
        squares += values.square().sum((0, 2, 3))
    mean = total / count
    spread = (squares / count - mean.square()).clamp_min(1e-6).sqrt()
    return mean.float().view(1, -1, 1, 1), spread.float().view(1, -1, 1, 1)


def cropped(images: Tensor, least_area: float, generator: torch.Generator) -> Tensor:
    """A random part of each image (B, C, h, w), enlarged to the whole: area from `least_area` to 1, sides from 3:4 to 4:3."""
    if least_area == 1.0:
        return images
    grid = crop_places(images, least_area, generator)
    return grid_sample(images, grid, padding_mode="border", align_corners=False)


def crop_places(
    images: Tensor,
    least_area: float,
    generator: torch.Generator,
    most_area: float = 1.0,
    size: tuple[int, int] | None = None,
) -> Tensor:
    """Where each pixel of such a part comes from, (B, h, w, 2) as `grid_sample` reads it.

    `most_area` is the largest share that is kept, `size` (h, w) how many pixels are made of it, by default as many as an image has.
    """
    count = len(images)
    area = least_area + (most_area - least_area) * torch.rand(count, generator=generator)
    ratio = torch.exp((2.0 * torch.rand(count, generator=generator) - 1.0) * math.log(4 / 3))
    sides = torch.stack(((area * ratio).sqrt(), (area / ratio).sqrt()), dim=1).clamp_max(1.0)
    centre = (2.0 * torch.rand(count, 2, generator=generator) - 1.0) * (1.0 - sides)
    # affine_grid leads from an output pixel to an input one, both from -1 to 1 and (x, y).
    matrix = torch.cat((torch.diag_embed(sides), centre[:, :, None]), dim=2)
    made = [*images.shape[:2], *(size or images.shape[2:])]
    return affine_grid(matrix, made, align_corners=False)


def as_batch(found: Mapping[str, Tensor], split: str) -> Batch:
    """Images and classes of a split from prepared tensors."""
    return Batch(found[f"{split}.images"], found[f"{split}.classes"])


def _rows(batch: Batch, rows: Tensor) -> Batch:
    return Batch(batch.inputs[rows], batch.targets[rows])

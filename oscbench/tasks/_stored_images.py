"""What tasks of coloured photographs share: bytes in memory, random crops, flips, one class an image.

Images stay uint8, which is what the data hash reads and a quarter of the memory; a batch is normalised by the training images' mean and
spread of each channel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import affine_grid, cross_entropy, grid_sample

from oscbench.tasks import Batch, ImageInputs, Metric, Split, Task, TaskConfig
from oscbench.tasks._training_subsets import training_rows
from oscbench.tasks.digits import shifted

VALIDATION_SHARE = 0.1
CHUNK = 1024


class StoredImagesConfig(TaskConfig):
    """Settings that tasks of photographs share.

    Attributes:
        shift: training images are shifted by up to so many pixels in each direction; 0 turns it off.
        crop_area: least share of a training image's area that a random crop keeps before it is enlarged again; 1 turns crops off.
        flip: training images are mirrored half of the time.
        fraction: share of the training images that is used, of each class alike; smaller shares lie within larger ones.
    """

    shift: int = Field(default=0, ge=0)
    crop_area: float = Field(default=1.0, gt=0.0, le=1.0)
    flip: bool = True
    fraction: float = Field(default=1.0, gt=0.0, le=1.0)


class StoredImages(Task):
    """Which class an image belongs to; subclasses say where images come from."""

    metric = Metric("accuracy", "test accuracy", "fraction", "higher")
    backbone = "vision"
    inputs: ImageInputs
    config: StoredImagesConfig

    def keep(self, train: Batch, test: Batch) -> None:
        """Take uint8 images (n, C, h, w) and classes; a tenth of each training class becomes validation."""
        held = training_rows(train.targets, VALIDATION_SHARE, purpose="validation")
        rest = torch.ones(len(train.targets), dtype=torch.bool)
        rest[held] = False
        rows = rest.nonzero()[:, 0]
        rows = rows[training_rows(train.targets[rows], self.config.fraction)]
        self.splits = {"train": _rows(train, rows), "validation": _rows(train, held), "test": test}
        self.mean, self.spread = channel_statistics(self.splits["train"].inputs)
        self.num_training_examples = len(rows)

    def tensors(self) -> dict[str, Tensor]:
        """Images and classes of the three splits."""
        return {
            f"{split}.{part}": getattr(batch, part)
            for split, batch in self.splits.items()
            for part in ("inputs", "targets")
        }

    def training_batches(
        self, batch_size: int, order: torch.Generator, augmentation: torch.Generator
    ) -> Iterator[Batch]:
        """One epoch of shuffled, cropped, shifted and mirrored images; the last batch may be smaller."""
        train, config = self.splits["train"], self.config
        for rows in torch.randperm(self.num_training_examples, generator=order).split(batch_size):
            images = self._normalised(train.inputs[rows])
            images = cropped(images, config.crop_area, augmentation)
            images = shifted(images, config.shift, 0.0, augmentation)
            if config.flip:
                mirrored = torch.rand(len(rows), generator=augmentation) < 0.5
                images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
            yield Batch(images, train.targets[rows])

    def batches(self, split: Split, batch_size: int) -> Iterator[Batch]:
        """A split in its fixed order, as it is."""
        data = self.splits[split]
        for start in range(0, len(data.targets), batch_size):
            images = self._normalised(data.inputs[start : start + batch_size])
            yield Batch(images, data.targets[start : start + batch_size])

    def loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy [nats]."""
        return cross_entropy(prediction, batch.targets)

    def scores(self, prediction: Tensor, batch: Batch) -> Tensor:
        """1 where the most likely class is the right one."""
        return (prediction.argmax(-1) == batch.targets).float()

    def _normalised(self, images: Tensor) -> Tensor:
        return (images.float() - self.mean) / self.spread


def channel_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and spread of each channel (1, C, 1, 1) over uint8 images, in chunks: a million images do not fit as floats."""
    count = images.shape[0] * images.shape[2] * images.shape[3]
    total, squares = (torch.zeros(images.shape[1], dtype=torch.float64) for _ in range(2))
    for chunk in images.split(CHUNK):
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
    count = len(images)
    area = least_area + (1.0 - least_area) * torch.rand(count, generator=generator)
    ratio = torch.exp((2.0 * torch.rand(count, generator=generator) - 1.0) * math.log(4 / 3))
    sides = torch.stack(((area * ratio).sqrt(), (area / ratio).sqrt()), dim=1).clamp_max(1.0)
    centre = (2.0 * torch.rand(count, 2, generator=generator) - 1.0) * (1.0 - sides)
    # affine_grid leads from an output pixel to an input one, both from -1 to 1 and (x, y).
    matrix = torch.cat((torch.diag_embed(sides), centre[:, :, None]), dim=2)
    grid = affine_grid(matrix, list(images.shape), align_corners=False)
    return grid_sample(images, grid, padding_mode="border", align_corners=False)


def as_batch(found: Mapping[str, Tensor], split: str) -> Batch:
    """Images and classes of a split from prepared tensors."""
    return Batch(found[f"{split}.images"], found[f"{split}.classes"])


def _rows(batch: Batch, rows: Tensor) -> Batch:
    return Batch(batch.inputs[rows], batch.targets[rows])

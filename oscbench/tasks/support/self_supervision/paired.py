"""What tasks share that train on two views of each image and ask for no label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from oscbench.models.trunk import named_seed
from oscbench.modes import evaluating
from oscbench.settings import added
from oscbench.tasks import Batch, Split, UnscoredError, ViewInputs
from oscbench.tasks.support.images.stored import channel_statistics
from oscbench.tasks.support.in_memory import InMemoryTask
from oscbench.tasks.support.self_supervision.objectives import (
    coding_rate_loss,
    simclr,
    taught_coding_rate_loss,
)
from oscbench.tasks.support.self_supervision.views import ViewSettings, local_view_of, view_of

VIEW_SEED = 20_261_126


class PairedConfig(ViewSettings):
    """Settings of views, and of what is asked of them.

    Attributes:
        objective: `simclr`, or `coding_rate` as in SimDINO, without masked patches.
        temperature: τ of SimCLR.
        distortion: ε of the coding rate.
        teacher: momentum at the first step of a slow teacher, which embeds the two large views; it goes to 1 by a cosine over the training.
            None has the model itself in its place. For `coding_rate`.
        features: whose are evaluated, the `teacher`'s or the `student`'s; without a teacher there is one model.
    """

    objective: Literal["simclr", "coding_rate"] = "simclr"
    temperature: float = Field(default=0.1, gt=0.0)
    distortion: float = Field(default=0.05, gt=0.0)
    teacher: float | None = added(None, neutral=None, ge=0.0, lt=1.0)
    features: Literal["teacher", "student"] = added("teacher", neutral="teacher")

    @model_validator(mode="after")
    def _taught(self) -> PairedConfig:
        if self.teacher is not None and self.objective != "coding_rate":
            raise ValueError(
                f"teacher {self.teacher}: objective {self.objective} has none; allowed: objective coding_rate, or teacher null"
            )
        if self.features == "student" and self.teacher is None:
            raise ValueError("features student: no teacher to tell it from; give teacher a momentum, as 0.9")
        if self.local_views and self.teacher is None:
            raise ValueError(
                f"local_views {self.local_views}: a student compares them with its teacher's views; give teacher a momentum, as 0.9"
            )
        if bool(self.local_views) != (self.local_size is not None):
            raise ValueError(
                f"local_views {self.local_views}, local_size {self.local_size}: give both or neither; local_size is a side in pixels"
            )
        if self.local_views and self.local_crop_area > self.crop_area:
            raise ValueError(
                f"local_crop_area {self.local_crop_area} is more than crop_area {self.crop_area}, where that of large views begins"
            )
        return self

    def inputs(self, channels: int, height: int, width: int) -> ViewInputs:
        """What a backbone must know, of images so large."""
        local = None if self.local_size is None else (self.local_views, self.local_size)
        return ViewInputs(channels, height, width, local, self.teacher, self.features == "student")


class PairedViews(InMemoryTask):
    """Splits hold images (n, C, h, w) as bytes, and as targets what an evaluation asks about whole images.

    Attributes:
        mean: of the training images' channels, (1, C, 1, 1).
        spread: of the same.
    """

    backbone = "views"
    inputs: ViewInputs
    config: PairedConfig
    mean: Tensor
    spread: Tensor

    def take(self, splits: Mapping[str, Batch]) -> None:
        """Keep three splits, and what their images are normalised by."""
        self.splits = dict(splits)
        self.mean, self.spread = channel_statistics(self.splits["train"].inputs)

    def ready(self, batch: Batch) -> Batch:
        """Whole images, normalised."""
        return Batch((batch.inputs.float() - self.mean) / self.spread, batch.targets)

    def whole(self, split: str, batch_size: int) -> Iterator[Batch]:
        """A split's images as they are, in their fixed order, with what is known of them."""
        data = self.splits[split]
        for start in range(0, len(data.targets), batch_size):
            rows = slice(start, start + batch_size)
            yield self.ready(Batch(data.inputs[rows], data.targets[rows]))

    def training_batches(
        self, batch_size: int, order: torch.Generator, augmentation: torch.Generator
    ) -> Iterator[Batch]:
        """One epoch of shuffled pairs of views; the last batch may be smaller."""
        images = self.splits["train"].inputs
        for rows in torch.randperm(self.num_training_examples, generator=order).split(batch_size):
            yield self._paired(images[rows], augmentation)

    def batches(self, split: Split, batch_size: int) -> Iterator[Batch]:
        """Pairs of views of a split in its fixed order, the same in every pass of one batch size."""
        generator = torch.Generator().manual_seed(named_seed(VIEW_SEED, split))
        for images in self.splits[split].inputs.split(batch_size):
            yield self._paired(images, generator)

    def _paired(self, images: Tensor, generator: torch.Generator) -> Batch:
        """Two views of each image, one's channels after the other's; no targets, since the loss asks for none.

        With smaller views, a row of numbers: the two, then the smaller ones in turn.
        """
        config = self.config
        views = [(view_of(images, config, generator) - self.mean) / self.spread for _ in range(2)]
        inputs = torch.cat(views, dim=1)
        if config.local_views:
            small = [
                (local_view_of(images, config, generator) - self.mean) / self.spread
                for _ in range(config.local_views)
            ]
            inputs = torch.cat([inputs.flatten(1), *(view.flatten(1) for view in small)], dim=1)
        return Batch(inputs, torch.zeros(len(images), dtype=torch.int64))

    def loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Of the views' embeddings (B, views, E), in nats where SimCLR is asked for; the last two are the teacher's, where there is one."""
        del batch
        config = self.config
        if config.objective == "simclr":
            return simclr(prediction, config.temperature)
        if config.teacher is None:
            return coding_rate_loss(prediction, config.distortion)
        return taught_coding_rate_loss(prediction[:, :-2], prediction[:, -2:], config.distortion)

    def scores(self, prediction: Tensor, batch: Batch) -> Tensor:
        """None: views are not scored, whole images are (`evaluate`)."""
        raise UnscoredError(
            f"{self.label} is scored on whole images; measures of changed inputs or couplings cannot score its views"
        )

    def input_range(self) -> tuple[Tensor, Tensor]:
        """Bytes 0 and 255, channel by channel."""
        low, high = ((level - self.mean[0]) / self.spread[0] for level in (0.0, 255.0))
        return low, high


def whole_features(
    task: PairedViews, model: Any, split: str, device: torch.device, batch_size: int
) -> tuple[Tensor, Tensor]:
    """What a model (or floor) gives for the patches of a split's whole images, (n, N, F) on the CPU, and their targets."""
    with evaluating(model):
        found = [
            (model(batch.inputs.to(device)).prediction.float().cpu(), batch.targets)
            for batch in task.whole(split, batch_size)
        ]
    return torch.cat([features for features, _ in found]), torch.cat([targets for _, targets in found])

"""Self-supervised learning: features of images that were trained without a label, and are then frozen and asked for classes.

Two views of each image are trained to agree (`objective`: SimCLR, arXiv 2002.05709, or the coding rate of SimDINO, arXiv 2502.10385, which
KoPE's authors use, with or without its slow teacher and smaller views). What is scored is the mean feature of a whole image's patches:
by the vote of its 20 nearest labelled training images, and on the test by logistic regression, whose strength each kind of features
chooses on a fifth of those held out. Raw pixels under the same scores are the floor.

Images are those of `digits`, `cifar10` or `image_folder`, in the same splits.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from oscbench.models.trunk import named_seed
from oscbench.modes import evaluating
from oscbench.settings import added
from oscbench.tasks import Batch, Draw, ImageInputs, Metric, Score, Split, Task, ViewInputs, draw_number
from oscbench.tasks.cifar10 import Cifar10, Cifar10Config
from oscbench.tasks.digits import Digits, digit_splits
from oscbench.tasks.image_folder import ImageFolder, ImageFolderConfig
from oscbench.tasks.support.floors import Floor
from oscbench.tasks.support.self_supervision.paired import PairedConfig, PairedViews
from oscbench.tasks.support.self_supervision.probes import linear_probe, nearest_neighbours

FLOOR_SEED = 20_261_129
RANDOM_FEATURES = 16
NEIGHBOURS = 20


class SelfSupervisedConfig(PairedConfig):
    """Settings of images and views.

    Attributes:
        images: `digits`, `cifar10`, or `image_folder`.
        path: of the images, as in the task of that name; digits have none.
        size: side of a photograph [pixels], of `image_folder` alone.
        labelled: training images whose classes the scores may look at, evenly spaced, since they may lie class by class.
        draw: which images outside the test train and which validate; `per_seed` draws them anew for each seed.
    """

    images: Literal["digits", "cifar10", "image_folder"] = "digits"
    path: str | None = None
    size: int | None = Field(default=None, ge=4)
    labelled: int = Field(default=10_000, ge=10)
    draw: Draw = added("fixed", neutral="fixed")

    @model_validator(mode="after")
    def _belongs(self) -> SelfSupervisedConfig:
        if self.path is not None and self.images == "digits":
            raise ValueError(f"path {self.path}: digits come with scikit-learn and have no path")
        if self.size is not None and self.images != "image_folder":
            raise ValueError(f"size {self.size}: images of {self.images} have their own size")
        return self

    def given(self) -> dict[str, Any]:
        """What the task that has the images is told."""
        named = {"path": self.path, "size": self.size}
        return {"draw": self.draw, **{name: value for name, value in named.items() if value is not None}}


class SelfSupervised(PairedViews):
    """How well frozen features tell classes."""

    Config = SelfSupervisedConfig
    version = 3
    label = "self-supervised learning"
    metric = Metric("knn_accuracy", "test k-NN accuracy", "fraction", "higher")
    config: SelfSupervisedConfig

    def __init__(self, config: SelfSupervisedConfig) -> None:
        self.config = config
        self.inputs = self.describe(config)
        self.num_classes = _labelled_inputs(config).num_classes
        if config.images == "digits":
            scans = digit_splits(draw_number(config.draw))
            self.take({split: Batch(_bytes(part.inputs), part.targets) for split, part in scans.items()})
        else:
            source, settings = _source(config)
            self.take(source(settings).splits)  # type: ignore[attr-defined]

    @classmethod
    def describe(cls, config: Any) -> ViewInputs:
        """Channels and size of the images."""
        inputs = _labelled_inputs(config)
        found: ViewInputs = config.inputs(inputs.channels, inputs.height, inputs.width)
        return found

    @classmethod
    def headline(cls, config: Any) -> tuple[str, Metric]:
        """Which images."""
        source, settings = _source(config)
        return f"{cls.label}, {source.headline(settings)[0]}", cls.metric

    @classmethod
    def floors(cls, config: Any) -> dict[str, str]:
        """Features that nobody learned."""
        del config
        return {"chance": "features are random numbers", "pixels": "features are the pixels themselves"}

    def floor(self, name: str) -> nn.Module:
        """One of them, as the features of a single patch."""
        if name == "pixels":
            return Floor(lambda images: images.flatten(1)[:, None])
        generator = torch.Generator().manual_seed(named_seed(FLOOR_SEED, name))
        return Floor(lambda images: torch.randn(len(images), 1, RANDOM_FEATURES, generator=generator))

    def metric_named(self, name: str) -> Metric:
        """Of what `evaluate` gives."""
        if name == self.metric.name:
            return self.metric
        return Metric(name, "test accuracy of a linear probe", "fraction", "higher")

    @torch.no_grad()
    def evaluate(
        self, model: nn.Module, split: Split, device: torch.device, batch_size: int = 256
    ) -> dict[str, Score]:
        """k-NN, and on the test a linear probe."""
        with evaluating(model):
            known, classes_of = self._features(model, "train", device, batch_size, self.config.labelled)
            asked, truth = self._features(model, split, device, batch_size)
        answers = {
            self.metric.name: nearest_neighbours(known, classes_of, asked, self.num_classes, NEIGHBOURS)
        }
        details: dict[str, dict[str, Any]] = {}
        if split == "test":
            answers["linear_accuracy"], strength = linear_probe(known, classes_of, asked, self.num_classes)
            details["linear_accuracy"] = {"strength": strength}
        return {
            name: Score(float((answer == truth).double().mean()), len(truth), details.get(name, {}))
            for name, answer in answers.items()
        }

    def _features(
        self, model: nn.Module, split: str, device: torch.device, batch_size: int, most: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mean features (n, F) of whole images, evenly spaced where there are too many, and their classes (n,)."""
        data = self.splits[split]
        count = len(data.targets)
        kept = min(most or count, count)
        rows = torch.arange(kept) * count // kept
        features = []
        for part in rows.split(batch_size):
            images = self.ready(Batch(data.inputs[part], data.targets[part])).inputs
            features.append(model(images.to(device)).prediction.mean(1).float().cpu())
        return torch.cat(features), data.targets[rows]


def _source(config: SelfSupervisedConfig) -> tuple[type[Task], Any]:
    """The task whose images these are, and its settings."""
    if config.images == "digits":
        return Digits, Digits.Config.model_validate(config.given())
    if config.images == "cifar10":
        return Cifar10, Cifar10Config.model_validate(config.given())
    return ImageFolder, ImageFolderConfig.model_validate(config.given())


def _labelled_inputs(config: SelfSupervisedConfig) -> ImageInputs:
    source, settings = _source(config)
    found: ImageInputs = source.describe(settings)
    return found


def _bytes(ink: Tensor) -> Tensor:
    """Ink from 0 to 1 as bytes."""
    return (255.0 * ink).round().to(torch.uint8)


task = SelfSupervised

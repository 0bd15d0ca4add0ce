"""Digit scenes: several real handwritten digits in one image, overlapping, among clutter and look-alikes made of digit parts.

Every scene is composed from the scans of `digits`, and the scenes of a split from the scans of that split alone. Where digits overlap, the
upper one hides the lower; clutter is single quarters of scans, and a look-alike is a scan whose quarters have changed places: all its strokes
are a digit's, and only together do they tell that it is none. So a model must find out which strokes belong together.

How many digits there are is nearly told by how much ink there is (see the floor `bag`), so two labels ask for a relation: whether two digits
are the `same`, and whether the larger of two equal ones stands above the other (`larger_above`). Each answer is right in half of the scenes,
and every digit is as frequent in both. No histogram tells either; but a larger digit has more ink, so that ink by height alone is right about
`larger_above` in some 61 % (the floor `rows`).

There is no end of scenes: scene i of a split depends on the split, i and the settings of composition alone. For segmentation,
`segments` gives each digit's class, its visible pixels and its whole shape.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import model_validator
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from oscbench.tasks import Batch, ImageInputs, Metric, Split
from oscbench.tasks.support.floors import histogram, logistic, logistic_each
from oscbench.tasks.support.in_memory import BAGS, InMemoryTask
from oscbench.tasks.support.scenes.composition import SPLITS, SceneConfig, Scenes, first_with_objects
from oscbench.tasks.support.scenes.digit_pairs import RELATIONS, SIZE_GAP

QUESTIONS = {
    "which": "which digits in cluttered scenes",
    "count": "how many digits in cluttered scenes",
    "same": "whether two digits in cluttered scenes are the same",
    "larger_above": "whether the larger of two equal digits in cluttered scenes is above",
}


class DigitScenesConfig(SceneConfig):
    """Settings of digit scenes, beside those of every scene.

    Attributes:
        label: `which` of the ten digits are there (several at once), the `count` of digits, or of two digits whether they are the `same`, or
            whether of two equal ones the larger is above the other (`larger_above`).
    """

    label: Literal["which", "count", "same", "larger_above"] = "which"

    @model_validator(mode="after")
    def _label_fits(self) -> DigitScenesConfig:
        if self.label == "count" and self.min_digits == self.max_digits:
            raise ValueError(
                "label count: min_digits and max_digits are the same, so there is nothing to count"
            )
        if self.label in RELATIONS and (self.min_digits, self.max_digits) != (2, 2):
            raise ValueError(
                f"label {self.label} is about two digits; set min_digits and max_digits to 2, got {self.min_digits} and {self.max_digits}"
            )
        if self.label == "larger_above" and self.max_scale - self.min_scale < SIZE_GAP:
            raise ValueError(
                f"label larger_above: sides of two digits differ by {SIZE_GAP} pixels at least; set max_scale to "
                f"{self.min_scale + SIZE_GAP} or more, got {self.max_scale}"
            )
        return self


class DigitScenes(InMemoryTask):
    """Which digits are there, how many, or how two of them are related."""

    Config = DigitScenesConfig
    version = 1
    label = "digits in cluttered scenes"
    metric = Metric("accuracy", "test accuracy, all of a scene right", "fraction", "higher")
    backbone = "vision"
    inputs: ImageInputs

    def __init__(self, config: DigitScenesConfig) -> None:
        self.config = config
        self.inputs = self.describe(config)
        self.scenes = Scenes(config, config.label if config.label in RELATIONS else None)
        wanted = ("images", "classes", *(("relation",) if self.scenes.relation else ()))
        scenes = {split: self.scenes.kept(split, *wanted) for split in SPLITS}
        kept = self.scenes.training_rows(self._kinds(scenes["train"]))
        scenes["train"] = {name: part[kept] for name, part in scenes["train"].items()}
        self.spread, self.mean = torch.std_mean(scenes["train"]["images"].float())
        self.splits = {
            split: Batch((made["images"].float() - self.mean) / self.spread, self._targets(made))
            for split, made in scenes.items()
        }
        self.training_scenes = kept

    @classmethod
    def describe(cls, config: DigitScenesConfig) -> ImageInputs:
        """One channel; ten digits that are there or not, one class for each count, or yes and no."""
        counts = config.max_digits - config.min_digits + 1
        classes = 10 if config.label == "which" else counts if config.label == "count" else 2
        return ImageInputs(1, config.size, config.size, classes)

    @classmethod
    def headline(cls, config: DigitScenesConfig) -> tuple[str, Metric]:
        """Which question is asked of the scenes."""
        return QUESTIONS[config.label], cls.metric

    @classmethod
    def floors(cls, config: DigitScenesConfig) -> dict[str, str]:
        """The most frequent answer, a bag of pixels and, where a question is about places, how much ink there is at each height."""
        found = {"chance": "the most frequent answer of training", "bag": BAGS["vision"]}
        if config.label in RELATIONS:
            found["rows"] = "logistic regression on the mean ink of each row of pixels"
        return found

    def floor(self, name: str) -> nn.Module:
        """One of them; of `which`, each digit is answered by itself."""
        bag = (
            histogram(self.fitting())
            if name == "bag"
            else (lambda images: images.mean(3).flatten(1))
            if name == "rows"
            else (lambda images: torch.zeros(len(images), 1))
        )
        if self.config.label == "which":
            return logistic_each(self.fitting(), bag, lambda targets: targets.long())
        return logistic(self.fitting(), bag, lambda targets: targets, self.inputs.num_classes)

    def segments(self, split: str) -> dict[str, Tensor]:
        """What there is to find in each scene of a split, in the order of `batches` (of training, the scenes that are kept).

        Returns:
            `classes` (scenes, max_digits) int64, -1 where a scene has fewer digits; `masks` (scenes, max_digits, size, size) bool,
            whole shapes with their hidden parts; `visible` (scenes, size, size) int64, which digit a pixel shows, -1 for none.
        """
        made = self.scenes.compose(split, "classes", "masks", "visible")
        rows = self.training_scenes if split == "train" else slice(None)
        return {name: part[rows] for name, part in made.items()}

    def objects(self, split: Split, count: int) -> tuple[Batch, Tensor]:
        """Scenes, and which of their digits a pixel shows."""
        return first_with_objects(self, self.scenes, split, count)

    def input_range(self) -> tuple[Tensor, Tensor]:
        """Bytes 0 and 255; an empty place is 16 and full ink 224, before noise."""
        low, high = (((level - self.mean) / self.spread).view(1, 1, 1) for level in (0.0, 255.0))
        return low, high

    def loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy [nats]: of each digit's presence, or of the count."""
        if self.config.label == "which":
            return binary_cross_entropy_with_logits(prediction, batch.targets)
        return cross_entropy(prediction, batch.targets)

    def scores(self, prediction: Tensor, batch: Batch) -> Tensor:
        """1 where a scene is wholly right: all ten answers, or the count."""
        if self.config.label == "which":
            return ((prediction > 0) == (batch.targets > 0.5)).all(-1).float()
        return (prediction.argmax(-1) == batch.targets).float()

    def subsets(self, batch: Batch) -> dict[str, Tensor]:
        """Scenes with a digit, and with so many different ones; with so many digits; or where the relation holds."""
        if self.config.label in RELATIONS:
            return {"yes": batch.targets == 1, "no": batch.targets == 0}
        if self.config.label == "count":
            counts = range(self.config.min_digits, self.config.max_digits + 1)
            return {f"{count}_digits": batch.targets == count - self.config.min_digits for count in counts}
        there = batch.targets > 0.5
        kinds = there.sum(-1)
        several = range(1, self.config.max_digits + 1)
        return {f"digit_{digit}": there[:, digit] for digit in range(10)} | {
            f"{count}_kinds": kinds == count for count in several
        }

    def _targets(self, made: dict[str, Tensor]) -> Tensor:
        """Of each scene: ten 0s and 1s, the count above the fewest, or whether the relation holds."""
        if self.config.label in RELATIONS:
            return made["relation"].long()
        classes = made["classes"]
        if self.config.label == "count":
            return (classes >= 0).sum(1) - self.config.min_digits
        return _presence(classes)

    def _kinds(self, made: dict[str, Tensor]) -> Tensor:
        """By what shares of the training scenes keep their balance: how many digits a scene has, or whether the relation holds."""
        return made["relation"].long() if self.config.label in RELATIONS else (made["classes"] >= 0).sum(1)


def _presence(classes: Tensor) -> Tensor:
    """(scenes, digits) classes, -1 none, to (scenes, 10) with 1 where a digit is there."""
    one_hot = torch.nn.functional.one_hot(classes + 1, 11).amax(1)
    return one_hot[:, 1:].float()


task = DigitScenes

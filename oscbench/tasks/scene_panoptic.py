"""Panoptic segmentation of cluttered scenes: every digit a segment of its own, and which digit it is; clutter and empty space as stuff.

The scenes of `digit_scenes`. Each digit that can be seen is a thing, of the class of its digit, with the pixels that it shows; clutter and
look-alikes together are one segment of stuff, and so is what is empty. Scored by panoptic quality, pooled over the split.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from oscbench.tasks import Batch, ImageInputs, Metric, Score
from oscbench.tasks.support.floors import Floor
from oscbench.tasks.support.scenes.composition import SceneConfig, ScenePixels, Scenes
from oscbench.tasks.support.segments.panoptic import INSTANCES, merged, panoptic_loss, parted, segments_of
from oscbench.tasks.support.segments.panoptic_quality import panoptic_counts, qualities

EMPTY, CLUTTER, DIGITS = 0, 1, 2
CLASSES = ("empty", "clutter", *(f"digit_{digit}" for digit in range(10)))
STUFF = frozenset({EMPTY, CLUTTER})
SURE = 20.0
"""A logit that leaves no doubt."""


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


class ScenePanoptic(ScenePixels):
    """Segments and their classes."""

    Config = ScenePanopticConfig
    version = 1
    label = "panoptic segmentation of digits in cluttered scenes"
    metric = Metric("pq", "test PQ", "fraction", "higher")
    backbone = "queries"
    inputs: ImageInputs

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
        """Nothing but stuff."""
        del config
        return {"chance": "all of an image is empty"}

    def floor(self, name: str) -> nn.Module:
        """One query that says so."""
        del name
        pixels = self.inputs.height * self.inputs.width
        scores = torch.full((1, 1, len(CLASSES) + 1 + pixels), SURE)
        scores[..., 1 : len(CLASSES) + 1] = -SURE
        return Floor(lambda images: scores.expand(len(images), -1, -1))

    def loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Of classes and masks after the best matching."""
        return panoptic_loss(prediction, batch.targets, len(CLASSES))

    def count(self, prediction: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Overlaps, matches, false and missed segments by class."""
        logits, masks = parted(prediction.float().cpu(), len(CLASSES))
        wanted, truth = segments_of(batch.targets.cpu())
        total = torch.zeros(len(CLASSES), 4, dtype=torch.float64)
        for image, names in enumerate(wanted.tolist()):
            shown = truth[image].sum(0) > 0
            map_of = torch.where(shown, truth[image].argmax(0), -1)
            found, classes = merged(logits[image], masks[image], STUFF)
            there = [name for name in names if name >= 0]
            total += panoptic_counts(found, classes, map_of, there, len(CLASSES))
        return {"segments": total}

    def finish(self, counts: Mapping[str, Tensor]) -> dict[str, Score]:
        """PQ, SQ and RQ, means over the classes that the split or an answer shows; PQ also of things and of stuff."""
        found = qualities(counts["segments"])
        seen = ~found[:, 0].isnan()
        things = torch.tensor([number not in STUFF for number in range(len(CLASSES))])
        parts = {"pq": (0, seen), "sq": (1, seen), "rq": (2, seen)}
        parts |= {"pq_things": (0, seen & things), "pq_stuff": (0, seen & ~things)}
        never = [CLASSES[number] for number in (~seen).nonzero()[:, 0].tolist()]
        details = {"never_seen": never} if never else {}
        return {
            name: Score(float(found[of, column].mean()), int(of.sum()), details if name == "pq" else {})
            for name, (column, of) in parts.items()
            if bool(of.any())
        }

    def metric_named(self, name: str) -> Metric:
        """Labels of what `finish` gives."""
        label = {
            "pq": "test PQ",
            "sq": "test SQ, overlap of matched segments",
            "rq": "test RQ, F1 of matching",
            "pq_things": "test PQ of things",
            "pq_stuff": "test PQ of stuff",
        }[name]
        return Metric(name, label, "fraction", "higher")


def labels_of(scenes: dict[str, Tensor]) -> Tensor:
    """class · INSTANCES + instance of each pixel, (scenes, size, size) uint8."""
    classes, visible = scenes["classes"], scenes["visible"]
    chosen = classes.gather(1, visible.clamp_min(0).flatten(1)).view_as(visible)
    stuff = torch.where(scenes["clutter"], CLUTTER, EMPTY) * INSTANCES
    things = (chosen + DIGITS) * INSTANCES + visible
    return torch.where(visible >= 0, things, stuff).to(torch.uint8)


task = ScenePanoptic

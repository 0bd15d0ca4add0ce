"""Digit scenes: several real handwritten digits in one image, overlapping, among clutter and look-alikes made of digit parts.

Every scene is composed from the scans of `digits`, and the scenes of a split from the scans of that split alone. Where digits overlap, the
upper one hides the lower; clutter is single quarters of scans, and a look-alike is a scan whose quarters have changed places: all its strokes
are a digit's, and only together do they tell that it is none. So a model must find out which strokes belong together.

How many digits there are is nearly told by how much ink there is (see the floor `bag`), so two labels ask for a relation that ink does not
tell: whether two digits are the `same`, and whether the larger of two equal ones stands above the other (`larger_above`). Each answer is
right in half of the scenes, and every digit is as frequent in both.

There is no end of scenes: scene i of a split depends on the split, i and the settings of composition alone. For segmentation,
`segments` gives each digit's class, its visible pixels and its whole shape.
"""

from __future__ import annotations

import hashlib
import json
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import affine_grid, binary_cross_entropy_with_logits, cross_entropy, grid_sample

from oscbench.data.prepared import prepared
from oscbench.models.trunk import named_seed
from oscbench.settings import added
from oscbench.tasks import Batch, Draw, ImageInputs, Metric, TaskConfig, draw_number
from oscbench.tasks.digits import digit_splits
from oscbench.tasks.support.digit_pairs import (
    CHUNK,
    RELATIONS,
    SIZE_GAP,
    TRIES,
    pair,
    relation_of,
    unlike_places,
)
from oscbench.tasks.support.floors import histogram, logistic, logistic_each
from oscbench.tasks.support.in_memory import BAGS, InMemoryTask
from oscbench.tasks.support.training_subsets import drawn, training_rows

SCENE_SEED = 20_260_105
SPLITS = ("train", "validation", "test")
INK = 0.35
"""Least ink that belongs to a digit, of 1."""
SCAN = 8
QUESTIONS = {
    "which": "which digits in cluttered scenes",
    "count": "how many digits in cluttered scenes",
    "same": "whether two digits in cluttered scenes are the same",
    "larger_above": "whether the larger of two equal digits in cluttered scenes is above",
}
PREPARATION = "digit_scenes v1"
NOT_COMPOSITION = {"label", "train_scenes", "validation_scenes", "test_scenes", "fraction", "draw"}
"""Settings that leave every scene as it is; but for the label of a relation, which has scenes of its own."""


class DigitScenesConfig(TaskConfig):
    """Settings of digit scenes.

    Attributes:
        label: `which` of the ten digits are there (several at once), the `count` of digits, or of two digits whether they are the `same`, or
            whether of two equal ones the larger is above the other (`larger_above`).
        size: side of a scene [pixels].
        min_digits: fewest digits of a scene.
        max_digits: most digits of a scene.
        min_scale: side of the smallest digit [pixels]; scans are 8.
        max_scale: side of the largest digit [pixels].
        max_overlap: share of a digit's square that those in front of it may cover, where there is room.
        look_alikes: most scans with changed places of their quarters; each scene draws how many, from 0.
        clutter: quarters of scans strewn over a scene.
        noise: spread of the noise on every pixel, with ink from 0 to 1.
        train_scenes: of training, before `fraction`.
        validation_scenes: of validation.
        test_scenes: of test.
        fraction: share of the training scenes that is used; smaller shares lie within larger ones.
        draw: of the scenes of training and validation; `per_seed` composes others for each seed. The scans that they are made of stay.
    """

    label: Literal["which", "count", "same", "larger_above"] = "which"
    size: int = Field(default=40, ge=16)
    min_digits: int = Field(default=1, ge=1)
    max_digits: int = Field(default=3, ge=1)
    min_scale: int = Field(default=12, ge=8)
    max_scale: int = Field(default=16, ge=8)
    max_overlap: float = Field(default=0.4, ge=0.0, le=1.0)
    look_alikes: int = Field(default=1, ge=0)
    clutter: int = Field(default=4, ge=0)
    noise: float = Field(default=0.05, ge=0.0)
    train_scenes: int = Field(default=8_000, ge=1)
    validation_scenes: int = Field(default=1_000, ge=1)
    test_scenes: int = Field(default=2_000, ge=1)
    fraction: float = Field(default=1.0, gt=0.0, le=1.0)
    draw: Draw = added("fixed", neutral="fixed")

    @model_validator(mode="after")
    def _in_order(self) -> DigitScenesConfig:
        for low, high in (("min_digits", "max_digits"), ("min_scale", "max_scale"), ("max_scale", "size")):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(f"{low} {getattr(self, low)} is more than {high} {getattr(self, high)}")
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
        self._scans = digit_splits()
        sizes = (config.train_scenes, config.validation_scenes, config.test_scenes)
        self._sizes = dict(zip(SPLITS, sizes, strict=True))
        scenes = {split: self._scenes(split) for split in SPLITS}
        share = drawn("share", draw_number(config.draw))
        kept = training_rows(self._kinds(scenes["train"]), config.fraction, share)
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
        """The most frequent answer, and a bag of pixels."""
        del config
        return {"chance": "the most frequent answer of training", "bag": BAGS["vision"]}

    def floor(self, name: str) -> nn.Module:
        """One of them; of `which`, each digit is answered by itself."""
        bag = histogram(self.fitting()) if name == "bag" else lambda images: torch.zeros(len(images), 1)
        if self.config.label == "which":
            return logistic_each(self.fitting(), bag, lambda targets: targets.long())
        return logistic(self.fitting(), bag, lambda targets: targets, self.inputs.num_classes)

    def segments(self, split: str) -> dict[str, Tensor]:
        """What there is to find in each scene of a split, in the order of `batches` (of training, the scenes that are kept).

        Returns:
            `classes` (scenes, max_digits) int64, -1 where a scene has fewer digits; `masks` (scenes, max_digits, size, size) bool,
            whole shapes with their hidden parts; `visible` (scenes, size, size) int64, which digit a pixel shows, -1 for none.
        """
        made = self._compose(split, "classes", "masks", "visible")
        rows = self.training_scenes if split == "train" else slice(None)
        return {name: part[rows] for name, part in made.items()}

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

    def _scenes(self, split: str) -> dict[str, Tensor]:
        """Images and classes of a split, composed once and kept."""
        related = self.config.label in RELATIONS
        settings = self.config.model_dump(exclude=NOT_COMPOSITION - ({"label"} if related else set()))
        wanted = ("images", "classes", *(("relation",) if related else ()))
        scans = self._scans[split].inputs.numpy().tobytes()
        content = hashlib.sha256(scans).hexdigest()
        key = f"{PREPARATION} {self._stream(split)} {self._sizes[split]} {json.dumps(settings)} {content}"
        return prepared(key, lambda: self._compose(split, *wanted))

    def _stream(self, split: str) -> str:
        """Name of a split's randomness; the test is the same in every draw."""
        return split if split == "test" else drawn(split, draw_number(self.config.draw))

    def _compose(self, split: str, *wanted: str) -> dict[str, Tensor]:
        """All scenes of a split, chunk by chunk, each chunk from a stream of its own."""
        size = self._sizes[split]
        chunks: dict[str, list[Tensor]] = {name: [] for name in wanted}
        for start in range(0, size, CHUNK):
            generator = torch.Generator().manual_seed(
                named_seed(SCENE_SEED, f"{self._stream(split)}/{start // CHUNK}")
            )
            made = compose(self._scans[split], self.config, generator)
            for name in wanted:
                chunks[name].append(made[name][: size - start])
        return {name: torch.cat(parts) for name, parts in chunks.items()}


def compose(scans: Batch, config: DigitScenesConfig, generator: torch.Generator) -> dict[str, Tensor]:
    """A chunk of scenes from scans (n, 1, 8, 8) with ink from 0 to 1, see `segments`.

    Returns:
        `images` (CHUNK, 1, size, size) uint8 with black 0 and full ink 224; `classes`, `masks` and `visible`; and `relation` (CHUNK,)
        bool, where the label is one.
    """
    most = config.max_digits

    def whole(low: int, high: int, *shape: int) -> Tensor:
        """Whole numbers from low to high, both ends in."""
        return torch.randint(low, high + 1, shape, generator=generator)

    def some(count: int) -> tuple[Tensor, Tensor]:
        """Scans (CHUNK, count, 1, 8, 8) and their classes."""
        rows = whole(0, len(scans.targets) - 1, CHUNK, count)
        return scans.inputs[rows], scans.targets[rows]

    relation = {}
    if config.label in RELATIONS:
        rows = pair(scans.targets, config.label, generator)
        drawn, classes = scans.inputs[rows], scans.targets[rows]
        places = _places(2, config, generator) if config.label == "same" else unlike_places(config, generator)
        relation = {"relation": relation_of(config.label, classes, *places)}
    else:
        drawn, classes = some(most)
    present = torch.arange(most) < whole(config.min_digits, most, CHUNK)[:, None]
    places = places if relation else _places(most, config, generator)
    digits = placed(drawn, *places, config.size) * present[:, :, None, None]

    drawn, _ = some(config.look_alikes)
    drawn = _exchanged(drawn, whole(1, 3, CHUNK, config.look_alikes))
    shown = torch.arange(config.look_alikes) < whole(0, config.look_alikes, CHUNK)[:, None]
    wrong = (
        placed(drawn, *_places(config.look_alikes, config, generator), config.size) * shown[:, :, None, None]
    )

    drawn, _ = some(config.clutter)
    drawn = _quarter(drawn, whole(0, 3, CHUNK, config.clutter))
    pieces = placed(drawn, *_places(config.clutter, config, generator), config.size)

    images = torch.zeros(CHUNK, config.size, config.size)
    # From the back to the front: clutter, look-alikes, digits from the last to the first; each hides what lies behind it.
    for layer in torch.cat((pieces, wrong, digits.flip(1)), dim=1).unbind(1):
        images = torch.where(layer > INK, layer, torch.maximum(images, layer))
    shapes = digits > INK
    images = images + config.noise * torch.randn(images.shape, generator=generator)
    return {
        "images": (16.0 + 208.0 * images).round().clamp(0, 255).to(torch.uint8)[:, None],
        "classes": torch.where(present, classes, -1),
        "masks": shapes,
        "visible": torch.where(shapes.any(1), shapes.int().argmax(1), -1),
        **relation,
    }


def _places(count: int, config: DigitScenesConfig, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Sides (CHUNK, count) and upper left corners (CHUNK, count, 2) [pixels] of squares inside the scene.

    Each takes the first of some random places where the squares before it cover no more of it than `max_overlap`, or the one
    where they cover least.
    """
    sides = torch.randint(config.min_scale, config.max_scale + 1, (CHUNK, count), generator=generator)
    room = (config.size - sides + 1)[:, :, None, None]
    corners = (torch.rand(CHUNK, count, TRIES, 2, generator=generator) * room).long()
    chosen = corners[:, :, 0]
    for index in range(1, count):
        tried = corners[:, index, :, None]  # (CHUNK, TRIES, 1, 2) against (CHUNK, 1, index, 2)
        low = torch.maximum(tried, chosen[:, None, :index])
        own, others = sides[:, index, None, None, None], sides[:, None, :index, None]
        high = torch.minimum(tried + own, chosen[:, None, :index] + others)
        covered = (high - low).clamp_min(0).prod(-1).sum(-1) / sides[:, index, None].square()
        best = (covered.clamp_min(config.max_overlap) + 1e-6 * torch.arange(TRIES)).argmin(1)
        chosen[:, index] = corners[torch.arange(CHUNK), index, best]
    return sides, chosen


def placed(scans: Tensor, sides: Tensor, corners: Tensor, size: int) -> Tensor:
    """Scans (B, k, 1, 8, 8) enlarged to sides (B, k) at corners (B, k, 2) of empty scenes: (B, k, size, size)."""
    batch, count = sides.shape
    if count == 0:
        return scans.new_zeros(batch, 0, size, size)
    side, corner = sides.flatten(), corners.flatten(0, 1)
    # affine_grid leads from a scene's pixels to a scan's, both from -1 to 1 and (x, y): enlarge about the centre of the place.
    enlarge = size / side
    centre = ((2 * corner + side[:, None]) / size - 1).flip(1)
    matrix = torch.zeros(batch * count, 2, 3)
    matrix[:, 0, 0] = matrix[:, 1, 1] = enlarge
    matrix[:, :, 2] = -enlarge[:, None] * centre
    grid = affine_grid(matrix, [batch * count, 1, size, size], align_corners=False)
    enlarged: Tensor = grid_sample(scans.flatten(0, 1), grid, align_corners=False)
    return enlarged.view(batch, count, size, size)


def _exchanged(scans: Tensor, shifts: Tensor) -> Tensor:
    """Quarters of scans (B, k, 1, 8, 8) moved on by so many places around the centre; 1 to 3 leave none at its own."""
    half = SCAN // 2
    around = [(0, 0), (0, half), (half, half), (half, 0)]
    quarters = torch.stack([scans[..., y : y + half, x : x + half] for y, x in around], dim=2)
    places = (torch.arange(4) + shifts[..., None]) % 4
    moved = quarters.gather(2, places[..., None, None, None].expand_as(quarters))
    upper = torch.cat((moved[:, :, 0], moved[:, :, 1]), dim=-1)
    lower = torch.cat((moved[:, :, 3], moved[:, :, 2]), dim=-1)
    return torch.cat((upper, lower), dim=-2)


def _quarter(scans: Tensor, which: Tensor) -> Tensor:
    """Scans (B, k, 1, 8, 8) of which one quarter (0 to 3) is left."""
    half = SCAN // 2
    row, column = (torch.arange(SCAN) // half)[:, None], torch.arange(SCAN) // half
    return scans * ((2 * row + column) == which[..., None, None])[:, :, None]


def _presence(classes: Tensor) -> Tensor:
    """(scenes, digits) classes, -1 none, to (scenes, 10) with 1 where a digit is there."""
    one_hot = torch.nn.functional.one_hot(classes + 1, 11).amax(1)
    return one_hot[:, 1:].float()


task = DigitScenes

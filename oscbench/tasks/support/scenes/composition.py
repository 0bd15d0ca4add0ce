"""Scenes of real handwritten digits, composed: which scans, where they lie, what hides what, and what there is to find.

Scene i of a split depends on the split, i and the settings of composition alone, and is made from the scans of its split alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from oscbench.data.prepared import prepared
from oscbench.models.trunk import named_seed
from oscbench.settings import added
from oscbench.tasks import Batch, Draw, Split, Task, TaskConfig, draw_number
from oscbench.tasks.digits import digit_splits
from oscbench.tasks.support.in_memory import InMemoryTask
from oscbench.tasks.support.scenes.digit_pairs import CHUNK, TRIES, pair, relation_of, unlike_places
from oscbench.tasks.support.training_subsets import drawn, training_rows

SCENE_SEED = 20_260_105
SPLITS = ("train", "validation", "test")
INK = 0.35
"""Least ink that belongs to a digit, of 1."""
SCAN = 8
PREPARATION = "scenes v2"


class SceneConfig(TaskConfig):
    """What scenes are composed of, and how many there are.

    Attributes:
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
    def _in_order(self) -> SceneConfig:
        for low, high in (("min_digits", "max_digits"), ("min_scale", "max_scale"), ("max_scale", "size")):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(f"{low} {getattr(self, low)} is more than {high} {getattr(self, high)}")
        return self


COMPOSITION = (
    "size",
    "min_digits",
    "max_digits",
    "min_scale",
    "max_scale",
    "max_overlap",
    "look_alikes",
    "clutter",
    "noise",
)
"""Settings that make a scene what it is; the others say which scenes, and how many."""


class Scenes:
    """The scenes of three splits.

    Args:
        config: of the scenes.
        relation: of two digits, one of `digit_pairs.RELATIONS`; None draws digits that stand in none.
    """

    def __init__(self, config: SceneConfig, relation: str | None = None) -> None:
        self.config, self.relation = config, relation
        self.scans = digit_splits()
        sizes = (config.train_scenes, config.validation_scenes, config.test_scenes)
        self.sizes = dict(zip(SPLITS, sizes, strict=True))

    def kept(self, split: str, *wanted: str) -> dict[str, Tensor]:
        """Parts of a split's scenes, see `compose`, composed once and kept."""
        settings = [(name, getattr(self.config, name)) for name in COMPOSITION]
        content = hashlib.sha256(self.scans[split].inputs.numpy().tobytes()).hexdigest()
        made = json.dumps([settings, self.relation, wanted])
        key = f"{PREPARATION} {self._stream(split)} {self.sizes[split]} {made} {content}"
        return prepared(key, lambda: self.compose(split, *wanted))

    def compose(self, split: str, *wanted: str) -> dict[str, Tensor]:
        """The same, made anew: all scenes of a split, chunk by chunk, each chunk from a stream of its own."""
        size = self.sizes[split]
        chunks: dict[str, list[Tensor]] = {name: [] for name in wanted}
        for start in range(0, size, CHUNK):
            generator = torch.Generator().manual_seed(
                named_seed(SCENE_SEED, f"{self._stream(split)}/{start // CHUNK}")
            )
            made = compose(self.scans[split], self.config, generator, self.relation)
            for name in wanted:
                chunks[name].append(made[name][: size - start])
        return {name: torch.cat(parts) for name, parts in chunks.items()}

    def training_rows(self, kinds: Tensor) -> Tensor:
        """Training scenes that the share keeps, in balance of their kinds (scenes,)."""
        return training_rows(kinds, self.config.fraction, drawn("share", draw_number(self.config.draw)))

    def _stream(self, split: str) -> str:
        """Name of a split's randomness; the test is the same in every draw."""
        return split if split == "test" else drawn(split, draw_number(self.config.draw))


def first_with_objects(task: Task, scenes: Scenes, split: Split, count: int) -> tuple[Batch, Tensor]:
    """The first scenes of a validation or test split as a model reads them, and which digit each pixel shows, -1 for none."""
    batch = next(task.batches(split, count))
    return batch, scenes.kept(split, "visible")["visible"][: len(batch.inputs)]


class ScenePixels(InMemoryTask):
    """What tasks share that ask about every pixel of a scene: scenes composed and kept, and read as normalised images.

    Attributes:
        scenes: of the three splits.
        training_scenes: rows of the training scenes that the share keeps.
        mean: of the pixels of those, as bytes.
        spread: of the same.
    """

    scenes: Scenes
    training_scenes: Tensor
    mean: Tensor
    spread: Tensor

    def read(
        self, scenes: Scenes, wanted: Sequence[str], targets: Callable[[dict[str, Tensor]], Tensor]
    ) -> None:
        """Take in three splits: parts of scenes, see `compose`, and what is asked of them."""
        self.scenes = scenes
        made = {split: scenes.kept(split, *wanted) for split in SPLITS}
        self.training_scenes = scenes.training_rows((made["train"]["classes"] >= 0).sum(1))
        made["train"] = {name: part[self.training_scenes] for name, part in made["train"].items()}
        self.splits = {split: Batch(part["images"], targets(part)) for split, part in made.items()}
        self.spread, self.mean = torch.std_mean(made["train"]["images"].float())

    def ready(self, batch: Batch) -> Batch:
        """Normalised images and whole numbers."""
        return Batch((batch.inputs.float() - self.mean) / self.spread, batch.targets.long())

    def input_range(self) -> tuple[Tensor, Tensor]:
        """Bytes 0 and 255; an empty place is 16 and full ink 224, before noise."""
        low, high = (((level - self.mean) / self.spread).view(1, 1, 1) for level in (0.0, 255.0))
        return low, high

    def objects(self, split: Split, count: int) -> tuple[Batch, Tensor]:
        """Scenes, and which of their digits a pixel shows."""
        return first_with_objects(self, self.scenes, split, count)


def compose(
    scans: Batch, config: SceneConfig, generator: torch.Generator, relation: str | None = None
) -> dict[str, Tensor]:
    """A chunk of scenes from scans (n, 1, 8, 8) with ink from 0 to 1.

    Returns:
        `images` (CHUNK, 1, size, size) uint8 with black 0 and full ink 224; `classes` (CHUNK, max_digits) int64, -1 where a scene has
        fewer digits; `masks` (CHUNK, max_digits, size, size) bool, whole shapes with their hidden parts; `visible` (CHUNK, size, size)
        int64, which digit a pixel shows, -1 for none; `clutter` (CHUNK, size, size) bool, pixels of clutter or look-alikes that
        no digit hides; and where there is a relation, `relation` (CHUNK,) bool, whether it holds.
    """
    most = config.max_digits

    def whole(low: int, high: int, *shape: int) -> Tensor:
        """Whole numbers from low to high, both ends in."""
        return torch.randint(low, high + 1, shape, generator=generator)

    def some(count: int) -> tuple[Tensor, Tensor]:
        """Scans (CHUNK, count, 1, 8, 8) and their classes."""
        rows = whole(0, len(scans.targets) - 1, CHUNK, count)
        return scans.inputs[rows], scans.targets[rows]

    related = {}
    if relation is not None:
        rows = pair(scans.targets, relation, generator)
        chosen, classes = scans.inputs[rows], scans.targets[rows]
        places = _places(2, config, generator) if relation == "same" else unlike_places(config, generator)
        related = {"relation": relation_of(relation, classes, *places)}
    else:
        chosen, classes = some(most)
    present = torch.arange(most) < whole(config.min_digits, most, CHUNK)[:, None]
    places = places if related else _places(most, config, generator)
    digits = placed(chosen, *places, config.size) * present[:, :, None, None]

    chosen, _ = some(config.look_alikes)
    chosen = _exchanged(chosen, whole(1, 3, CHUNK, config.look_alikes))
    shown = torch.arange(config.look_alikes) < whole(0, config.look_alikes, CHUNK)[:, None]
    wrong = (
        placed(chosen, *_places(config.look_alikes, config, generator), config.size) * shown[:, :, None, None]
    )

    chosen, _ = some(config.clutter)
    chosen = _quarter(chosen, whole(0, 3, CHUNK, config.clutter))
    pieces = placed(chosen, *_places(config.clutter, config, generator), config.size)

    # From the back to the front: clutter, look-alikes, digits from the last to the first.
    images = _painted(torch.cat((pieces, wrong, digits.flip(1)), dim=1))
    shapes = digits > INK
    clutter = (torch.cat((pieces, wrong), dim=1) > INK).any(1) & ~shapes.any(1)
    images = images + config.noise * torch.randn(images.shape, generator=generator)
    return {
        "images": (16.0 + 208.0 * images).round().clamp(0, 255).to(torch.uint8)[:, None],
        "classes": torch.where(present, classes, -1),
        "masks": shapes,
        "visible": torch.where(shapes.any(1), shapes.int().argmax(1), -1),
        "clutter": clutter,
        **related,
    }


def _painted(layers: Tensor) -> Tensor:
    """Pictures (B, size, size) of layers (B, k, size, size), each of which hides what lies behind it."""
    images = torch.zeros_like(layers[:, 0])
    for layer in layers.unbind(1):
        images = torch.where(layer > INK, layer, torch.maximum(images, layer))
    return images


def _places(count: int, config: SceneConfig, generator: torch.Generator) -> tuple[Tensor, Tensor]:
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

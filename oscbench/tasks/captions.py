"""Captions: which words belong to which image, and are they bound to the right places?

Two different handwritten digits stand side by side, or one above the other, in two of the four cells of an image, with jitter in size
and place, or wherever that is still true of them (`places: free`). A grammar says what is there in one of two ways ("a three above a
seven", "a seven below a three"). Images and captions are embedded by two towers and trained to find one another among the other pairs of a
batch (InfoNCE, as in CLIP, arXiv 2103.00020), no two of which mean the same. Only the image tower has the mechanism.

To choose between a caption and the same with its digits exchanged, which text alone cannot tell, a model must bind digits to places; chance
is 50 %. Some pairs of digits are never together in training, in either order: composition. Images are made from the scans of their
split alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations
from typing import Any, Literal, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn.functional import normalize

from oscbench.data.prepared import prepared
from oscbench.models.backbones.dual import Dual
from oscbench.models.trunk import named_seed
from oscbench.settings import added
from oscbench.tasks import Batch, Draw, DualInputs, Metric, Score, Split, TaskConfig, draw_number
from oscbench.tasks.digits import digit_splits
from oscbench.tasks.support.floors import histogram, logistic
from oscbench.tasks.support.in_memory import BAGS, InMemoryTask
from oscbench.tasks.support.pairs import TwoTowers, info_nce, nearest_means_the_same
from oscbench.tasks.support.scenes.composition import placed
from oscbench.tasks.support.training_subsets import drawn

DATA_SEED = 20_261_128
PREPARATION = "captions v1"
SPLITS = ("train", "validation", "test")
SHOWN = 6
"""Captions of which a record shows the nearest image."""
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
VOCABULARY = ("<pad>", "a", "above", "below", "left", "right", "of", *DIGITS)
IDS = {word: index for index, word in enumerate(VOCABULARY)}
WORDS = 6
PAIRS = tuple(permutations(range(10), 2))
"""Ordered pairs of different digits: the first is above, or left of, the second."""
RELATIONS = (("above", "below"), ("left of", "right of"))
"""From the first digit's side, and from the second's."""
NUM_MEANINGS = len(RELATIONS) * len(PAIRS)
"""A meaning's number is relation · 90 + pair."""


class CaptionsConfig(TaskConfig):
    """Settings of captions.

    Attributes:
        size: side of an image [pixels], divided into two by two cells.
        min_scale: side of the smallest digit [pixels]; scans are 8.
        max_scale: of the largest; at most half of `size`.
        noise: spread of the noise on every pixel, with ink from 0 to 1.
        places: two of four `cells`, or `free`: anywhere with one wholly above, or left of, the other and both partly side by side across.
        held_out_pairs: pairs of digits, of 45, that training never shows, in either order.
        images_per_meaning: training images of each meaning.
        validation_images: of each meaning.
        test_images: of each meaning, those held out too.
        single_digits: test images of one digit alone, which training never shows.
        draw: of the images of training and validation; `per_seed` composes others for each seed, of the same scans.
    """

    size: int = Field(default=32, ge=16)
    min_scale: int = Field(default=12, ge=4)
    max_scale: int = Field(default=16, ge=4)
    noise: float = Field(default=0.05, ge=0.0)
    places: Literal["cells", "free"] = added("cells", neutral="cells")
    held_out_pairs: int = Field(default=5, ge=1, le=40)
    images_per_meaning: int = Field(default=180, ge=1)
    validation_images: int = Field(default=2, ge=1)
    test_images: int = Field(default=10, ge=1)
    single_digits: int = Field(default=500, ge=10)
    draw: Draw = added("fixed", neutral="fixed")

    @model_validator(mode="after")
    def _fits(self) -> CaptionsConfig:
        if not self.min_scale <= self.max_scale <= self.size // 2:
            raise ValueError(
                f"min_scale {self.min_scale}, max_scale {self.max_scale}: must rise, up to a cell of {self.size // 2} pixels"
            )
        return self


class Captions(InMemoryTask):
    """The caption of an image."""

    Config = CaptionsConfig
    version = 1
    label = "captions of digits"
    metric = Metric("accuracy", "test accuracy against captions with exchanged digits", "fraction", "higher")
    backbone = "dual"
    inputs: DualInputs

    def __init__(self, config: CaptionsConfig) -> None:
        self.config = config
        self.inputs = self.describe(config)
        held = held_out(config.held_out_pairs)
        everything = torch.arange(NUM_MEANINGS)
        self.seen = everything[~torch.isin(everything % len(PAIRS), held)]
        counts = (config.images_per_meaning, config.validation_images, config.test_images)
        meanings = (self.seen, self.seen, everything)
        found = {
            split: self._images(split, of.repeat(count))
            for split, of, count in zip(SPLITS, meanings, counts, strict=True)
        }
        alone = torch.arange(config.single_digits) % 10
        self.alone = self._images("alone", alone)
        mean = found["train"].inputs.float().mean()
        self._shift, self._factor = mean, 1.0 / found["train"].inputs.float().std()
        self.splits = found

    @classmethod
    def describe(cls, config: CaptionsConfig) -> DualInputs:
        """An image, and up to six words."""
        return DualInputs(1, config.size, config.size, len(VOCABULARY), WORDS)

    @classmethod
    def largest_batch(cls, config: CaptionsConfig) -> int:
        """One pair of each meaning of training, since no two in a batch mean the same."""
        return NUM_MEANINGS - len(RELATIONS) * len(held_out(config.held_out_pairs))

    @classmethod
    def floors(cls, config: CaptionsConfig) -> dict[str, str]:
        """No image at all, and a bag of pixels."""
        del config
        return {
            "chance": "all captions are alike, whatever the image",
            "bag": f"{BAGS['vision']}, one class for each meaning of training",
        }

    def floor(self, name: str) -> torch.nn.Module:
        """One of them: an image is embedded as how likely each meaning is, a caption as the meanings that have its digits."""
        if name == "chance":
            return TwoTowers(self.inputs, lambda images: images.new_zeros(len(images), NUM_MEANINGS), said)
        towers = TwoTowers(self.inputs, lambda images: images, said)
        images = [Batch(towers.images(batch.inputs), batch.targets) for batch in self.fitting()]
        likely = logistic(images, histogram(images), lambda meanings: meanings, NUM_MEANINGS)
        towers.see = lambda images: likely.predict(images).exp()
        return towers

    def tensors(self) -> dict[str, Tensor]:
        """All images and meanings."""
        return super().tensors() | {"alone.inputs": self.alone.inputs, "alone.targets": self.alone.targets}

    def training_batches(
        self, batch_size: int, order: torch.Generator, augmentation: torch.Generator
    ) -> Iterator[Batch]:
        """Batches of different meanings; of each round through the meanings, what does not fill a batch is left out.

        Raises:
            ValueError: fewer meanings than a batch.
        """
        train, count = self.splits["train"], len(self.seen)
        if batch_size > count:
            raise ValueError(
                f"train.batch_size: {batch_size} pairs of different meaning, there are {count}; set it lower"
            )
        rounds = self.config.images_per_meaning
        # Image i has meaning i mod count: for each meaning, its images in a random order.
        image = torch.rand(rounds, count, generator=order).argsort(0) * count + torch.arange(count)
        for row in image:
            shuffled = row[torch.randperm(count, generator=order)]
            for rows in shuffled[: count // batch_size * batch_size].split(batch_size):
                ways = torch.randint(2, (len(rows),), generator=augmentation)
                yield self._packed(train.inputs[rows], train.targets[rows], ways)

    def ready(self, batch: Batch) -> Batch:
        """Stored images and meanings with their captions, said now one way and now the other."""
        return self._packed(batch.inputs, batch.targets, torch.arange(len(batch.targets)) % 2)

    def loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """InfoNCE [nats], the mean of both directions; a pair that means the same as another is no negative of it."""
        return info_nce(prediction, batch.targets)

    def scores(self, prediction: Tensor, batch: Batch) -> Tensor:
        """1 where an image is nearer to its own caption than to any other of the batch."""
        return nearest_means_the_same(prediction, batch.targets)

    @torch.no_grad()
    def evaluate(
        self, model: torch.nn.Module, split: Split, device: torch.device, batch_size: int = 256
    ) -> dict[str, Score]:
        """The headline, on pairs of digits that training showed; on the test also on those it did not, retrieval, and single digits."""
        towers, was_training = cast("Dual", model), model.training
        model.eval()
        images, meanings = self._embedded(towers, self.splits[split], device, batch_size)
        gallery = torch.stack([towers.captions(ids.to(device)) for ids in CAPTIONS])
        found = self._compared(images, meanings, gallery)
        name, seen = self.metric.name, torch.isin(meanings, self.seen.to(device))
        scores = {name: _score(found["swap"][seen])}
        if split == "test":
            scores[f"{name}_held_out_pairs"] = _score(found["swap"][~seen])
            for key in ("top_1", "pair", "axis"):
                scores[f"{name}_{key}"] = _score(found[key][seen])
                scores[f"{name}_{key}_held_out_pairs"] = _score(found[key][~seen])
            nearest, own = self._backwards(images, meanings, gallery)
            scores[f"{name}_text_to_image"] = _score(own.flatten())
            scenes = self._nearest_scenes(nearest[0].cpu(), own[0].cpu())
            scores[name] = replace(scores[name], details={"scenes": scenes})
            blind = images.mean(0, keepdim=True).expand_as(images)
            scores[f"{name}_text_alone"] = _score(self._compared(blind, meanings, gallery)["swap"][seen])
            scores[f"{name}_single_digits"] = _score(self._single(towers, device, batch_size))
        model.train(was_training)
        return scores

    def _compared(self, images: Tensor, meanings: Tensor, gallery: Tensor) -> dict[str, Tensor]:
        """How right each image (B, embedding) is placed, by name (B,), the mean over both wordings.

        `swap`: it is nearer to its caption than to the same with digits exchanged, half where equal. Of the nearest of all captions,
        `top_1`: the meaning is its own, `pair`: so are the digits in any order, `axis`: so is the axis.
        """
        found: dict[str, list[Tensor]] = {"swap": [], "top_1": [], "pair": [], "axis": []}
        unordered = torch.tensor([10 * min(p) + max(p) for p in PAIRS], device=images.device).repeat(2)
        for captions in gallery:
            similar = images @ captions.T
            own = similar.gather(1, meanings[:, None])[:, 0]
            other = similar.gather(1, exchanged(meanings)[:, None])[:, 0]
            nearest = similar.argmax(1)
            found["swap"].append((own > other).double() + 0.5 * (own == other))
            found["top_1"].append((nearest == meanings).double())
            found["pair"].append((unordered[nearest] == unordered[meanings]).double())
            found["axis"].append((nearest // len(PAIRS) == meanings // len(PAIRS)).double())
        return {name: torch.stack(parts).mean(0) for name, parts in found.items()}

    def _backwards(self, images: Tensor, meanings: Tensor, gallery: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest image of a gallery of one for each meaning, for each caption of both wordings (2, meanings), and whether it is its own.

        An image is told by its place in the split.
        """
        first = torch.stack([(meanings == meaning).nonzero()[0, 0] for meaning in range(NUM_MEANINGS)])
        nearest = (gallery @ normalize(images[first], dim=-1).T).argmax(-1)
        return first[nearest], (nearest == torch.arange(NUM_MEANINGS, device=images.device)).double()

    def _nearest_scenes(self, nearest: Tensor, own: Tensor) -> list[dict[str, Any]]:
        """Captions, evenly spaced, with the image that is nearest to each: a hexadecimal digit a pixel, rows parted by `/`."""
        found = []
        for meaning in range(0, NUM_MEANINGS, NUM_MEANINGS // SHOWN):
            image = self.splits["test"].inputs[nearest[meaning]] // 16
            rows = ("".join(f"{level:x}" for level in row) for row in image.tolist())
            words = " ".join(caption(meaning, 0))
            found.append({"caption": words, "image": "/".join(rows), "own": bool(own[meaning])})
        return found

    def _single(self, towers: Dual, device: torch.device, batch_size: int) -> Tensor:
        """Whether an image of one digit is nearest to "a" and that digit, of the ten."""
        images, digits = self._embedded(towers, self.alone, device, batch_size)
        prompts = torch.tensor([_filled(["a", word]) for word in DIGITS], device=device)
        return ((images @ towers.captions(prompts).T).argmax(1) == digits).double()

    def _embedded(
        self, towers: Dual, stored: Batch, device: torch.device, batch_size: int
    ) -> tuple[Tensor, Tensor]:
        """Embeddings of all images, and their targets."""
        parts = []
        for start in range(0, len(stored.targets), batch_size):
            rows = slice(start, start + batch_size)
            nothing = torch.zeros(len(stored.targets[rows]), dtype=torch.int64)
            batch = self._packed(stored.inputs[rows], stored.targets[rows] % NUM_MEANINGS, nothing).to(device)
            parts.append(towers(batch.inputs).prediction[:, 0])
        return torch.cat(parts), stored.targets.to(device)

    def _packed(self, images: Tensor, meanings: Tensor, ways: Tensor) -> Batch:
        """Images (B, size, size) uint8 as the towers read them, with the captions of meanings in one of the two ways each."""
        pixels = (images.float() - self._shift) * self._factor
        ids = CAPTIONS[ways, meanings]
        return Batch(torch.cat((pixels.flatten(1), ids.float()), dim=1), meanings)

    def _images(self, split: str, contents: Tensor) -> Batch:
        """Images (n, size, size) uint8 of meanings, or of digits alone, composed once and kept; the test's and those alone in every draw."""
        config = self.config
        look: tuple[object, ...] = (config.size, config.min_scale, config.max_scale, config.noise)
        look += () if config.places == "cells" else (config.places,)
        stream = drawn(split, draw_number(config.draw)) if split in ("train", "validation") else split
        key = f"{PREPARATION} {stream} {look} {len(contents)} {config.held_out_pairs}"
        scans = digit_splits()["test" if split == "alone" else split]

        def make() -> dict[str, Tensor]:
            generator = torch.Generator().manual_seed(named_seed(DATA_SEED, stream))
            parts = [
                compose(scans, chunk, config, generator, alone=split == "alone")
                for chunk in contents.split(1024)
            ]
            return {"images": torch.cat(parts)}

        return Batch(prepared(key, make)["images"], contents)


def compose(
    scans: Batch, contents: Tensor, config: CaptionsConfig, generator: torch.Generator, *, alone: bool = False
) -> Tensor:
    """Images (B, size, size) uint8 of meanings (B,), or of single digits: black 0, full ink 224.

    The row, or column, that both digits share is drawn, as are the scans, their sides, their places in their cells, and noise.
    """
    count, cell = len(contents), config.size // 2
    if alone:
        digits, corner_cells = contents[:, None], torch.randint(2, (count, 1, 2), generator=generator)
    else:
        digits = torch.tensor(PAIRS)[contents % len(PAIRS)]
        free = torch.randint(2, (count,), generator=generator)
        corner_cells = _turned(torch.arange(2).expand(count, 2), free[:, None].expand(count, 2), contents)
    chosen = torch.stack([_scan_of(scans, of, generator) for of in digits.unbind(1)], dim=1)
    sides = torch.randint(config.min_scale, config.max_scale + 1, digits.shape, generator=generator)
    if config.places == "free" and not alone:
        corners = _apart(sides, contents, config.size, generator)
    else:
        room = ((config.size if config.places == "free" else cell) - sides + 1)[..., None]
        jitter = (torch.rand(*digits.shape, 2, generator=generator) * room).long()
        corners = jitter if config.places == "free" else corner_cells * cell + jitter
    ink = placed(scans.inputs[chosen], sides, corners, config.size).amax(1)
    ink = ink + config.noise * torch.randn(ink.shape, generator=generator)
    return (16.0 + 208.0 * ink).round().clamp(0, 255).to(torch.uint8)


def _turned(along: Tensor, across: Tensor, meanings: Tensor) -> Tensor:
    """Places (B, 2) along a meaning's axis and across it, as rows and columns (B, 2, 2)."""
    above = (meanings // len(PAIRS) == 0)[:, None]
    return torch.stack((torch.where(above, along, across), torch.where(above, across, along)), dim=2)


def _apart(sides: Tensor, meanings: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Corners (B, 2, 2) of two digits that each meaning is true of, and no meaning of the other axis.

    Along the axis the second begins where the first has ended, or later; across it they share a row, or a column, of pixels at least.
    """
    first, second = sides.unbind(1)

    def between(low: Tensor, high: Tensor) -> Tensor:
        return low + (torch.rand(len(sides), generator=generator) * (high - low + 1)).long()

    start = between(torch.zeros_like(first), size - first - second)
    along = torch.stack((start, between(start + first, size - second)), dim=1)
    aside = between(torch.zeros_like(first), size - first)
    low, high = (aside - second + 1).clamp_min(0), torch.minimum(aside + first - 1, size - second)
    return _turned(along, torch.stack((aside, between(low, high)), dim=1), meanings)


def _scan_of(scans: Batch, digits: Tensor, generator: torch.Generator) -> Tensor:
    """A random scan (B,) of each digit."""
    score = torch.rand(len(digits), len(scans.targets), generator=generator)
    return score.masked_fill(scans.targets != digits[:, None], -1.0).argmax(1)


def held_out(count: int) -> Tensor:
    """Places in `PAIRS` of so many pairs that training never shows, and of the same the other way round.

    With both orders gone or there, a caption and its exchange are equally common, and text alone cannot choose.
    """
    generator = torch.Generator().manual_seed(named_seed(DATA_SEED, "held out"))
    rising = torch.tensor([place for place, (first, second) in enumerate(PAIRS) if first < second])
    chosen = rising[torch.randperm(len(rising), generator=generator)[:count]]
    return torch.cat((chosen, exchanged(chosen)))


def exchanged(meanings: Tensor) -> Tensor:
    """Meanings with the two digits exchanged."""
    index = {pair: place for place, pair in enumerate(PAIRS)}
    other = torch.tensor([index[second, first] for first, second in PAIRS], device=meanings.device)
    return meanings // len(PAIRS) * len(PAIRS) + other[meanings % len(PAIRS)]


def caption(meaning: int, way: int) -> list[str]:
    """Words of a meaning, said from the first digit's side (way 0) or the second's (1)."""
    relation, pair = divmod(meaning, len(PAIRS))
    said, heard = (DIGITS[PAIRS[pair][place]] for place in ((0, 1) if way == 0 else (1, 0)))
    return ["a", said, *RELATIONS[relation][way].split(), "a", heard]


def said(ids: Tensor) -> Tensor:
    """Captions (B, 6) as the meanings that they fit, (B, NUM_MEANINGS) shares: one, or for a digit alone all that have it."""
    same = (ids[:, None, None] == CAPTIONS.to(ids.device)).all(-1).any(1)
    named = (CAPTIONS[0].to(ids.device)[None, :, :, None] == ids[:, None, None]).logical_and(
        ids[:, None, None] >= IDS[DIGITS[0]]
    )
    fits = torch.where(same.any(1, keepdim=True), same, named.any(-1).any(-1))
    return fits / fits.sum(1, keepdim=True)


def _filled(words: list[str]) -> list[int]:
    return [IDS[word] for word in words] + [0] * (WORDS - len(words))


CAPTIONS = torch.tensor(
    [[_filled(caption(meaning, way)) for meaning in range(NUM_MEANINGS)] for way in (0, 1)]
)
"""Token ids (2 ways, meanings, 6)."""


def _score(right: Tensor) -> Score:
    return Score(float(right.double().mean()), len(right))


task = Captions

"""Captions: which words belong to which image, and are they bound to the right places?

Two different handwritten digits stand side by side, or one above the other, in two of the four cells of an image, with jitter in size
and place, or wherever that is still true of them (`places: free`). A grammar says what is there in one of two ways ("a three above a
seven", "a seven below a three"), with sizes too if asked for ("a big three above a small seven"). Images and captions are embedded by two
towers and trained to find one another among the other pairs of a batch (InfoNCE, as in CLIP, arXiv 2103.00020), no two of which mean the
same. Only the image tower has the mechanism.

To choose between a caption and the same with its digits exchanged, which text alone cannot tell, a model must bind digits to places; chance
is 50 %. Some pairs of digits are never together in training, in either order: composition. Images are made from the scans of their
split alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any, Literal, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn.functional import normalize

from oscbench.data.prepared import prepared
from oscbench.models.backbones.dual import Dual
from oscbench.models.trunk import named_seed
from oscbench.modes import evaluating
from oscbench.settings import added
from oscbench.tasks import (
    Batch,
    Draw,
    DualInputs,
    Metric,
    Score,
    Split,
    TaskConfig,
    UnscoredError,
    draw_number,
)
from oscbench.tasks.digits import digit_splits
from oscbench.tasks.support.floors import histogram, logistic
from oscbench.tasks.support.in_memory import BAGS, InMemoryTask
from oscbench.tasks.support.pairs import TwoTowers, info_nce
from oscbench.tasks.support.scenes.side_by_side import compose
from oscbench.tasks.support.text.caption_grammar import PAIRS, Grammar, relation_of
from oscbench.tasks.support.training_subsets import drawn

DATA_SEED = 20_261_128
PREPARATION = "captions v1"
SPLITS = ("train", "validation", "test")
SHOWN = 6
"""Captions of which a record shows the nearest image."""


PARTS = {
    "sizes": "against captions with exchanged sizes",
    "top_1": "of the nearest of all captions",
    "pair": "of the nearest caption's digits, in any order",
    "axis": "of the nearest caption's axis",
    "text_to_image": "of the nearest image to each caption",
    "text_alone": "against captions with exchanged digits, of no image",
    "single_digits": "of images of one digit",
}
"""What is scored beside the headline, which is against captions with exchanged digits."""


class CaptionsConfig(TaskConfig):
    """Settings of captions.

    Attributes:
        size: side of an image [pixels], divided into two by two cells.
        min_scale: side of the smallest digit [pixels]; scans are 8.
        max_scale: of the largest; at most half of `size`.
        noise: spread of the noise on every pixel, with ink from 0 to 1.
        sizes: whether captions say how large each digit is; small ones then have the lowest third of the sides, big ones the highest.
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
    sizes: bool = added(False, neutral=False)
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
        if self.sizes and self.max_scale - self.min_scale < 2:
            raise ValueError(
                f"sizes: min_scale {self.min_scale}, max_scale {self.max_scale}: need two pixels between them"
            )
        return self

    @property
    def grammar(self) -> Grammar:
        """What captions may say."""
        return _grammar(self.sizes)


@cache
def _grammar(sizes: bool) -> Grammar:
    return Grammar(sizes=sizes)


class Captions(InMemoryTask):
    """The caption of an image."""

    Config = CaptionsConfig
    version = 1
    label = "captions of digits"
    metric = Metric("accuracy", "test accuracy against captions with exchanged digits", "fraction", "higher")
    backbone = "dual"
    inputs: DualInputs

    def __init__(self, config: CaptionsConfig) -> None:
        self.config, self.grammar = config, config.grammar
        self.inputs = self.describe(config)
        held = held_out(config.held_out_pairs)
        everything = torch.arange(self.grammar.num_meanings)
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
        """An image, and up to six words, eight where they say sizes."""
        return DualInputs(1, config.size, config.size, len(config.grammar.vocabulary), config.grammar.words)

    @classmethod
    def largest_batch(cls, config: CaptionsConfig) -> int:
        """One pair of each meaning of training, since no two in a batch mean the same."""
        meanings = config.grammar.num_meanings
        return meanings - meanings // len(PAIRS) * len(held_out(config.held_out_pairs))

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
        said, meanings = self.grammar.said, self.grammar.num_meanings
        if name == "chance":
            return TwoTowers(self.inputs, lambda images: images.new_zeros(len(images), meanings), said)
        towers = TwoTowers(self.inputs, lambda images: images, said)
        images = [Batch(towers.images(batch.inputs), batch.targets) for batch in self.fitting()]
        likely = logistic(images, histogram(images), lambda targets: targets, meanings)
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

    def batches_per_epoch(self, batch_size: int) -> int:
        """Whole batches of each round through the meanings."""
        return self.config.images_per_meaning * (len(self.seen) // batch_size)

    def ready(self, batch: Batch) -> Batch:
        """Stored images and meanings with their captions, said now one way and now the other."""
        return self._packed(batch.inputs, batch.targets, torch.arange(len(batch.targets)) % 2)

    def loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """InfoNCE [nats], the mean of both directions; a pair that means the same as another is no negative of it."""
        return info_nce(prediction, batch.targets)

    def scores(self, prediction: Tensor, batch: Batch) -> Tensor:
        """None: images are scored over a gallery, not among a batch (`evaluate`)."""
        raise UnscoredError(f"{self.label}: images are scored over a gallery, not among those of a batch")

    @torch.no_grad()
    def evaluate(
        self, model: torch.nn.Module, split: Split, device: torch.device, batch_size: int = 256
    ) -> dict[str, Score]:
        """The headline, on pairs of digits that training showed; on the test also on those it did not, retrieval, and single digits."""
        towers = cast("Dual", model)
        with evaluating(model):
            images, meanings = self._embedded(towers, self.splits[split], device, batch_size)
            gallery = torch.stack([towers.captions(ids.to(device)) for ids in self.grammar.captions])
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
                if self.config.sizes:
                    differ = seen & (self.grammar.resized(meanings) != meanings)
                    scores[f"{name}_sizes"] = _score(found["sizes"][differ])
                scores[f"{name}_single_digits"] = _score(self._single(towers, device, batch_size))
        return scores

    def metric_named(self, name: str) -> Metric:
        """Labels of what `evaluate` gives."""
        part = name.removeprefix(self.metric.name).removeprefix("_")
        seen = part.removesuffix("held_out_pairs").removesuffix("_")
        label = f"test accuracy {PARTS[seen]}" if seen else self.metric.label
        label += ", of digits never together in training" if seen != part else ""
        return Metric(name, label, self.metric.unit, self.metric.direction)

    def _compared(self, images: Tensor, meanings: Tensor, gallery: Tensor) -> dict[str, Tensor]:
        """How right each image (B, embedding) is placed, by name (B,), the mean over both wordings.

        `swap`: it is nearer to its caption than to the same with digits exchanged, half where equal; `sizes`: with sizes exchanged. Of the
        nearest of all captions, `top_1`: the meaning is its own, `pair`: so are the digits in any order, `axis`: so is the axis.
        """
        found: dict[str, list[Tensor]] = {"swap": [], "sizes": [], "top_1": [], "pair": [], "axis": []}
        others = {"swap": self.grammar.exchanged(meanings), "sizes": self.grammar.resized(meanings)}
        unordered = torch.tensor([10 * min(p) + max(p) for p in PAIRS], device=images.device)
        for captions in gallery:
            similar = images @ captions.T
            own = similar.gather(1, meanings[:, None])[:, 0]
            for name, changed in others.items():
                other = similar.gather(1, changed[:, None])[:, 0]
                found[name].append((own > other).double() + 0.5 * (own == other))
            nearest = similar.argmax(1)
            found["top_1"].append((nearest == meanings).double())
            found["pair"].append(
                (unordered[nearest % len(PAIRS)] == unordered[meanings % len(PAIRS)]).double()
            )
            found["axis"].append((relation_of(nearest) == relation_of(meanings)).double())
        return {name: torch.stack(parts).mean(0) for name, parts in found.items()}

    def _backwards(self, images: Tensor, meanings: Tensor, gallery: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest image of a gallery of one for each meaning, for each caption of both wordings (2, meanings), and whether it is its own.

        An image is told by its place in the split.
        """
        every = self.grammar.num_meanings
        first = torch.stack([(meanings == meaning).nonzero()[0, 0] for meaning in range(every)])
        nearest = (gallery @ normalize(images[first], dim=-1).T).argmax(-1)
        return first[nearest], (nearest == torch.arange(every, device=images.device)).double()

    def _nearest_scenes(self, nearest: Tensor, own: Tensor) -> list[dict[str, Any]]:
        """Captions, evenly spaced, with the image that is nearest to each: a hexadecimal digit a pixel, rows parted by `/`."""
        found, every = [], self.grammar.num_meanings
        for meaning in range(0, every, every // SHOWN):
            image = self.splits["test"].inputs[nearest[meaning]] // 16
            rows = ("".join(f"{level:x}" for level in row) for row in image.tolist())
            words = " ".join(self.grammar.caption(meaning, 0))
            found.append({"caption": words, "image": "/".join(rows), "own": bool(own[meaning])})
        return found

    def _single(self, towers: Dual, device: torch.device, batch_size: int) -> Tensor:
        """Whether an image of one digit is nearest to "a" and that digit, of the ten."""
        images, digits = self._embedded(towers, self.alone, device, batch_size)
        prompts = self.grammar.prompts.to(device)
        embedded = towers.captions(prompts.flatten(0, 1)).unflatten(0, prompts.shape[:2]).mean(1)
        return ((images @ normalize(embedded, dim=-1).T).argmax(1) == digits).double()

    def _embedded(
        self, towers: Dual, stored: Batch, device: torch.device, batch_size: int
    ) -> tuple[Tensor, Tensor]:
        """Embeddings of all images, and their targets."""
        parts = []
        for start in range(0, len(stored.targets), batch_size):
            rows = slice(start, start + batch_size)
            nothing = torch.zeros(len(stored.targets[rows]), dtype=torch.int64)
            batch = self._packed(
                stored.inputs[rows], stored.targets[rows] % self.grammar.num_meanings, nothing
            ).to(device)
            parts.append(towers(batch.inputs).prediction[:, 0])
        return torch.cat(parts), stored.targets.to(device)

    def _packed(self, images: Tensor, meanings: Tensor, ways: Tensor) -> Batch:
        """Images (B, size, size) uint8 as the towers read them, with the captions of meanings in one of the two ways each."""
        pixels = (images.float() - self._shift) * self._factor
        ids = self.grammar.captions[ways, meanings]
        return Batch(torch.cat((pixels.flatten(1), ids.float()), dim=1), meanings)

    def _images(self, split: str, contents: Tensor) -> Batch:
        """Images (n, size, size) uint8 of meanings, or of digits alone, composed once and kept; the test's and those alone in every draw."""
        config = self.config
        look: tuple[object, ...] = (config.size, config.min_scale, config.max_scale, config.noise)
        look += () if config.places == "cells" else (config.places,)
        look += ("sizes",) if config.sizes else ()
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


def held_out(count: int) -> Tensor:
    """Places in `PAIRS` of so many pairs that training never shows, and of the same the other way round.

    With both orders gone or there, a caption and its exchange are equally common, and text alone cannot choose.
    """
    generator = torch.Generator().manual_seed(named_seed(DATA_SEED, "held out"))
    rising = torch.tensor([place for place, (first, second) in enumerate(PAIRS) if first < second])
    chosen = rising[torch.randperm(len(rising), generator=generator)[:count]]
    return torch.cat((chosen, _grammar(False).exchanged(chosen)))


def _score(right: Tensor) -> Score:
    return Score(float(right.double().mean()), len(right))


task = Captions

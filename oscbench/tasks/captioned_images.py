"""Images and their captions, found by one another: contrastive learning as in CLIP (arXiv 2103.00020) on pairs of one's own.

Pairs come from a table of paths and captions, or from tar files as webdataset has them, DataComp's among them. Splits go by a hash of an
image's name, so that all captions of an image fall to one. Words are those of the training captions, the most frequent ones, in lower case;
a caption that is longer than the text tower is refused, or cut where `cut` says so.

The score is retrieval in a fixed gallery of test pairs with distinct captions: how often an image's nearest caption is its own. Pairs of a
batch with the same caption are no negatives of one another. Reading images needs Pillow (`pip install "oscbench[images]"`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterator
from functools import lru_cache
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor

from oscbench.data import locate
from oscbench.data.prepared import prepared
from oscbench.errors import UserError
from oscbench.modes import evaluating
from oscbench.tasks import Batch, DualInputs, Metric, Score, Split, Task, TaskConfig, UnscoredError
from oscbench.tasks.support.images.captioned import LAYOUT, Captioned, captioned
from oscbench.tasks.support.images.pictures import decoded, pillow
from oscbench.tasks.support.pairs import TwoTowers, info_nce
from oscbench.tasks.support.text.words import WORDS_AND_PUNCTUATION, words_of

PREPARATION = "captioned_images v1"
HELD_OUT = {"validation": 0.05, "test": 0.05}
"""Shares of the images."""
PAD, UNKNOWN, SPECIALS = 0, 1, 2
FEWEST_OF_A_GALLERY = 6
"""Pairs, unless fewer are asked for: among five, whatever is said is among the first five."""
MIDDLE, SPREAD = 127.5, 64.0
"""Bytes are read as (byte - MIDDLE) / SPREAD: statistics of images that are not in memory would need a pass over all of them."""


class CaptionedImagesConfig(TaskConfig):
    """Settings of captioned images.

    Attributes:
        path: a .csv or .tsv file with the columns path and caption, or a folder of .tar files.
        size: side of the square that images are scaled and cut to [pixels].
        words: most words of a caption.
        cut: cut longer captions, instead of refusing them.
        vocabulary: number of different words, two of which stand for padding and for all others.
        gallery: most pairs of a split that retrieval chooses among.
        stored: keep decoded images in memory; otherwise each batch reads its own, as sets that fit no memory need.
    """

    path: str | None = None
    size: int = Field(default=64, ge=4)
    words: int = Field(default=32, ge=1)
    cut: bool = False
    vocabulary: int = Field(default=8192, ge=SPECIALS + 1)
    gallery: int = Field(default=1000, ge=2)
    stored: bool = True


class CaptionedImages(Task):
    """The caption of an image among those of a gallery."""

    Config = CaptionedImagesConfig
    version = 2
    label = "captioned images"
    metric = Metric("recall_at_1", "images whose nearest caption is their own", "fraction", "higher")
    backbone = "dual"

    def __init__(self, config: CaptionedImagesConfig) -> None:
        self.config = config
        self.inputs = self.describe(config)
        self.pairs, self.captions = read_pairs(config)
        # Captions that are the same word for word mean the same.
        self.meanings = {
            split: captions.unique(dim=0, return_inverse=True)[1] for split, captions in self.captions.items()
        }
        self.num_training_examples = len(self.pairs["train"])
        self._images = {split: self._kept(split) for split in self.pairs} if config.stored else {}

    @classmethod
    def describe(cls, config: CaptionedImagesConfig) -> DualInputs:
        """Coloured squares and captions; files and packages that are missing, and captions that are too long, are refused here."""
        pillow()
        pairs = found_pairs(config)
        _refuse_long(pairs["train"] + pairs["validation"] + pairs["test"], config)
        read_pairs(config)
        return DualInputs(3, config.size, config.size, config.vocabulary, config.words)

    @classmethod
    def headline(cls, config: CaptionedImagesConfig) -> tuple[str, Metric]:
        """Which images."""
        return f"{cls.label} of {Path(str(config.path)).name}, {config.size} pixels", cls.metric

    @classmethod
    def floors(cls, config: CaptionedImagesConfig) -> dict[str, str]:
        """No image at all."""
        del config
        return {"chance": "all captions are alike, whatever the image"}

    def floor(self, name: str) -> torch.nn.Module:
        """All embeddings are 0."""
        del name
        return TwoTowers(
            self.inputs, lambda images: images.new_zeros(len(images), 1), lambda ids: torch.zeros(len(ids), 1)
        )

    def tensors(self) -> dict[str, Tensor]:
        """Captions, and the content of the images as a hash where they are not in memory."""
        found = {f"{split}.captions": captions for split, captions in self.captions.items()}
        if self.config.stored:
            return found | {f"{split}.images": images for split, images in self._images.items()}
        content = bytes.fromhex(locate(str(self.config.path)).sha256())
        return found | {"content": torch.tensor(list(content), dtype=torch.uint8)}

    def training_batches(
        self, batch_size: int, order: torch.Generator, augmentation: torch.Generator
    ) -> Iterator[Batch]:
        """One epoch in a random order; what does not fill a batch is left out, since a small batch asks less."""
        del augmentation
        rows = torch.randperm(self.num_training_examples, generator=order)
        whole = max(batch_size, len(rows) // batch_size * batch_size)
        for chosen in rows[:whole].split(batch_size):
            yield self._batch("train", chosen)

    def batches_per_epoch(self, batch_size: int) -> int:
        """Whole batches, or all pairs where they fill none."""
        return max(1, self.num_training_examples // batch_size)

    def batches(self, split: Split, batch_size: int) -> Iterator[Batch]:
        """A gallery in its order."""
        for rows in torch.arange(len(self.pairs[split])).split(batch_size):
            yield self._batch(split, rows)

    def loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """InfoNCE [nats], the mean of both directions."""
        return info_nce(prediction, batch.targets)

    def scores(self, prediction: Tensor, batch: Batch) -> Tensor:
        """None: images are scored over a gallery, not among a batch (`evaluate`)."""
        raise UnscoredError(f"{self.label}: images are scored over a gallery, not among those of a batch")

    @torch.no_grad()
    def evaluate(
        self, model: torch.nn.Module, split: Split, device: torch.device, batch_size: int = 256
    ) -> dict[str, Score]:
        """Recall at 1 in the gallery, on the test also at 5, and of images by captions."""
        name = self.metric.name
        with evaluating(model):
            parts = [model(batch.to(device).inputs).prediction for batch in self.batches(split, batch_size)]
            images, captions = torch.cat(parts).unbind(1)
        similar = images @ captions.T
        found = {name: _recall(similar, 1)}
        if split == "test":
            scale = images.norm(dim=1, keepdim=True).clamp_min(1e-12)
            backwards = (images / scale @ captions.T).T
            found |= {
                f"{name}_text_to_image": _recall(backwards, 1),
                f"{name}_of_5": _recall(similar, 5),
                f"{name}_of_5_text_to_image": _recall(backwards, 5),
            }
        return found

    def _batch(self, split: str, rows: Tensor) -> Batch:
        images = self._images[split][rows] if self.config.stored else self._decoded(split, rows)
        pixels = (images.float() - MIDDLE) / SPREAD
        ids = self.captions[split][rows].float()
        return Batch(torch.cat((pixels.flatten(1), ids), dim=1), self.meanings[split][rows])

    def _decoded(self, split: str, rows: Tensor) -> Tensor:
        pictures = [self.pairs[split][row].picture for row in rows.tolist()]
        return decoded(pictures, self.config.size)[0]

    def _kept(self, split: str) -> Tensor:
        """All images of a split (n, 3, size, size) uint8, decoded once."""
        content = locate(str(self.config.path)).sha256()
        names = hashlib.sha256("\n".join(pair.name for pair in self.pairs[split]).encode()).hexdigest()
        key = f"{PREPARATION} {self.config.size} {split} {names} {content}"
        rows = torch.arange(len(self.pairs[split]))
        return prepared(key, lambda: {"images": self._decoded(split, rows)})["images"]


@lru_cache(maxsize=2)
def found_pairs(config: CaptionedImagesConfig) -> dict[str, list[Captioned]]:
    """Pairs by split, in the order of the source.

    Raises:
        UserError: there are none, or a split is left without.
    """
    if config.path is None:
        raise UserError(f"task.path: not given; {LAYOUT}, as in --set task.path=FOLDER")
    place = locate(config.path).path
    found: dict[str, list[Captioned]] = {"train": [], "validation": [], "test": []}
    for pair in captioned(place, "task.path"):
        found[split_of(pair.name)].append(pair)
    few = next((split for split, pairs in found.items() if len(pairs) < 2), None)
    if few:
        total = sum(map(len, found.values()))
        raise UserError(
            f"task.path: {place}: {total} pairs leave {len(found[few])} for {few}; bring more, some hundred at least"
        )
    return found


@lru_cache(maxsize=2)
def read_pairs(config: CaptionedImagesConfig) -> tuple[dict[str, list[Captioned]], dict[str, Tensor]]:
    """Pairs of training and of the two galleries, and their captions as numbers of words, (n, words) int32.

    Raises:
        UserError: a gallery has so few pairs that whoever answers finds the right one.
    """
    found = found_pairs(config)
    numbered = enumerate(vocabulary_of(found["train"], config.vocabulary), SPECIALS)
    ids = {word: place for place, word in numbered}

    def read(caption: str) -> tuple[int, ...]:
        return tuple(_ids(caption, ids, config.words))

    pairs = {
        split: some if split == "train" else gallery_of(some, config.gallery, read)
        for split, some in found.items()
    }
    for split in ("validation", "test"):
        if len(pairs[split]) < min(FEWEST_OF_A_GALLERY, config.gallery):
            raise UserError(
                f"task.path: {config.path}: {len(pairs[split])} different captions in {split}, as {config.words} words of a vocabulary of "
                f"{config.vocabulary:,} tell them; bring captions that tell at least {FEWEST_OF_A_GALLERY} images apart"
            )
    captions = {
        split: torch.tensor([read(pair.caption) for pair in some], dtype=torch.int32)
        for split, some in pairs.items()
    }
    return pairs, captions


def split_of(name: str) -> str:
    """The split of an image, by a hash of its name alone."""
    share = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 2**32
    for split, size in HELD_OUT.items():
        if share < size:
            return split
        share -= size
    return "train"


def gallery_of(pairs: list[Captioned], most: int, read: Callable[[str], Hashable]) -> list[Captioned]:
    """The first pairs of distinct captions and distinct images, so that every image can be found by its caption alone.

    Args:
        pairs: In the order of the source.
        most: Pairs of a gallery.
        read: What a model reads of a caption, whose words may be cut or unknown: captions that it reads alike are one.
    """
    captions: set[Hashable] = set()
    names: set[str] = set()
    found: list[Captioned] = []
    for pair in pairs:
        caption = read(pair.caption)
        if caption not in captions and pair.name not in names and len(found) < most:
            captions.add(caption)
            names.add(pair.name)
            found.append(pair)
    return found


def vocabulary_of(pairs: list[Captioned], size: int) -> list[str]:
    """The most frequent words of captions, ties in the order of the alphabet."""
    counts: dict[str, int] = {}
    for pair in pairs:
        for word in words_of(pair.caption, WORDS_AND_PUNCTUATION):
            counts[word] = counts.get(word, 0) + 1
    return sorted(counts, key=lambda word: (-counts[word], word))[: size - SPECIALS]


def _ids(caption: str, ids: dict[str, int], words: int) -> list[int]:
    found = [ids.get(word, UNKNOWN) for word in words_of(caption, WORDS_AND_PUNCTUATION)][:words]
    return found + [PAD] * (words - len(found))


def _refuse_long(pairs: list[Captioned], config: CaptionedImagesConfig) -> None:
    if config.cut:
        return
    for pair in pairs:
        count = len(words_of(pair.caption, WORDS_AND_PUNCTUATION))
        if count > config.words:
            raise UserError(
                f"task.words: {pair.picture.where}: its caption has {count} words, the text tower takes {config.words}; "
                "raise it, or set task.cut=true to cut captions"
            )


def _recall(similar: Tensor, most: int) -> Score:
    """How often a row's own column is among its largest so many; among equal ones, as often as by chance."""
    own = similar.diagonal()[:, None]
    larger, equal = ((compared.sum(1)).double() for compared in (similar > own, similar == own))
    right = ((most - larger) / equal).clamp(0.0, 1.0)
    # What is no number is neither larger nor equal, and would be found at once.
    return Score(float(right.masked_fill(similar.isnan().any(1), torch.nan).mean()), len(similar))


task = CaptionedImages

"""Character language modelling: bytes of Python's own standard library (real code on every machine), or of any file, enwik8 for one.

By default the first 90 % of the bytes train, the next 5 % validate and the last 5 % test; a file of exactly 100,000,000 bytes is cut
at 90 and 95 million, as enwik8 is. With `split: 90-10` all of the last 10 % is validation and test at once, which is how numbers on small
texts are often published (nanoGPT's on tinyshakespeare): nothing should be chosen on it. The standard library differs from one Python
release to the next, so the data hash does too.
"""

from __future__ import annotations

import copy
import sysconfig
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from oscbench.data import KNOWN, locate
from oscbench.data.fingerprint import stamp
from oscbench.data.store import ARCHIVES, form_mistake
from oscbench.errors import UserError
from oscbench.settings import added
from oscbench.tasks import Batch, LengthError, Metric, SequenceInputs, Split, Task, TaskConfig
from oscbench.tasks.support.floors import Floor
from oscbench.tasks.support.text.ngrams import counted

VOCABULARY = 256
NATS_PER_BIT = 0.6931471805599453
EXCLUDED = ("site-packages", "dist-packages", "test", "tests", "__pycache__", "lib2to3", "idlelib")
MOST_ORDER = 7
"""Bytes of the longest stretch that the floor may count, six of context and the next."""
SEPARATOR = b"\n"
"""Between the files of a folder."""


class CharLMConfig(TaskConfig):
    """Settings of character language modelling.

    Attributes:
        path: a file, a folder of text files, or a stored data set's name (`enwik8`); None is Python's standard library.
        length: bytes of context that a model is trained on.
        evaluation_length: bytes of context that validation and test are scored in, where that is not `length`: a longer one asks how
            far a model carries, which one with learned positions cannot.
        split: `90-5-5`, or `90-10`, where the last tenth is validation and test at once.
        windows: random windows in an epoch.
        evaluation_windows: windows of validation and of test, without overlap, from the part's beginning on with as many whole windows
            between two as fit, which of a short text leaves its end out; every byte but the first of a window is predicted from those
            before it in the window (no sliding context).
    """

    path: str | None = None
    length: int = Field(default=128, ge=2)
    evaluation_length: int | None = added(None, neutral=None, ge=2)
    split: Literal["90-5-5", "90-10"] = added("90-5-5", neutral="90-5-5")
    windows: int = Field(default=1600, ge=1)
    evaluation_windows: int = Field(default=256, ge=1)


class CharLM(Task):
    """The next byte."""

    Config = CharLMConfig
    version = 1
    label = "bytes of Python source"
    metric = Metric("bits_per_character", "test bits per character", "bits/character", "lower")
    floor_versions: ClassVar[Mapping[str, int]] = {"ngram": 2}  # Witten-Bell at one order before
    backbone = "sequence"
    inputs: SequenceInputs

    @classmethod
    def validates_on_test(cls, config: CharLMConfig) -> bool:
        """The last tenth, where numbers on small texts are published so."""
        return config.split == "90-10"

    def __init__(self, config: CharLMConfig) -> None:
        self.config = config
        self.inputs = self.describe(config)
        text = torch.frombuffer(bytearray(_read(config.path)), dtype=torch.uint8)
        self.splits = {split: text[part] for split, part in _parts(len(text), config.split).items()}
        self.num_training_examples = config.windows

    @classmethod
    def describe(cls, config: CharLMConfig) -> SequenceInputs:
        """Bytes in, bytes out; text that is not there, not whole or too short is refused here, before anything runs."""
        size = _size(config.path)
        for split, part in _parts(size, config.split).items():
            key = "length" if split == "train" or config.evaluation_length is None else "evaluation_length"
            length = getattr(config, key)
            if part.stop - part.start < length + 1:
                raise UserError(
                    f"task.path: {config.path or 'standard library'}: its {split} part has {part.stop - part.start:,} bytes, "
                    f"a context needs {length + 1:,}; give a longer text or set task.{key} lower"
                )
        return SequenceInputs(
            VOCABULARY, config.length, VOCABULARY, is_causal=True, evaluated_length=config.evaluation_length
        )

    @classmethod
    def headline(cls, config: CharLMConfig) -> tuple[str, Metric]:
        """What these settings make of the task: its label and its metric."""
        label = cls.label if config.path is None else f"bytes of {Path(config.path).name}"
        if config.evaluation_length is not None:
            label += f", in contexts of {config.evaluation_length} after training in {config.length}"
        return label, cls.metric

    @classmethod
    def floors(cls, config: CharLMConfig) -> dict[str, str]:
        """How often each byte is, and what counting of stretches of bytes makes of it."""
        del config
        return {
            "chance": "how often each byte stands in the training part",
            "ngram": f"n-grams of the training part, modified Kneser-Ney, n up to {MOST_ORDER} as validation prefers it",
        }

    def floor(self, name: str) -> nn.Module:
        """One of them."""
        validation = self.batches("validation", 256)
        return Floor(counted(name, self.splits["train"], VOCABULARY, MOST_ORDER, validation))

    def tensors(self) -> dict[str, Tensor]:
        """The three parts."""
        return dict(self.splits)

    def training_batches(
        self, batch_size: int, order: torch.Generator, augmentation: torch.Generator
    ) -> Iterator[Batch]:
        """Random windows of the training part; augmentation is not used."""
        del augmentation
        text = self.splits["train"]
        starts = torch.randint(len(text) - self.config.length, (self.config.windows,), generator=order)
        for some in starts.split(batch_size):
            yield self._windows(text, some, self.config.length)

    def batches(self, split: Split, batch_size: int) -> Iterator[Batch]:
        """Windows that do not overlap, whole windows apart, the same for every model."""
        text = self.splits[split]
        length = self.config.evaluation_length or self.config.length
        most = (len(text) - 1) // length
        count = min(self.config.evaluation_windows, most)
        starts = torch.arange(count) * (most // count) * length
        for some in starts.split(max(1, batch_size // 4)):
            yield self._windows(text, some, length)

    def loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Mean cross-entropy of a byte [nats]."""
        return cross_entropy(prediction.flatten(0, 1), batch.targets.flatten())

    def scores(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Bits that each byte costs."""
        nats = cross_entropy(prediction.flatten(0, 1).float(), batch.targets.flatten(), reduction="none")
        return nats / NATS_PER_BIT

    def at_length(self, factor: int) -> CharLM:
        """The same text in longer windows.

        Raises:
            LengthError: a split is shorter than one.
        """
        longer = copy.copy(self)
        longer.config = self.config.model_copy(
            update={"length": factor * self.config.length, "evaluation_length": None}
        )
        needed = longer.config.length + 1
        for split, part in self.splits.items():
            if len(part) < needed:
                raise LengthError(
                    f"the text's {split} part has {len(part):,} bytes, a context {factor} times as long needs {needed:,}"
                )
        longer.inputs = SequenceInputs(VOCABULARY, longer.config.length, VOCABULARY, is_causal=True)
        return longer

    def encode(self, text: str) -> Tensor:
        """Its bytes in UTF-8, those of a command line that are none as they came; a new line where it is empty."""
        return torch.tensor(list(text.encode(errors="surrogateescape") or SEPARATOR))

    def decode(self, ids: Tensor) -> str:
        """Bytes as UTF-8, with a sign for what is none."""
        return bytes(ids.tolist()).decode(errors="replace")

    def _windows(self, text: Tensor, starts: Tensor, length: int) -> Batch:
        rows = text[starts[:, None] + torch.arange(length + 1)].long()
        return Batch(rows[:, :-1], rows[:, 1:])


def _parts(size: int, split: str) -> dict[str, slice]:
    """Where each split lies; percents of enwik8's 100,000,000 bytes are its published cuts."""
    first, second = size * 90 // 100, size * 95 // 100
    if split == "90-10":
        return {"train": slice(0, first), "validation": slice(first, size), "test": slice(first, size)}
    return {"train": slice(0, first), "validation": slice(first, second), "test": slice(second, size)}


def _files(path: str | None) -> list[Path]:
    """The files of a text in a fixed order.

    Raises:
        UserError: there are none, or they are not what their name says.
    """
    if path is None:
        return _standard_library()
    found = locate(path)
    if found.entry is not None:
        found.sha256()  # stored data are what they were when added
    if found.path.is_file():
        if found.entry is None:
            _refuse_other_form(found.path)
        return [found.path]
    files = _below(found.path, ".txt")
    if not files:
        raise UserError(f"task.path: {path} has no .txt file in it")
    return files


def _refuse_other_form(path: Path) -> None:
    """An archive is no text; and only enwik8 itself may bear its name, since its parts are cut at fixed places."""
    if path.suffix.lower() in ARCHIVES:
        raise UserError(f"task.path: {path}: is an archive; unpack it first")
    if path.name == "enwik8" and (mistake := _enwik8_mistake(path, stamp(path))):
        raise UserError(f"task.path: {mistake}; bring it again, or give another text another name")


@lru_cache
def _enwik8_mistake(path: Path, _stamp: str) -> str | None:
    """Why a file is not enwik8, or None; read once while it stays as it is, not for every cell."""
    return form_mistake(KNOWN["enwik8"], path)


def _size(path: str | None) -> int:
    """Bytes of a text, without reading it.

    Raises:
        UserError: a file is not there, or its folder may not be looked into.
    """
    try:
        files = _files(path)
        return sum(file.stat().st_size for file in files) + len(SEPARATOR) * (len(files) - 1)
    except OSError as error:
        raise _unreadable(error) from error


def _read(path: str | None) -> bytes:
    """All bytes of a text.

    Raises:
        UserError: a file cannot be read.
    """
    try:
        return SEPARATOR.join(file.read_bytes() for file in _files(path))
    except OSError as error:
        raise _unreadable(error) from error


def _unreadable(error: OSError) -> UserError:
    return UserError(
        f"task.path: {error.filename}: cannot be read ({error.strerror}); make it readable, or remove it"
    )


@lru_cache
def _standard_library() -> list[Path]:
    return _below(Path(sysconfig.get_path("stdlib")), ".py", EXCLUDED)


def _below(folder: Path, suffix: str, excluded: Collection[str] = ()) -> list[Path]:
    """Files of that suffix in a fixed order, no folders or pipes; links that lead nowhere are kept, to be told when they are read.

    Args:
        folder: Where they lie, at any depth.
        suffix: Of their names.
        excluded: Names of folders that are passed over.
    """
    return [
        file
        for file in sorted(folder.rglob(f"*{suffix}"))
        if (file.is_file() or not file.exists())
        and not any(part in excluded for part in file.relative_to(folder).parts)
    ]


task = CharLM

"""Character language modelling: bytes of Python's own standard library (real code on every machine), or of any file, enwik8 for one.

By default the first 90 % of the bytes train, the next 5 % validate and the last 5 % test; a file of exactly 100,000,000 bytes is cut
at 90 and 95 million, as enwik8 is. The standard library differs from one Python release to the next, so the data hash does too.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from oscbench.errors import UserError
from oscbench.tasks import Batch, Metric, SequenceInputs, Split, Task, TaskConfig

VOCABULARY = 256
NATS_PER_BIT = 0.6931471805599453
EXCLUDED = ("site-packages", "dist-packages", "test", "tests", "__pycache__", "lib2to3", "idlelib")


class CharLMConfig(TaskConfig):
    """Settings of character language modelling.

    Attributes:
        path: a file, or a folder of text files; None is Python's standard library.
        length: bytes of context that a model is trained on.
        windows: random windows in an epoch.
        evaluation_windows: windows of validation and of test, evenly spaced, without overlap; every byte but the first of a
            window is predicted from those before it in the window (no sliding context).
    """

    path: str | None = None
    length: int = Field(default=128, ge=2)
    windows: int = Field(default=1600, ge=1)
    evaluation_windows: int = Field(default=256, ge=1)


class CharLM(Task):
    """The next byte."""

    Config = CharLMConfig
    version = 1
    label = "bytes of Python source"
    metric = Metric("bits_per_character", "test bits per character", "bits/character", "lower")
    backbone = "sequence"
    inputs: SequenceInputs

    def __init__(self, config: CharLMConfig) -> None:
        self.config = config
        self.inputs = self.describe(config)
        text = torch.frombuffer(bytearray(_read(config.path)), dtype=torch.uint8)
        size = len(text)
        ends = (90_000_000, 95_000_000) if size == 100_000_000 else (size * 90 // 100, size * 95 // 100)
        self.splits = {
            "train": text[: ends[0]],
            "validation": text[ends[0] : ends[1]],
            "test": text[ends[1] :],
        }
        for split, part in self.splits.items():
            if len(part) < config.length + 1:
                raise UserError(
                    f"{config.path or 'standard library'}: its {split} part has {len(part)} bytes, "
                    f"a context needs {config.length + 1}; give a longer text or set task.length lower"
                )
        self.num_training_examples = config.windows

    @classmethod
    def describe(cls, config: CharLMConfig) -> SequenceInputs:
        """Bytes in, bytes out; a path that is not there is refused here, before anything runs."""
        if config.path is not None and not Path(config.path).exists():
            raise UserError(
                f"task.path: {config.path}: no such file or folder; give a text file, or leave it out for Python's own source"
            )
        return SequenceInputs(VOCABULARY, config.length, VOCABULARY, is_causal=True)

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
            yield self._windows(text, some)

    def batches(self, split: Split, batch_size: int) -> Iterator[Batch]:
        """Evenly spaced windows that do not overlap, the same for every model."""
        text = self.splits[split]
        most = (len(text) - 1) // self.config.length
        count = min(self.config.evaluation_windows, most)
        starts = torch.arange(count) * (most // count) * self.config.length
        for some in starts.split(max(1, batch_size // 4)):
            yield self._windows(text, some)

    def loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Mean cross-entropy of a byte [nats]."""
        return cross_entropy(prediction.flatten(0, 1), batch.targets.flatten())

    def scores(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Bits that each byte costs."""
        nats = cross_entropy(prediction.flatten(0, 1).float(), batch.targets.flatten(), reduction="none")
        return nats / NATS_PER_BIT

    def _windows(self, text: Tensor, starts: Tensor) -> Batch:
        rows = text[starts[:, None] + torch.arange(self.config.length + 1)].long()
        return Batch(rows[:, :-1], rows[:, 1:])


def _read(path: str | None) -> bytes:
    """All bytes of a file, or of every text file below a folder in a fixed order.

    Raises:
        UserError: there is nothing to read.
    """
    if path is None:
        return _join(Path(sysconfig.get_path("stdlib")), ".py")
    place = Path(path)
    if place.is_file():
        return place.read_bytes()
    if place.is_dir():
        found = _join(place, ".txt")
        if found:
            return found
        raise UserError(f"task.path: {path} has no .txt file in it")
    raise UserError(f"task.path: {path} is neither a file nor a folder")


def _join(folder: Path, suffix: str) -> bytes:
    files = [
        file
        for file in sorted(folder.rglob(f"*{suffix}"))
        if not any(part in EXCLUDED for part in file.relative_to(folder).parts)
    ]
    return b"\n".join(file.read_bytes() for file in files)


task = CharLM

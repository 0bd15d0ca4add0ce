"""What tasks share whose three splits stand in memory: an epoch is a shuffle, a split is read in its order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from oscbench.tasks import Batch, SequenceInputs, Split, Task
from oscbench.tasks.support import checks
from oscbench.tasks.support.floors import histogram, logistic, moments, most_frequent

_ORDER = 20_261_127


def mixed(data: Batch) -> Batch:
    """The same examples in an order, always the same, that has nothing to do with how they were stored.

    Files of one class stand together. Measures look at the first examples of a split, which then were of that class alone.
    """
    rows = torch.randperm(len(data.targets), generator=torch.Generator().manual_seed(_ORDER))
    return Batch(data.inputs[rows], data.targets[rows])


def mixed_but_training(splits: Mapping[str, Batch]) -> dict[str, Batch]:
    """Splits whose validation and test are mixed; training is shuffled anew in every epoch as it is."""
    return {split: data if split == "train" else mixed(data) for split, data in splits.items()}


class InMemoryTask(Task):
    """Subclasses fill `splits` with `train`, `validation` and `test`, and say what they ask of an example."""

    splits: dict[str, Batch]

    @property
    def num_training_examples(self) -> int:  # type: ignore[override]
        """Examples of an epoch."""
        return len(self.splits["train"].targets)

    def check(self) -> None:
        """Refuse splits that are missing, empty, of unequal parts, or hold numbers that are none or tokens that nobody knows."""
        checks.whole(self, getattr(self, "splits", {}))
        inputs = getattr(self, "inputs", None)
        if isinstance(inputs, SequenceInputs):
            checks.tokens(self, self.splits, inputs.vocabulary)

    def tensors(self) -> dict[str, Tensor]:
        """Inputs and targets of the three splits."""
        return {
            f"{split}.{part}": getattr(batch, part)
            for split, batch in self.splits.items()
            for part in ("inputs", "targets")
        }

    def training_batches(
        self, batch_size: int, order: torch.Generator, augmentation: torch.Generator
    ) -> Iterator[Batch]:
        """One epoch of shuffled, augmented examples; the last batch may be smaller."""
        train = self.splits["train"]
        for rows in torch.randperm(self.num_training_examples, generator=order).split(batch_size):
            yield self.augmented(self.ready(Batch(train.inputs[rows], train.targets[rows])), augmentation)

    def batches(self, split: Split, batch_size: int) -> Iterator[Batch]:
        """A split in its fixed order."""
        data = self.splits[split]
        for start in range(0, len(data.targets), batch_size):
            rows = slice(start, start + batch_size)
            yield self.ready(Batch(data.inputs[rows], data.targets[rows]))

    def fitting(self, batch_size: int = 1024) -> Iterator[Batch]:
        """The training split in its fixed order, without augmentation."""
        data = self.splits["train"]
        for inputs, targets in zip(
            data.inputs.split(batch_size), data.targets.split(batch_size), strict=True
        ):
            yield self.ready(Batch(inputs, targets))

    def ready(self, batch: Batch) -> Batch:
        """What a model reads of stored examples; the same by default."""
        return batch

    def augmented(self, batch: Batch, generator: torch.Generator) -> Batch:
        """A training batch with its random changes; none by default."""
        del generator
        return batch


BAGS = {
    "vision": "logistic regression on a histogram of the pixels' values",
    "frames": "logistic regression on mean and spread of each feature over the frames",
}
"""What a bag of tokens is, by the kind of input."""


class Classification(InMemoryTask):
    """One class an example."""

    def check(self) -> None:
        """As of every task in memory, and targets that are classes of those there are."""
        super().check()
        checks.classes(self, self.splits, self.inputs.num_classes)

    @classmethod
    def floors(cls, config: Any) -> dict[str, str]:
        """The most frequent class, and a bag of pixels or frames."""
        del config
        return {"chance": "the most frequent class of training", "bag": BAGS[cls.backbone]}

    def floor(self, name: str) -> nn.Module:
        """One of them."""
        classes = self.inputs.num_classes
        if name == "chance":
            return most_frequent(self.splits["train"].targets, classes)
        features = moments if self.backbone == "frames" else histogram(self.fitting())
        return logistic(self.fitting(), features, lambda targets: targets, classes)

    def loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy [nats]."""
        return cross_entropy(prediction, batch.targets)

    def scores(self, prediction: Tensor, batch: Batch) -> Tensor:
        """1 where the most likely class is the right one."""
        return (prediction.argmax(-1) == batch.targets).float()

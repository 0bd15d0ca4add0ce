"""Delayed: at every token the one that stood so many places before; whoever tells places apart can learn it."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from oscbench.models.trunk import named_seed
from oscbench.tasks import Batch, Metric, SequenceInputs, TaskConfig
from oscbench.tasks.support.floors import Floor
from oscbench.tasks.support.in_memory import InMemoryTask

DATA_SEED = 1
NO_TARGET = -100
"""Of tokens that nothing is asked at: those before the first that can be copied."""


class DelayedConfig(TaskConfig):
    """Settings of delayed.

    Attributes:
        delay: places between a token and where it is asked for.
        length: tokens of an example.
        symbols: ids that tokens are drawn from; guessing is right once in so many times.
        train_examples: of training; validation and test have a fifth each.
    """

    delay: int = Field(default=3, ge=1)
    length: int = Field(default=24, ge=2)
    symbols: int = Field(default=8, ge=2)
    train_examples: int = Field(default=2_000, ge=10)


class Delayed(InMemoryTask):
    """Copies what stood `delay` places before."""

    Config = DelayedConfig
    version = 1
    label = "delayed"
    metric = Metric("accuracy", "test accuracy of copied tokens", "fraction", "higher")
    backbone = "sequence"
    inputs: SequenceInputs

    def __init__(self, config: DelayedConfig) -> None:
        self.config = config
        self.inputs = self.describe(config)
        sizes = {"train": config.train_examples, "validation": config.train_examples // 5}
        sizes["test"] = sizes["validation"]
        self.splits = {split: self._examples(split, size) for split, size in sizes.items()}

    @classmethod
    def describe(cls, config: DelayedConfig) -> SequenceInputs:
        """What a model is built by, without making any data; a mistake between settings is said here, before anything runs."""
        if config.delay >= config.length:
            raise ValueError(f"delay: must be below length {config.length}, got {config.delay}")
        return SequenceInputs(config.symbols, config.length, config.symbols, is_causal=True)

    @classmethod
    def floors(cls, config: DelayedConfig) -> dict[str, str]:
        """What the task gives away without attention: these run beside a suite's cells."""
        del config
        return {"chance": "every symbol alike"}

    def floor(self, name: str) -> nn.Module:
        """One of them, as a model."""
        del name
        return Floor(lambda ids: torch.ones(*ids.shape, self.config.symbols))

    def loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Mean cross-entropy of what is asked [nats]."""
        return cross_entropy(prediction.flatten(0, 1), batch.targets.flatten(), ignore_index=NO_TARGET)

    def scores(self, prediction: Tensor, batch: Batch) -> Tensor:
        """One score for each token that is asked for: 1 where it is right."""
        asked = batch.targets != NO_TARGET
        return (prediction[asked].argmax(-1) == batch.targets[asked]).float()

    def _examples(self, split: str, size: int) -> Batch:
        """Examples from a stream of the split's own, the same on every machine."""
        config, generator = self.config, torch.Generator().manual_seed(named_seed(DATA_SEED, split))
        inputs = torch.randint(config.symbols, (size, config.length), generator=generator)
        targets = torch.full_like(inputs, NO_TARGET)
        targets[:, config.delay :] = inputs[:, : -config.delay]
        return Batch(inputs, targets)


task = Delayed

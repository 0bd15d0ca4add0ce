"""Multi-query associative recall (MQAR; Arora et al., arXiv 2312.04927): which value was bound to this key?

A sequence begins with pairs, key and value in turn; later every key comes once more, alone, and there, and only there, the model has to
give its value. What stands between the queries is filler::

    k3 v7 k1 v2 · · k1 · · k3 ·
                    v2     v7      (targets)

Nothing matches by accident: keys, values and fillers are disjoint ids, the keys of an example are distinct, a key stands where it is
bound and where it is queried and nowhere else, and the answer is never written after a query. Two equal values may be bound to
different keys.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from oscbench.models.trunk import named_seed
from oscbench.tasks import Batch, Failure, Metric, SequenceInputs, TaskConfig
from oscbench.tasks.support.floors import Floor
from oscbench.tasks.support.in_memory import InMemoryTask

DATA_SEED = 20_260_102
NO_TARGET = -100
SPLITS = ("train", "validation", "test")
PositiveInt = Annotated[int, Field(ge=1)]


class RecallConfig(TaskConfig):
    """Settings of associative recall.

    Attributes:
        num_pairs: pairs of an example; of a list of numbers, each gets an equal share of each split, and the result is shown for each.
        length: tokens of an example; three for each of the most pairs at least.
        num_keys: ids that keys are drawn from.
        num_values: ids that values are drawn from; guessing is right once in so many times.
        num_fillers: ids of what stands between the queries.
        gaps: where queries stand among the places after the pairs: `uniform`, all places alike, or `power_law`, place g (from 1) with
            probability proportional to g^(power - 1), drawn without replacement, as in the paper.
        power: the paper's a = 0.01: most queries come soon.
        train_examples: of training.
        validation_examples: of validation.
        test_examples: of test.
    """

    num_pairs: tuple[PositiveInt, ...] = Field(default=(8,), min_length=1)
    length: int = Field(default=64, ge=3)
    num_keys: int = Field(default=64, ge=1)
    num_values: int = Field(default=64, ge=2)
    num_fillers: int = Field(default=1, ge=1)
    gaps: Literal["uniform", "power_law"] = "uniform"
    power: float = Field(default=0.01, gt=0.0, le=1.0)
    train_examples: int = Field(default=20_000, ge=1)
    validation_examples: int = Field(default=1_000, ge=1)
    test_examples: int = Field(default=2_000, ge=1)

    @field_validator("num_pairs", mode="before")
    @classmethod
    def _number_or_list(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else (value,) if isinstance(value, int) else value

    @model_validator(mode="after")
    def _fits(self) -> RecallConfig:
        if len(set(self.num_pairs)) != len(self.num_pairs):
            raise ValueError("num_pairs: a number stands there twice")
        most = max(self.num_pairs)
        if most > self.num_keys:
            raise ValueError(
                f"num_pairs: {most} distinct keys cannot be drawn from num_keys {self.num_keys}; raise num_keys"
            )
        if 3 * most > self.length:
            raise ValueError(
                f"length: {most} pairs and their queries need {3 * most} tokens, got {self.length}; raise length"
            )
        return self

    @property
    def first_key(self) -> int:
        """Id of the first key; fillers come before."""
        return self.num_fillers

    @property
    def first_value(self) -> int:
        """Id of the first value; keys come before."""
        return self.num_fillers + self.num_keys


class Recall(InMemoryTask):
    """The value that a queried key was bound to."""

    Config = RecallConfig
    version = 1
    label = "associative recall"
    metric = Metric("accuracy", "test accuracy of recalled values", "fraction", "higher")
    failure = Failure("accuracy", 0.9)
    backbone = "sequence"
    inputs: SequenceInputs

    def __init__(self, config: RecallConfig) -> None:
        self.config = config
        self.inputs = self.describe(config)
        sizes = (config.train_examples, config.validation_examples, config.test_examples)
        self.splits = {split: _split(config, split, size) for split, size in zip(SPLITS, sizes, strict=True)}

    @classmethod
    def describe(cls, config: RecallConfig) -> SequenceInputs:
        """Ids of fillers, keys and values in; one number for each value out."""
        vocabulary = config.first_value + config.num_values
        return SequenceInputs(vocabulary, config.length, config.num_values, is_causal=True)

    @classmethod
    def floors(cls, config: RecallConfig) -> dict[str, str]:
        """One value for all, and one of those that the sequence holds."""
        del config
        return {
            "chance": "the most frequent value of training",
            "bag": "one of the values that the sequence holds, whatever the key",
        }

    def floor(self, name: str) -> nn.Module:
        """One of them."""
        targets = self.splits["train"].targets
        shares = torch.bincount(targets[targets != NO_TARGET], minlength=self.config.num_values).float()
        if name == "chance":
            return Floor(lambda ids: shares.expand(*ids.shape, -1))
        first = self.config.first_value

        def heard(ids: Tensor) -> Tensor:
            # The latest value before each token; where there is none yet nobody is asked.
            places = torch.arange(ids.shape[1]).expand_as(ids)
            latest = torch.where(ids >= first, places, 0).cummax(1).values
            values = (ids.gather(1, latest) - first).clamp_min(0)
            return torch.nn.functional.one_hot(values, self.config.num_values).float()

        return Floor(heard)

    def loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Mean cross-entropy of a query [nats]; no other token counts."""
        return cross_entropy(prediction.flatten(0, 1), batch.targets.flatten(), ignore_index=NO_TARGET)

    def scores(self, prediction: Tensor, batch: Batch) -> Tensor:
        """One score a query, in reading order: 1 where the most likely value is the bound one."""
        asked = batch.targets != NO_TARGET
        return (prediction[asked].argmax(-1) == batch.targets[asked]).float()

    def subsets(self, batch: Batch) -> dict[str, Tensor]:
        """Queries of examples with so many pairs, where there are several numbers of them."""
        if len(self.config.num_pairs) == 1:
            return {}
        asked = batch.targets != NO_TARGET
        count = asked.sum(1, keepdim=True).expand_as(asked)[asked]
        return {f"{pairs}_pairs": count == pairs for pairs in self.config.num_pairs}

    def at_length(self, factor: int) -> Recall:
        """As many pairs in a longer sequence, so that queries come later."""
        return Recall(self.config.model_copy(update={"length": factor * self.config.length}))


def _split(config: RecallConfig, split: str, size: int) -> Batch:
    """Examples of a split: shares of each number of pairs from streams of their own, then interleaved."""
    parts = []
    for place, pairs in enumerate(config.num_pairs):
        share = len(range(place, size, len(config.num_pairs)))
        generator = torch.Generator().manual_seed(named_seed(DATA_SEED, f"recall/{split}/{pairs}"))
        parts.append(_examples(config, pairs, share, generator))
    inputs = torch.empty(size, config.length, dtype=torch.int64)
    targets = torch.empty_like(inputs)
    for place, part in enumerate(parts):
        inputs[place :: len(parts)], targets[place :: len(parts)] = part.inputs, part.targets
    return Batch(inputs, targets)


def _examples(config: RecallConfig, pairs: int, count: int, generator: torch.Generator) -> Batch:
    """So many examples with so many pairs."""
    keys = torch.rand(count, config.num_keys, generator=generator).argsort(1)[:, :pairs]
    values = torch.randint(config.num_values, (count, pairs), generator=generator)
    inputs = torch.randint(config.num_fillers, (count, config.length), generator=generator)
    targets = torch.full_like(inputs, NO_TARGET)
    inputs[:, 0 : 2 * pairs : 2] = config.first_key + keys
    inputs[:, 1 : 2 * pairs : 2] = config.first_value + values
    places = torch.arange(1, config.length - 2 * pairs + 1, dtype=torch.float64)
    weights = torch.ones_like(places) if config.gaps == "uniform" else places ** (config.power - 1.0)
    if count:
        drawn = torch.multinomial(weights.expand(count, -1), pairs, generator=generator)
        # Draws come likeliest first; shuffled, so that no pair is always the one queried soon.
        shuffled = torch.rand(count, pairs, generator=generator).argsort(1)
        where = 2 * pairs + drawn.gather(1, shuffled)
        inputs.scatter_(1, where, config.first_key + keys)
        targets.scatter_(1, where, values)
    return Batch(inputs, targets)


task = Recall

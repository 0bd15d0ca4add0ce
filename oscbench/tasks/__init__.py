"""Tasks: data, loss, metric. A file here is a task; its last line names the class."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from oscbench.errors import PartError, UserError
from oscbench.modes import evaluating
from oscbench.tasks.support import checks, inputs

Split = Literal["validation", "test"]
Draw = Literal["fixed", "per_seed"] | Annotated[int, Field(ge=0)]
"""Which data a task draws of all that it could: the one `fixed` draw, one of its own for each seed, or the draw of a number."""


def draw_number(draw: Draw) -> int:
    """The number of a draw; the fixed one is number 0, and `per_seed` must have met its seed (`Task.for_seed`)."""
    assert draw != "per_seed", "a task that draws anew for each seed is made with Task.for_seed"
    return 0 if draw == "fixed" else int(draw)


class LengthError(Exception):
    """A task has no inputs of the length, or no images of the size, that was asked for; the text says why, as a record will."""


class UnscoredError(UserError):
    """A task does not score the predictions of single batches; the text says why, as a record will."""


class TaskConfig(BaseModel):
    """Settings of a task, as they stand in a suite; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Metric:
    """The task's headline result.

    Attributes:
        name: key in records, for example `accuracy`.
        label: as a reader sees it.
        unit: `fraction`, `bits/character`, …
        direction: whether `higher` or `lower` is better.
    """

    name: str
    label: str
    unit: str
    direction: Literal["higher", "lower"]

    def __post_init__(self) -> None:
        if self.direction not in ("higher", "lower"):
            raise PartError(f"Metric {self.name}: direction: got {self.direction!r}; allowed: higher, lower")


@dataclass(frozen=True)
class Failure:
    """When a seed counts as failed, declared before anything runs; such seeds are a rate, and not noise.

    Attributes:
        metric: the measure that decides, as it is called in records, for example `accuracy_hard`.
        level: a value worse than this one has failed.
    """

    metric: str
    level: float


@dataclass(frozen=True)
class Batch:
    """Inputs and targets of some examples."""

    inputs: Tensor
    targets: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device. A GPU copies it by itself, from pinned memory, and nobody waits for it."""
        return Batch(_sent(self.inputs, device), _sent(self.targets, device))


def _sent(x: Tensor, device: torch.device) -> Tensor:
    if x.device.type != "cpu" or device.type == "cpu":
        return x.to(device)
    return (x.pin_memory() if device.type == "cuda" else x).to(device, non_blocking=True)


ImageInputs = inputs.ImageInputs
ViewInputs = inputs.ViewInputs
SequenceInputs = inputs.SequenceInputs
GridInputs = inputs.GridInputs
FrameInputs = inputs.FrameInputs
DualInputs = inputs.DualInputs


@dataclass(frozen=True)
class Score:
    """A metric's value, how many scores its mean runs over, and what else a reader must know of it, as a record keeps it."""

    value: float
    count: int
    details: Mapping[str, Any] = field(default_factory=dict)


class Task(ABC):
    """Fixed splits, a loss, and one number for how well a model did.

    The data are the same for every mechanism, and for every seed unless `draw: per_seed` asks for data of each seed's own; a seed sets order
    and augmentation through the generators that it is given.
    """

    Config: ClassVar[type[TaskConfig]] = TaskConfig
    version: ClassVar[int] = 1
    label: ClassVar[str]
    metric: ClassVar[Metric]
    failure: ClassVar[Failure | None] = None
    floor_versions: ClassVar[Mapping[str, int]] = {}
    """Of floors that come out otherwise than they once did; 1 of all others."""
    backbone: ClassVar[str]
    inputs: Any
    num_training_examples: int
    seconds: Mapping[str, float] = MappingProxyType({})
    """What parts of the last evaluation took, by the name that a record gives them [s]; empty where none is told apart."""

    @abstractmethod
    def __init__(self, config: Any) -> None:
        """Load or make the data."""

    @classmethod
    def floors(cls, config: Any) -> dict[str, str]:
        """Answers that need no mixing of tokens, by name, and what each does; `floor` makes them."""
        del config
        return {}

    @classmethod
    def references(cls, config: Any) -> dict[str, str]:
        """Answers of simple models that do see the whole input, by name, and what each does; `floor` makes them too.

        They are shown beside what is trained and withhold no verdict: they say how much of a task is there for whom it needs no attention.
        """
        del config
        return {}

    def floor(self, name: str) -> torch.nn.Module:
        """The model of a floor or a reference, fitted to the training split; it goes into `evaluate` like any other."""
        raise NotImplementedError(name)

    @classmethod
    def for_seed(cls, config: Any, seed: int) -> Task:
        """The task that a seed trains and is tested on: where `draw` is `per_seed`, with the draw of the seed's number.

        Raises:
            PartError: its data cannot be trained or tested on.
        """
        if getattr(config, "draw", None) == "per_seed":
            config = config.model_copy(update={"draw": seed})
        task = cls(config)
        task.check()
        return task

    def check(self) -> None:
        """Refuse data that nothing can be trained or tested on, without reading much of them (`PartError`)."""
        checks.not_empty(self)

    @classmethod
    def describe(cls, config: Any) -> Any:
        """What a backbone must know of the inputs, before any data are read.

        Raises:
            UserError: data that the settings name are not there.
        """
        del config
        return cls.inputs

    @classmethod
    def headline(cls, config: Any) -> tuple[str, Metric]:
        """The task's label and metric under its settings, where those choose the data or the protocol."""
        del config
        return cls.label, cls.metric

    @classmethod
    def largest_batch(cls, config: Any) -> int | None:
        """The most training examples that may stand in one batch under the settings; None where as many as one likes."""
        del config
        return None

    @classmethod
    def validates_on_test(cls, config: Any) -> bool:
        """Whether validation and test are the same data under the settings: nothing may then be chosen on them."""
        del config
        return False

    def batches_per_epoch(self, batch_size: int) -> int:
        """How many batches `training_batches` gives in an epoch."""
        return math.ceil(self.num_training_examples / batch_size)

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """All tensors that training and evaluation read, by name, for the data hash."""

    @abstractmethod
    def training_batches(
        self, batch_size: int, order: torch.Generator, augmentation: torch.Generator
    ) -> Iterator[Batch]:
        """One epoch, in the order and with the augmentation that private generators give."""

    @abstractmethod
    def batches(self, split: Split, batch_size: int) -> Iterator[Batch]:
        """A split in its fixed order, without augmentation."""

    @abstractmethod
    def loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Mean training loss of a batch."""

    def scores(self, prediction: Tensor, batch: Batch) -> Tensor:
        """One score an example; their mean over a split is the metric. A task whose metric is no such mean writes `count` and `finish`."""
        raise UnscoredError(f"{type(self).__name__} scores no single example")

    def count(self, prediction: Tensor, batch: Batch) -> dict[str, Tensor]:
        """What a batch adds to the sums that `finish` makes metrics of, by name.

        By default sum and number of the scores, of all and of each subset. Where the metric is no mean over examples (a mean over classes of
        intersection over union, say), whatever adds up: a confusion matrix.
        """
        scores = self.scores(prediction, batch).double()
        parts = {self.metric.name: scores}
        parts |= {f"{self.metric.name}_{name}": scores[of] for name, of in self.subsets(batch).items()}
        return {
            name: torch.stack((part.sum(), part.new_tensor(part.numel()))) for name, part in parts.items()
        }

    def finish(self, counts: Mapping[str, Tensor]) -> dict[str, Score]:
        """Metrics from the sums of `count` over a split, by name, the headline among them; what cannot be told is left out."""
        totals = {name: (float(total[0]), int(total[1])) for name, total in counts.items()}
        return {
            name: Score(self.summary(total / count), count)
            for name, (total, count) in totals.items()
            if count
        }

    def metric_named(self, name: str) -> Metric:
        """What `finish` gives under a name: the headline, or by default the headline on a subset."""
        label = self.metric.label + name.removeprefix(self.metric.name).replace("_", ", ", 1)
        return Metric(name, label, self.metric.unit, self.metric.direction)

    def input_range(self) -> tuple[Tensor, Tensor] | None:
        """Black and white as a model reads them, each (C, 1, 1); None where inputs are no images."""
        return None

    def data_hash(self) -> str:
        """SHA-256 of every tensor's name, type, shape and bytes; cells with unlike hashes are never compared."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.tensors().items()):
            array = tensor.contiguous().numpy()
            digest.update(f"{name}:{array.dtype}:{array.shape}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()[:16]

    def objects(self, split: Split, count: int) -> tuple[Batch, Tensor] | None:
        """The first so many examples of a split, and which object each pixel shows, (count, h, w) int64, -1 for none.

        None where the task does not know.
        """
        del split, count
        return None

    def subsets(self, batch: Batch) -> dict[str, Tensor]:
        """Parts of the examples that are also scored apart: name -> bool, shaped like `scores`; each becomes `<metric>_<name>`."""
        del batch
        return {}

    def summary(self, mean: float) -> float:
        """The metric from the mean score; perplexity, for one, is exp of it."""
        return mean

    def at_length(self, factor: int) -> Task:
        """The same task, to be evaluated on inputs `factor` times as long.

        Raises:
            LengthError: it has none, and why.
        """
        del factor
        raise LengthError("inputs of this task have no other length")

    def at_size(self, size: int) -> Task:
        """The same task, to be evaluated on test images of another side [pixels].

        Raises:
            LengthError: it has none, and why.
        """
        del size
        raise LengthError("inputs of this task have no other size")

    @torch.no_grad()
    def evaluate(
        self, model: torch.nn.Module, split: Split, device: torch.device, batch_size: int = 256
    ) -> dict[str, Score]:
        """The metric on a split, under its name, and on every subset under the metric's and the subset's."""
        with evaluating(model):
            batches = (batch.to(device) for batch in self.batches(split, batch_size))
            return self.scored((model(batch.inputs).prediction, batch) for batch in batches)

    def scored(self, answers: Iterable[tuple[Tensor, Batch]]) -> dict[str, Score]:
        """The metrics of predictions and the batches that they answer."""
        totals: dict[str, Tensor] = {}
        for prediction, batch in answers:
            for name, part in self.count(prediction, batch).items():
                totals[name] = totals[name] + part if name in totals else part
        return self.finish(totals)

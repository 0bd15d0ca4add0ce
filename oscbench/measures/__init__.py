"""Measures: one quantity (or a few that belong together) of one cell. A file here is a measure; its last line names the class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict

from oscbench.models.backbones import Backbone
from oscbench.records.schema import Curve, HealthRow, Measurement
from oscbench.roles import Role
from oscbench.tasks import Batch, Split, Task

FEW_EXAMPLES = 16
"""That a measure looks at in a dry run, which takes its time."""


class MeasureConfig(BaseModel):
    """Settings of a measure, as they stand in a suite; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass
class History:
    """What training left behind: seconds and loss of every step, and the validation metric by step, in order.

    `waiting_seconds` went by between steps until the next batch was there. `followed` is what measures saw on the way, by name:
    (optimiser step, value), in order. All of it stands in checkpoints.
    """

    step_seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    validation: list[tuple[float, float]] = field(default_factory=list)
    followed: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    training_seconds: float = 0.0
    waiting_seconds: float = 0.0


@dataclass
class Subject:
    """What a measure may look at.

    Attributes:
        model: the cell's model, in training mode.
        task: its task.
        probe: a fixed batch of validation examples on the model's device.
        device: where the model is.
        batch_size: of training.
        history: of training, empty before it.
        rehearse: trains a copy of a model for the first so many steps of the cell's own recipe, on its data and in their order, and says
            whether its loss stayed a number; None where nothing is trained.
    """

    model: Backbone
    task: Task
    probe: Batch
    device: torch.device
    batch_size: int
    history: History = field(default_factory=History)
    rehearse: Callable[[Backbone, int], bool] | None = None

    def first_examples(self, split: Split, count: int, batch_size: int = 64) -> Iterator[Batch]:
        """The first so many examples of a split, in batches of one size (but for the last), on the model's device."""
        for batch in self.task.batches(split, batch_size):
            if count <= 0:
                return
            kept = Batch(batch.inputs[:count], batch.targets[:count]).to(self.device)
            count -= len(kept.targets)
            yield kept


@dataclass
class Findings:
    """What a measure found: values by name, health rows by layer, and warnings a reader must see beside the result."""

    measures: dict[str, Measurement] = field(default_factory=dict)
    health: list[HealthRow] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)


class Measure(ABC):
    """Looks at a cell before its first step and after its last one; what cannot be measured is null with its reason.

    One that gives `steps` also looks while the cell trains, and what it sees becomes curves.

    `roles` says what its quantities are for, by their names in records, as plain literals that reports read from the file.
    """

    Config: ClassVar[type[MeasureConfig]] = MeasureConfig
    version: ClassVar[int] = 1
    label: ClassVar[str]
    roles: ClassVar[Mapping[str, Role]] = {}

    def __init__(self, config: Any) -> None:
        self.config = config

    def before(self, subject: Subject) -> Findings:
        """After calibration, before the first step."""
        del subject
        return Findings()

    @abstractmethod
    def after(self, subject: Subject) -> Findings:
        """After the last step."""

    def steps(self, total: int) -> Container[int] | None:
        """After which optimiser steps `during` is asked, of 0 (before the first) to `total`; None for 0 and every validation."""
        del total
        return ()

    def during(self, subject: Subject) -> Mapping[str, float]:
        """Values by name, kept in `History.followed` with the step.

        A cell that was killed goes on with a new measure, which knows nothing of earlier steps: whatever it needs stands in the history.
        """
        del subject
        return {}

    def curves(self, history: History) -> dict[str, Curve]:
        """What it saw during training as curves of the record; of a training that diverged as far as it went."""
        del history
        return {}

    def smaller(self) -> tuple[MeasureConfig, float] | None:
        """Settings that do a small part of its work, and how many times as much the whole is: a dry run takes their time and counts up.

        None where it takes no time beside a training.
        """
        return None

    @classmethod
    def unavailable(cls) -> str | None:
        """Why this measure cannot run on this machine, or None."""
        return None

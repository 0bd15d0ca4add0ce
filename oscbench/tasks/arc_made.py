"""Rules on coloured grids, as in ARC-AGI but made: learn rules, then find out a new composition from three demonstrations.

A rule is one of twelve primitives (reflect, gravity, outline, …) or two of them one after the other. Each rule of training has a learned
token that stands before the cells of its examples. For a rule of the test, which puts together two steps that training had each by itself,
but their primitives never together in this order, a copy of the model is trained on its demonstrations, with a new token for each of their
views (test-time training, as in VARC, arXiv 2511.14761); then every hidden grid is answered in all views, which vote. There are up to eight
symmetric views; but training has each step in one direction alone (gravity to the right), and of a turned or mirrored rule the steps may be
none of training's: with one view a new rule is always one of known steps.

A grid counts only if it is right in shape and every cell. There are twenty hidden grids a rule where ARC has one or two, so that mechanisms
can be told apart, and none of a composition that one primitive alone would answer. Validation, in training, is on new grids of the rules of
training. Two floors try rules on the demonstrations instead of learning: every primitive, and every rule of training.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from oscbench.data.prepared import prepared
from oscbench.models.trunk import named_seed
from oscbench.settings import added
from oscbench.tasks import Batch, Draw, GridInputs, Metric, draw_number
from oscbench.tasks.support.arc.canvas import NUM_MARKS, NUM_VIEWS, placed
from oscbench.tasks.support.arc.learned_rules import LearnedRules, LearnedRulesConfig, Unseen
from oscbench.tasks.support.arc.rule_floors import BestRule
from oscbench.tasks.support.arc.rules import LARGEST, SMALLEST, STEPS, Grid, Rule, example, rules
from oscbench.tasks.support.training_subsets import drawn

DATA_SEED = 20_261_127
PREPARATION = "arc_made v2"
SPLITS = ("train", "validation", "test")


class ArcMadeConfig(LearnedRulesConfig):
    """Settings of made rules.

    Attributes:
        train_rules: with a token each; primitives alone (all twelve, as far as there is room), and compositions of these.
        test_rules: compositions of the same steps, of pairs of primitives that no rule of training has.
        train_pairs: of each rule of training.
        validation_pairs: more of each, for validation.
        test_pairs: more of each, for the test of what was trained.
        demonstrations: of each rule of the test.
        hidden_grids: of each rule of the test, to be answered.
        largest: side of the largest grid, before and after [cells].
        views: of a rule of the test, for training at test time and for votes.
        sides: of grids before a rule: `drawn` for each from three cells on, or always the `largest` that the rule leaves room for.
        draw: of the grids of training and validation; `per_seed` draws others for each seed. Rules and all grids of the test stay.
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
    views: int = added(NUM_VIEWS, neutral=NUM_VIEWS, ge=1, le=NUM_VIEWS)
    draw: Draw = added("fixed", neutral="fixed")

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
    version = 2
    label = "made rules on grids"
    metric = Metric("grids_solved", "hidden grids of unseen compositions exactly right", "fraction", "higher")

    def __init__(self, config: ArcMadeConfig) -> None:
        self.config, self.views = config, config.views
        self.inputs = self.describe(config)
        self.rules, test = rules(
            config.train_rules, config.test_rules, DATA_SEED, config.largest, config.sides == "largest"
        )
        sizes = (config.train_pairs, config.validation_pairs, config.test_pairs)
        self.splits = {
            split: _known(self.rules, split, size, config) for split, size in zip(SPLITS, sizes, strict=True)
        }
        self.unseen = [_unseen(rule, place, config) for place, rule in enumerate(test)]

    @classmethod
    def describe(cls, config: ArcMadeConfig) -> GridInputs:
        """Marks of a canvas in and out, and a token for each rule and each view of a new one."""
        tokens = config.train_rules + config.views
        return GridInputs(config.canvas, config.canvas, NUM_MARKS, NUM_MARKS, task_tokens=tokens)

    @classmethod
    def floors(cls, config: ArcMadeConfig) -> dict[str, str]:
        """Those of all such tasks, and programs that try rules which they know."""
        return super().floors(config) | {
            "step": "the one primitive, of all with all their choices, that is right on most of the demonstrations",
            "rule": "the one rule of training that is right on most of the demonstrations",
        }

    def floor(self, name: str) -> torch.nn.Module:
        """One of them."""
        if name not in ("step", "rule"):
            return super().floor(name)
        candidates: Sequence[Rule] = [(step,) for step in STEPS] if name == "step" else self.rules
        return BestRule(candidates, self.fitting(), self.config.canvas)


def _known(train: Sequence[Rule], split: str, size: int, config: ArcMadeConfig) -> Batch:
    """Examples of the rules of training: inputs (rules · size, 1 + side²), the rule's number first, and targets (rules · size, side²)."""
    side = config.canvas
    # The test stays: that of what was trained, as that of new rules.
    stream = split if split == "test" else drawn(split, draw_number(config.draw))

    def make() -> dict[str, Tensor]:
        inputs, targets = [], []
        for place, rule in enumerate(train):
            source = random.Random(named_seed(DATA_SEED, f"{stream}/{place}"))
            for _ in range(size):
                before, after = _example(rule, source, config)
                inputs.append(np.concatenate(([place], placed(before, side).ravel())))
                targets.append(placed(after, side).ravel())
        return {"inputs": torch.from_numpy(np.stack(inputs)), "targets": torch.from_numpy(np.stack(targets))}

    name = f"{PREPARATION} {stream} {size} {side} {config.largest} {list(train)}"
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

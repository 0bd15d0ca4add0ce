"""Rules on coloured grids, as in ARC-AGI but made: learn 60 rules, then find out a new composition from three demonstrations.

A rule is one of twelve primitives (reflect, gravity, outline, …) or two of them one after the other. Each rule of training has a learned
token that stands before the cells of its examples. For a rule of the test, which is a composition of primitives that training
never had together, a copy of the model is trained on its demonstrations, with new tokens, one for each of their eight symmetric views
(test-time training, as in VARC, arXiv 2511.14761); then every hidden grid is answered in all views, and the views vote.

A grid counts only if it is right in shape and every cell. There are twenty hidden grids a rule where ARC has one or two, so that mechanisms
can be told apart. Validation, in training, is on new grids of the rules of training.
"""

from __future__ import annotations

import copy
import random
import time
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn.functional import cross_entropy

from oscbench.data.prepared import prepared
from oscbench.models.trunk import named_seed
from oscbench.tasks import Batch, GridInputs, Metric, Score, Split, TaskConfig
from oscbench.tasks.support.arc_canvas import (
    NUM_MARKS,
    NUM_VIEWS,
    Answer,
    moved,
    placed,
    ranked,
    read,
    unviewed,
    viewed,
)
from oscbench.tasks.support.arc_rules import LARGEST, Grid, Rule, example, rules
from oscbench.tasks.support.in_memory import InMemoryTask

DATA_SEED = 20_261_127
PREPARATION = "arc_made v1"
SPLITS = ("train", "validation", "test")


class ArcMadeConfig(TaskConfig):
    """Settings of made rules.

    Attributes:
        train_rules: with a token each; all primitives alone, and compositions.
        test_rules: compositions, of pairs of primitives that no rule of training has.
        train_pairs: of each rule of training.
        validation_pairs: more of each, for validation.
        test_pairs: more of each, for the test of what was trained.
        demonstrations: of each rule of the test.
        hidden_grids: of each rule of the test, to be answered.
        canvas: side of the canvas [cells].
        adaptation_steps: of training at test time, for each rule.
        adaptation_batch: examples a step.
        adaptation_rate: its learning rate (AdamW without decay, constant).
    """

    train_rules: int = Field(default=60, ge=2)
    test_rules: int = Field(default=40, ge=1)
    train_pairs: int = Field(default=200, ge=1)
    validation_pairs: int = Field(default=4, ge=1)
    test_pairs: int = Field(default=10, ge=1)
    demonstrations: int = Field(default=3, ge=1)
    hidden_grids: int = Field(default=20, ge=1)
    canvas: int = Field(default=12, ge=1)
    adaptation_steps: int = Field(default=60, ge=1)
    adaptation_batch: int = Field(default=8, ge=1)
    adaptation_rate: float = Field(default=1e-3, gt=0.0)

    @model_validator(mode="after")
    def _fits(self) -> ArcMadeConfig:
        if self.canvas <= LARGEST:
            raise ValueError(
                f"canvas: grids have up to {LARGEST} cells a side and a border, {self.canvas} are too few; needs {LARGEST + 1} or more"
            )
        return self


@dataclass(frozen=True)
class Unseen:
    """Demonstrations and hidden grids of a rule of the test, before and after."""

    demonstrations: list[tuple[Grid, Grid]]
    hidden: list[tuple[Grid, Grid]]


class ArcMade(InMemoryTask):
    """The grid that a rule makes of another."""

    Config = ArcMadeConfig
    version = 1
    label = "made rules on grids"
    metric = Metric("grids_solved", "hidden grids of unseen compositions exactly right", "fraction", "higher")
    backbone = "grid"
    inputs: GridInputs

    def __init__(self, config: ArcMadeConfig) -> None:
        self.config = config
        self.inputs = self.describe(config)
        train, test = rules(config.train_rules, config.test_rules, DATA_SEED)
        sizes = (config.train_pairs, config.validation_pairs, config.test_pairs)
        self.splits = {
            split: _known(train, split, size, config.canvas)
            for split, size in zip(SPLITS, sizes, strict=True)
        }
        self.unseen = [_unseen(rule, place, config) for place, rule in enumerate(test)]

    @classmethod
    def describe(cls, config: ArcMadeConfig) -> GridInputs:
        """Marks of a canvas in and out, and a token for each rule and each view of a new one."""
        tokens = config.train_rules + NUM_VIEWS
        return GridInputs(config.canvas, config.canvas, NUM_MARKS, NUM_MARKS, task_tokens=tokens)

    def tensors(self) -> dict[str, Tensor]:
        """All canvases: those of rules of training, and demonstrations and hidden grids of the test's."""
        side = self.config.canvas
        found = super().tensors()
        for place, rule in enumerate(self.unseen):
            pairs = rule.demonstrations + rule.hidden
            canvases = np.stack([[placed(grid, side) for grid in pair] for pair in pairs])
            found[f"unseen.{place:03d}"] = torch.from_numpy(canvases).to(torch.uint8)
        return found

    def augmented(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Both grids of an example moved to the same random place of their canvases."""
        side, (tokens, cells) = self.config.canvas, batch.inputs.split((1, self.config.canvas**2), dim=1)
        before, after = moved([x.view(-1, side, side) for x in (cells, batch.targets)], generator)
        return Batch(torch.cat((tokens, before.flatten(1)), dim=1), after.flatten(1))

    def loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy of a cell of the canvas [nats], the mean over cells and loops."""
        targets = batch.targets[:, None].expand(-1, prediction.shape[1], -1)
        return cross_entropy(prediction.flatten(0, 2), targets.flatten())

    def scores(self, prediction: Tensor, batch: Batch) -> Tensor:
        """1 where the grid read from the canvas after the last loop is exactly the right one."""
        side = self.config.canvas
        made, truth = (
            x.view(-1, side, side).cpu().numpy() for x in (prediction[:, -1].argmax(-1), batch.targets)
        )
        right = [_equal(read(one), read(other)) for one, other in zip(made, truth, strict=True)]
        return torch.tensor(right, dtype=torch.float32)

    @torch.no_grad()
    def evaluate(
        self, model: torch.nn.Module, split: Split, device: torch.device, batch_size: int = 256
    ) -> dict[str, Score]:
        """On the test: hidden grids after training at test time, one and two answers; without it; and new grids of known rules."""
        known = super().evaluate(model, split, device, batch_size)
        if split == "validation":
            return known
        name, was_training = self.metric.name, model.training
        found: dict[str, list[bool]] = {}
        started = time.perf_counter()
        for place, rule in enumerate(self.unseen):
            fresh = _with_new_tokens(model, self.config.train_rules)
            plain = self._answers(fresh.eval(), rule, device, views=1)
            self._adapt(fresh, rule, place, device)
            answers = self._answers(fresh.eval(), rule, device, views=NUM_VIEWS)
            for (_, truth), first, views in zip(rule.hidden, plain, answers, strict=True):
                votes = [_equal(grid, truth) for grid in ranked(views)]
                for key, right in (
                    (name, any(votes[:1])),
                    (f"{name}_two_answers", any(votes[:2])),
                    (f"{name}_any_view", any(votes)),
                    (f"{name}_single_view", _equal(views[0].grid, truth)),
                    (f"{name}_unadapted", _equal(first[0].grid, truth)),
                ):
                    found.setdefault(key, []).append(right)
        self.seconds = {"test_time_training": time.perf_counter() - started}
        model.train(was_training)
        scores = {key: Score(sum(right) / len(right), len(right)) for key, right in found.items()}
        return scores | {f"{name}_trained_rules": known[name]}

    def _views(self, pairs: list[tuple[Grid, Grid]], views: int) -> Batch:
        """Canvases of all pairs in so many views, pair by pair, each under its view's token."""
        side, first = self.config.canvas, self.config.train_rules
        before: list[Grid] = []
        after: list[Grid] = []
        tokens = []
        for pair in pairs:
            for view in range(views):
                for grid, into in zip(pair, (before, after), strict=True):
                    into.append(placed(viewed(grid, view), side).ravel())
                tokens.append(first + view)
        cells = torch.from_numpy(np.stack(before))
        return Batch(
            torch.cat((torch.tensor(tokens)[:, None], cells), dim=1), torch.from_numpy(np.stack(after))
        )

    @torch.enable_grad()
    def _adapt(self, model: torch.nn.Module, rule: Unseen, place: int, device: torch.device) -> None:
        """Train a copy in place on a rule's demonstrations, from a private stream."""
        config, examples = self.config, self._views(rule.demonstrations, NUM_VIEWS)
        generator = torch.Generator().manual_seed(named_seed(DATA_SEED, f"adapt/{place}"))
        optimizer = torch.optim.AdamW(model.parameters(), lr=config.adaptation_rate, weight_decay=0.0)
        model.train()
        for _ in range(config.adaptation_steps):
            rows = torch.randint(len(examples.inputs), (config.adaptation_batch,), generator=generator)
            batch = self.augmented(Batch(examples.inputs[rows], examples.targets[rows]), generator).to(device)
            loss = self.loss(model(batch.inputs).prediction, batch)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    def _answers(
        self, model: torch.nn.Module, rule: Unseen, device: torch.device, views: int
    ) -> list[list[Answer]]:
        """For each hidden grid its answer in each view, turned back; the truth is not looked at."""
        side = self.config.canvas
        batch = self._views(rule.hidden, views).to(device)
        likelihoods, marks = model(batch.inputs).prediction[:, -1].log_softmax(-1).max(-1)
        canvases = marks.view(-1, side, side).cpu().numpy()
        found: list[list[Answer]] = []
        for index, (canvas, likelihood) in enumerate(
            zip(canvases, likelihoods.mean(1).tolist(), strict=True)
        ):
            if index % views == 0:
                found.append([])
            grid = read(canvas)
            turned = None if grid is None else unviewed(grid, index % views)
            found[-1].append(Answer(turned, likelihood))
        return found


def _with_new_tokens(model: torch.nn.Module, known: int) -> torch.nn.Module:
    """A copy whose spare tokens are the mean of those of the known rules."""
    fresh = copy.deepcopy(model)
    tokens = fresh.get_parameter("task_tokens.weight")
    tokens[known:] = tokens[:known].mean(0)
    return fresh


def _equal(one: Grid | None, other: Grid | None) -> bool:
    return one is not None and other is not None and np.array_equal(one, other)


def _known(train: list[Rule], split: str, size: int, side: int) -> Batch:
    """Examples of the rules of training: inputs (rules · size, 1 + side²), the rule's number first, and targets (rules · size, side²)."""

    def make() -> dict[str, Tensor]:
        inputs, targets = [], []
        for place, rule in enumerate(train):
            source = random.Random(named_seed(DATA_SEED, f"{split}/{place}"))
            for _ in range(size):
                before, after = example(rule, source)
                inputs.append(np.concatenate(([place], placed(before, side).ravel())))
                targets.append(placed(after, side).ravel())
        return {"inputs": torch.from_numpy(np.stack(inputs)), "targets": torch.from_numpy(np.stack(targets))}

    found = prepared(f"{PREPARATION} {split} {size} {side} {train}", make)
    return Batch(found["inputs"], found["targets"])


def _unseen(rule: Rule, place: int, config: ArcMadeConfig) -> Unseen:
    source = random.Random(named_seed(DATA_SEED, f"unseen/{place}"))
    pairs = [example(rule, source) for _ in range(config.demonstrations + config.hidden_grids)]
    return Unseen(pairs[: config.demonstrations], pairs[config.demonstrations :])


task = ArcMade

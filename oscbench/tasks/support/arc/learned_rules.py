"""What tasks share that learn rules on grids: known rules with a token each, and new ones learned at test time by a copy of the model.

A new rule is learned from its demonstrations in several views (turned, mirrored, recoloured), each with a new token (test-time training, as
in VARC, arXiv 2511.14761). Then every hidden grid is answered in all views; views are undone, and vote.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from oscbench.models.trunk import named_seed
from oscbench.tasks import Batch, GridInputs, Score, Split, TaskConfig
from oscbench.tasks.support.arc.canvas import (
    NUM_MARKS,
    Answer,
    as_text,
    moved,
    placed,
    ranked,
    read,
    unviewed,
    viewed,
)
from oscbench.tasks.support.arc.rule_floors import BestRule
from oscbench.tasks.support.arc.rules import Grid
from oscbench.tasks.support.floors import OwnMark
from oscbench.tasks.support.in_memory import InMemoryTask

ADAPTATION_SEED = 20_261_127
SHOWN = 3
"""Rules of the test of which a record shows the demonstrations and an answer."""
ANSWERED_AT_ONCE = 256


class LearnedRulesConfig(TaskConfig):
    """Settings of training at test time.

    Attributes:
        canvas: side of the canvas [cells].
        adaptation_steps: of training at test time, for each rule.
        adaptation_batch: examples a step.
        adaptation_rate: its learning rate (AdamW without decay, constant).
    """

    canvas: int = Field(default=12, ge=2)
    adaptation_steps: int = Field(default=60, ge=1)
    adaptation_batch: int = Field(default=8, ge=1)
    adaptation_rate: float = Field(default=1e-3, gt=0.0)


@dataclass(frozen=True)
class Unseen:
    """A rule of the test by its name, and its demonstrations and hidden grids, before and after."""

    name: str
    demonstrations: list[tuple[Grid, Grid]]
    hidden: list[tuple[Grid, Grid]]


class LearnedRules(InMemoryTask):
    """Subclasses fill `splits` with examples of known rules, a token each, and `unseen`.

    Attributes:
        views: of a new rule, for training at test time and for votes.
        answers: how many distinct grids a headline may give, of which one must be right.
        shares: whether a rule's grids count as one item, by their share that is right, or each by itself.
    """

    backbone = "grid"
    inputs: GridInputs
    config: Any
    unseen: list[Unseen]
    views: int
    answers: ClassVar[int] = 1
    shares: ClassVar[bool] = False

    @property
    def known(self) -> int:
        """Tokens of known rules; those of a new one stand behind them."""
        return self.inputs.task_tokens - self.views

    @classmethod
    def floors(cls, config: Any) -> dict[str, str]:
        """Grids as they are, and cells that hear no other."""
        del config
        return {
            "chance": "the grid as it is",
            "bag": "each cell by its own mark and its rule alone, counted in training and trained further at test time like any model",
        }

    def floor(self, name: str) -> torch.nn.Module:
        """One of them."""
        return OwnMark(self.fitting(), self.inputs.task_tokens, NUM_MARKS, learned=name == "bag")

    def tensors(self) -> dict[str, Tensor]:
        """All canvases: those of known rules, and demonstrations and hidden grids of new ones."""
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
        """On the test: hidden grids after training at test time, one and two answers; without it; demonstrations after it; known rules."""
        known = super().evaluate(model, split, device, batch_size)
        if split == "validation":
            return known
        name = self.metric.name
        found: dict[str, list[list[bool]]] = {}
        looked_at = {len(self.unseen) * place // SHOWN for place in range(SHOWN)}
        shown = []
        started = time.perf_counter()
        for place, rule in enumerate(self.unseen):
            fresh = _with_new_tokens(model, self.known)
            plain = self._answers(fresh.eval(), rule.hidden, device, views=1)
            self._adapt(fresh, rule, place, device)
            answers = self._answers(fresh.eval(), rule.hidden, device, views=self.views)
            for key, right in self._judged(rule, plain, answers).items():
                found.setdefault(key, []).append(right)
            # Whether it took in what it was shown: where not, its answers say nothing of what it would make of it.
            shows = self._answers(fresh, rule.demonstrations, device, views=1)
            fitted = [
                _equal(views[0].grid, after)
                for views, (_, after) in zip(shows, rule.demonstrations, strict=True)
            ]
            found.setdefault(f"{name}_demonstrations", []).append(fitted)
            if place in looked_at:
                shown.append(_written(rule, ranked(answers[0])))
        self.seconds = {"test_time_training": time.perf_counter() - started}
        scores = {key: self._score(rules) for key, rules in found.items()}
        scores[name] = replace(scores[name], details={"grids": shown})
        return scores | {f"{name}_trained_rules": known[name]}

    def _judged(
        self, rule: Unseen, plain: list[list[Answer]], answers: list[list[Answer]]
    ) -> dict[str, list[bool]]:
        """What of a rule's hidden grids is right, by the name of the score; the truth is looked at here alone."""
        name = self.metric.name
        found: dict[str, list[bool]] = {}
        for (_, truth), first, views in zip(rule.hidden, plain, answers, strict=True):
            votes = [_equal(grid, truth) for grid in ranked(views)]
            right = {
                "one_answer": any(votes[:1]),
                "two_answers": any(votes[:2]),
                "any_view": any(votes),
                "single_view": _equal(views[0].grid, truth),
                "unadapted": _equal(first[0].grid, truth),
            }
            headline = right.pop("one_answer" if self.answers == 1 else "two_answers")
            for key, value in ((name, headline), *((f"{name}_{key}", value) for key, value in right.items())):
                found.setdefault(key, []).append(value)
        return found

    def _score(self, rules: list[list[bool]]) -> Score:
        """Over rules or over grids."""
        items = (
            [sum(rule) / len(rule) for rule in rules]
            if self.shares
            else [float(one) for rule in rules for one in rule]
        )
        return Score(sum(items) / len(items), len(items))

    def _views(self, pairs: list[tuple[Grid, Grid]], views: int) -> Batch:
        """Canvases of all pairs in so many views, pair by pair, each under its view's token."""
        side, first = self.config.canvas, self.known
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
        if isinstance(model, BestRule):  # it needs no other view
            model.learn(self.known, rule.demonstrations)
            return
        config, examples = self.config, self._views(rule.demonstrations, self.views)
        generator = torch.Generator().manual_seed(named_seed(ADAPTATION_SEED, f"adapt/{place}"))
        optimizer = torch.optim.AdamW(model.parameters(), lr=config.adaptation_rate, weight_decay=0.0)
        model.train()
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(named_seed(ADAPTATION_SEED, f"dropout/{place}"))
            for _ in range(config.adaptation_steps):
                rows = torch.randint(len(examples.inputs), (config.adaptation_batch,), generator=generator)
                pairs = Batch(examples.inputs[rows], examples.targets[rows])
                batch = self.augmented(pairs, generator).to(device)
                loss = self.loss(model(batch.inputs).prediction, batch)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()

    def _answers(
        self, model: torch.nn.Module, pairs: list[tuple[Grid, Grid]], device: torch.device, views: int
    ) -> list[list[Answer]]:
        """For each pair's grid its answer in each view, turned back; the truth is not looked at."""
        side = self.config.canvas
        said = [
            model(inputs.to(device)).prediction[:, -1].log_softmax(-1).max(-1)
            for inputs in self._views(pairs, views).inputs.split(ANSWERED_AT_ONCE)
        ]
        likelihoods, marks = (torch.cat(parts) for parts in zip(*said, strict=True))
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
    if isinstance(model, BestRule):
        return fresh
    tokens = fresh.get_parameter("task_tokens.weight")
    tokens[known:] = tokens[:known].mean(0)
    return fresh


def _written(rule: Unseen, answers: list[Grid]) -> dict[str, Any]:
    """A rule's demonstrations and its first hidden grid with the answer that most views gave, for a record."""
    before, truth = rule.hidden[0]
    return {
        "rule": rule.name,
        "demonstrations": [[as_text(grid) for grid in pair] for pair in rule.demonstrations],
        "hidden": as_text(before),
        "truth": as_text(truth),
        "answer": as_text(answers[0]) if answers else None,
    }


def _equal(one: Grid | None, other: Grid | None) -> bool:
    return one is not None and other is not None and np.array_equal(one, other)

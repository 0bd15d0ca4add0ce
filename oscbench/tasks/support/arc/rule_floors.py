"""A floor of tasks with rules on grids: a program that tries rules which it has, one by one, on the demonstrations, and keeps the best."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from oscbench.models.trunk import Output
from oscbench.tasks import Batch
from oscbench.tasks.support.arc.canvas import BACKGROUND, NUM_MARKS, placed, read
from oscbench.tasks.support.arc.rules import Grid, Rule, applied
from oscbench.tasks.support.floors import NEVER

TRIED = 20
"""Examples of a known rule that its choice is made on."""


class BestRule(nn.Module):
    """Under each token, the one of some rules that is exactly right on most of the token's examples; a token without any answers nothing.

    Among equally good ones that with the most cells right, then the first.

    Args:
        candidates: rules to choose from.
        training: batches of ids (B, 1 + N), the token first, and marks (B, N), of which each token's first few are tried.
        side: of the canvas [cells].
    """

    config = SimpleNamespace(loops=1)

    def __init__(self, candidates: Sequence[Rule], training: Iterable[Batch], side: int) -> None:
        super().__init__()
        self.candidates, self.side = tuple(candidates), side
        self.chosen: dict[int, Rule] = {}
        examples: dict[int, list[tuple[Grid, Grid]]] = {}
        for batch in training:
            for token, before, after in zip(
                batch.inputs[:, 0].tolist(), batch.inputs[:, 1:], batch.targets, strict=True
            ):
                pairs = examples.setdefault(token, [])
                grids = [read(canvas.view(side, side).numpy()) for canvas in (before, after)]
                if len(pairs) < TRIED and grids[0] is not None and grids[1] is not None:
                    pairs.append((grids[0], grids[1]))
        for token, pairs in examples.items():
            self.learn(token, pairs)

    def learn(self, token: int, pairs: Sequence[tuple[Grid, Grid]]) -> None:
        """Choose the rule of a token by pairs of a grid before and after."""

        def rank(rule: Rule) -> tuple[int, float]:
            made = [(applied(rule, before), after) for before, after in pairs]
            alike = [float((one == other).mean()) if one.shape == other.shape else 0.0 for one, other in made]
            return sum(np.array_equal(one, other) for one, other in made), sum(alike)

        self.chosen[token] = max(self.candidates, key=rank)

    def forward(self, inputs: Tensor, *, loops: int = 1, diagnostics: bool = False) -> Output:
        """Logits (B, loops, N, marks) of canvases, which hold no grid where none is known or none fits."""
        del diagnostics
        canvases = np.stack([self._answer(row) for row in inputs.cpu().numpy()])
        marks = one_hot(torch.from_numpy(canvases).flatten(1), NUM_MARKS)
        logits = torch.where(marks > 0, 0.0, NEVER).to(inputs.device)
        return Output(logits[:, None].expand(-1, loops, -1, -1))

    def _answer(self, row: Grid) -> Grid:
        """The canvas (side, side) for a token and a canvas in a row."""
        rule, before = self.chosen.get(int(row[0])), read(row[1:].reshape(self.side, self.side))
        if rule is not None and before is not None:
            after = applied(rule, before)
            if max(after.shape) < self.side:
                return placed(after, self.side)
        return np.full((self.side, self.side), BACKGROUND)

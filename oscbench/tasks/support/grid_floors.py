"""Floors of tasks on grids: cells that hear no other cell, in the form of a looped model."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from oscbench.models.trunk import Output
from oscbench.tasks import Batch
from oscbench.tasks.support.floors import NEVER, Floor

ONE_LOOP = SimpleNamespace(loops=1)


class Looped(Floor):
    """A floor whose cells' answers (B, N, outputs) are the same after every loop."""

    config = ONE_LOOP

    def forward(self, inputs: Tensor, *, loops: int = 1, diagnostics: bool = False) -> Output:
        """Outputs (B, loops, N, outputs)."""
        del diagnostics
        return Output(self.predict(inputs)[:, None].expand(-1, loops, -1, -1))


class OwnMark(nn.Module):
    """Each cell by what stands in it and by the task's token alone: a table of logits (marks, marks) for each token.

    A token's table is the logarithm of how often training turned a mark into another, or the mark itself where `learned` is False.
    New tokens start from the mean of the known ones, and training at test time may change them, as in any model.

    Args:
        training: batches of ids (B, 1 + N), the token first, and marks (B, N).
        tokens: of all tasks.
        marks: that a cell may hold, before and after.
        learned: count them, or keep every cell as it is whatever comes.
    """

    config = ONE_LOOP

    def __init__(self, training: Iterable[Batch], tokens: int, marks: int, *, learned: bool) -> None:
        super().__init__()
        self.marks, self.learned = marks, learned
        counts = torch.zeros(tokens, marks, marks)
        for batch in training if learned else ():
            token, cells = batch.inputs.split((1, batch.inputs.shape[1] - 1), dim=1)
            place = (token * marks + cells) * marks + batch.targets
            counts += torch.bincount(place.flatten(), minlength=counts.numel()).view_as(counts)
        seen = counts.sum(-1, keepdim=True)
        same = one_hot(torch.arange(marks)).float()
        shares = torch.where(seen > 0, counts / seen.clamp_min(1), same)
        self.task_tokens = nn.Embedding(tokens, marks * marks)
        with torch.no_grad():
            self.task_tokens.weight.copy_(shares.log().clamp_min(NEVER).flatten(1))

    def forward(self, inputs: Tensor, *, loops: int = 1, diagnostics: bool = False) -> Output:
        """Logits (B, loops, N, marks)."""
        del diagnostics
        tables = self.task_tokens(inputs[:, 0]).view(-1, self.marks, self.marks)
        if not self.learned:
            tables = tables.detach() + 0.0 * tables  # a gradient of 0: nothing moves it
        cells = inputs[:, 1:, None].expand(-1, -1, self.marks)
        return Output(tables.gather(1, cells)[:, None].expand(-1, loops, -1, -1))

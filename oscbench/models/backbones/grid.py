"""Looped transformer over a grid: cells are tokens, the same blocks run several times with the input added each time.

After every loop the head reads the cells, so that training can ask for the answer in each and a test can run more loops than
training did (weights shared over depth: Universal Transformers, arXiv 1807.03819; input added in each loop and every loop scored, as
recurrent relational networks have it, arXiv 1711.08028).
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from oscbench.mechanisms import Context, Positions
from oscbench.models.backbones import MAX_LAYERS, Backbone, BackboneConfig
from oscbench.models.positions import image_positions
from oscbench.models.trunk import Output
from oscbench.settings import added


class GridConfig(BackboneConfig):
    """Settings of the looped backbone.

    Attributes:
        loops: passes through the blocks in training; an evaluation may ask for more.
        state: of the mechanism from one loop to the next: `restart` it from the tokens, or `carry` it on.
        units: add an embedding of the row, one of the column and, where there are boxes, one of the box to every cell.
        task_token: of inputs that have one: it stands `before` the cells, or is `added` to every cell as well.
    """

    own: ClassVar[tuple[str, ...]] = (*BackboneConfig.own, "units", "state", "loops")

    layers: int = Field(default=2, ge=1, le=MAX_LAYERS)
    mlp_ratio: float = Field(default=2.0, gt=0.0)
    loops: int = Field(default=4, ge=1, le=MAX_LAYERS)
    state: Literal["restart", "carry"] = "restart"
    units: bool = False
    task_token: Literal["before", "added"] = added("before", neutral="before")


class Grid(Backbone):
    """Cells (B, N), ids in reading order, to outputs (B, loops, N, num_outputs) after each loop.

    Where the inputs have task tokens, the first of (B, 1 + N) ids is the task's, and its token hears and is heard as a CLS token.
    """

    Config = GridConfig
    version = 1

    def build_front(self) -> Positions:
        """An embedding of each cell's id, of the task's token, and of units where they are asked for."""
        config, inputs = self.config, self.inputs
        self.num_special = 1 if inputs.task_tokens else 0
        self.positions = image_positions(inputs.rows, inputs.columns, self.num_special)
        self.embedding = nn.Embedding(inputs.vocabulary, config.width)
        if inputs.task_tokens:
            self.task_tokens = nn.Embedding(inputs.task_tokens, config.width)
        if config.units:
            self.members = unit_members(inputs.rows, inputs.columns, inputs.boxes)
            self.units = nn.ModuleList(nn.Embedding(int(m.max()) + 1, config.width) for m in self.members)
        self.carries = config.state == "carry"
        return self.positions

    @property
    def carried(self) -> bool:
        """Where a loop follows that takes the state up."""
        return super().carried or bool(self.carries and self.config.loops > 1)

    def build_head(self, seed: int) -> None:
        """A linear map of each cell."""
        del seed
        self.head = nn.Linear(self.trunk.output_width, self.inputs.num_outputs)

    @property
    def num_tokens(self) -> int:
        """Cells of a grid, and the task's token."""
        return len(self.positions.special)

    def embed(self, inputs: Tensor) -> Tensor:
        """Ids to embeddings (B, tokens, D)."""
        tokens = self.embedding(inputs[:, self.num_special :])
        if self.config.units:
            where = self.positions.to(inputs.device)
            for index, (table, member) in enumerate(zip(self.units, self.members, strict=True)):
                there = where.keep(("unit", index), partial(member.to, inputs.device))
                tokens = tokens + table(there)
        if self.num_special:
            task = self.task_tokens(inputs[:, :1])
            tokens = torch.cat((task, tokens + task if self.config.task_token == "added" else tokens), dim=1)
        embedded: Tensor = self.dropout(self.added(tokens))
        return embedded

    def context(self, inputs: Tensor, *, diagnostics: bool = False) -> Context:
        """Everybody hears everybody; blank cells are known to be unknown."""
        where = self.positions.to(inputs.device)
        if self.inputs.unknown is not None:
            where = where.with_unknown((inputs == self.inputs.unknown) & ~where.special)
        return Context(where, diagnostics=diagnostics)

    def forward(self, inputs: Tensor, *, diagnostics: bool = False, loops: int | None = None) -> Output:
        """Outputs after each of so many loops (by default those of training), and diagnostics of each loop's layers in turn.

        Memory of a training step is linear in the loops: gradients go through all of them.
        """
        context, stream = self.context(inputs, diagnostics=diagnostics), self.trunk.mechanism.stream
        embedded = stream.enter(self.embed(inputs))
        tokens, state, outputs, found = embedded, None, [], []
        for _ in range(loops or self.config.loops):
            done = self.trunk.run(tokens, context, state)
            outputs.append(self.read_out(stream.features(done.tokens)))
            found += done.diagnostics
            tokens = stream.add(embedded, done.tokens)
            if self.carries:
                state = done.state
        return Output(torch.stack(outputs, dim=1), found)

    def read_out(self, features: Tensor) -> Tensor:
        """Outputs of every cell (B, N, num_outputs)."""
        outputs: Tensor = self.head(features[:, self.num_special :])
        return outputs

    @property
    def one_pass(self) -> bool:
        """Where training does not loop."""
        return bool(self.config.loops == 1)

    def flops(self) -> int:
        """Trunk and head, as often as training loops; embeddings cost none."""
        cells = self.num_tokens - self.num_special
        head = 2 * cells * self.trunk.output_width * self.inputs.num_outputs
        total: int = self.config.loops * (self.trunk.flops(self.num_tokens) + head)
        return total


def unit_members(rows: int, columns: int, boxes: tuple[int, int] | None) -> list[Tensor]:
    """For each kind of unit (rows, columns, boxes where there are any) the unit (N,) that every cell belongs to."""
    cell = torch.arange(rows * columns, device="cpu")
    row, column = cell // columns, cell % columns
    if boxes is None:
        return [row, column]
    height, width = boxes
    return [row, column, row // height * (columns // width) + column // width]


backbone = Grid

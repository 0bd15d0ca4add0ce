"""A smoothed n-gram model: what counting alone makes of a text, the floor under every language model.

Interpolated Witten-Bell smoothing (Witten and Bell 1991, method C; Chen and Goodman, arXiv cmp-lg/9606011, eq. 4):

    p(c | h) = (count(h c) + T(h) p(c | h')) / (count(h) + T(h)),

where T(h) is how many different tokens follow h, h' is h without its oldest token, and the shortest context falls back on all tokens alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class _Table:
    """What follows contexts of one length: contexts in order, and for each the stretch of its followers.

    Attributes:
        contexts: (C,) packed into one number each, ascending.
        starts: (C + 1,) where each one's followers begin.
        followers: (F,) token ids.
        counts: (F,) how often each follows its context.
    """

    contexts: Tensor
    starts: Tensor
    followers: Tensor
    counts: Tensor


class NGrams:
    """Counts of a text, and the probabilities that they give.

    Args:
        text: token ids, (tokens,), or (rows, tokens) where no context reaches from one row into the next.
        vocabulary: V; ids are below it, and V to the power of `order` must fit into 63 bits.
        order: longest n-gram; contexts are one shorter.
        ignored: id of a token that is never predicted, padding for one.
    """

    def __init__(self, text: Tensor, vocabulary: int, order: int, ignored: int | None = None) -> None:
        assert vocabulary**order < 2**63
        self.vocabulary, self.order = vocabulary, order
        rows = text.long() if text.dim() == 2 else text.long()[None]
        self.tables = [self._counted(rows, length, ignored) for length in range(order)]

    def _counted(self, rows: Tensor, length: int, ignored: int | None) -> _Table:
        """Followers of every context of so many tokens."""
        last = rows[:, length:].flatten()
        packed = self._contexts(rows, length)[:, : rows.shape[1] - length].flatten()
        if ignored is not None:
            packed, last = packed[last != ignored], last[last != ignored]
        # NumPy sorts numbers several times as fast as PyTorch, and that is nearly all of the time.
        ordered = torch.from_numpy(np.sort((packed * self.vocabulary + last).numpy()))
        whole, counts = ordered.unique_consecutive(return_counts=True)
        contexts, followers = whole // self.vocabulary, whole % self.vocabulary
        distinct, sizes = contexts.unique_consecutive(return_counts=True)
        starts = torch.cat((sizes.new_zeros(1), sizes.cumsum(0)))
        return _Table(distinct, starts, followers, counts)

    def _contexts(self, rows: Tensor, length: int) -> Tensor:
        """(R, N) -> (R, N - length + 1): every stretch of so many tokens as one number."""
        packed = rows.new_zeros(rows.shape[0], rows.shape[1] - length + 1)
        for place in range(length):
            packed = packed * self.vocabulary + rows[:, place : place + packed.shape[1]]
        return packed

    def log_probabilities(self, inputs: Tensor) -> Tensor:
        """Of each next token (B, N, V) [nats], from up to order - 1 tokens before it of those in its row (B, N)."""
        batch, length = inputs.shape
        found = torch.full((batch, length, self.vocabulary), 1.0 / self.vocabulary, dtype=torch.float64)
        for reach, table in enumerate(self.tables):
            if reach > length:
                break
            # The token at place i is the newest of a context that begins at i - reach + 1.
            contexts = self._contexts(inputs.long(), reach)
            contexts = contexts[:, :length] if reach == 0 else contexts
            first = max(0, reach - 1)
            found[:, first:] = self._refined(table, contexts, found[:, first:])
        return found.log().float()

    def _refined(self, table: _Table, contexts: Tensor, shorter: Tensor) -> Tensor:
        """Probabilities (B, M, V) after contexts (B, M), from those after contexts one shorter."""
        flat, below = contexts.flatten(), shorter.flatten(0, 1)
        place = torch.searchsorted(table.contexts, flat).clamp_max(len(table.contexts) - 1)
        known = (table.contexts[place] == flat).nonzero()[:, 0]
        begin, end = table.starts[place[known]], table.starts[place[known] + 1]
        kinds = end - begin
        receiver = torch.repeat_interleave(known, kinds)
        before = torch.repeat_interleave(kinds.cumsum(0) - kinds, kinds)
        entry = torch.repeat_interleave(begin, kinds) + torch.arange(len(receiver)) - before
        counts = torch.zeros_like(below)
        counts[receiver, table.followers[entry]] = table.counts[entry].double()
        weight = torch.zeros(len(flat), 1, dtype=torch.float64)
        weight[known, 0] = kinds.double()
        total = counts.sum(1, keepdim=True) + weight
        refined = torch.where(total > 0, (counts + weight * below) / total.clamp_min(1.0), below)
        return refined.view_as(shorter)

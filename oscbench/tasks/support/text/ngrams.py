"""A smoothed n-gram model: what counting alone makes of a text, the floor under every language model.

Interpolated modified Kneser-Ney smoothing (Chen and Goodman, arXiv cmp-lg/9606011, later Computer Speech & Language 13, 1999):

    p(c | h) = max(a(h c) - D(a(h c)), 0) / Σ_c a(h c) + γ(h) p(c | h'),

where h' is h without its oldest token, a counts how often h c stands in the text for the longest h and for shorter ones how many different
tokens stand before it (the beginning of a row is one more), D takes one of three discounts for a = 1, 2 and more, which follow from how
many stretches are that rare, γ(h) gives what was taken off to p(c | h'), and the shortest context falls back on all tokens alike. The
length of the longest stretch is a setting like any other: `chosen` takes it on validation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from oscbench.tasks import Batch


@dataclass(frozen=True)
class _Table:
    """What follows contexts of one length: contexts in order, and for each the stretch of its followers.

    Attributes:
        contexts: (C,) packed into one number each, ascending.
        starts: (C + 1,) where each one's followers begin.
        whole: (F,) contexts with a follower each, packed, ascending.
        followers: (F,) token ids.
        kept: (F,) a(h c) - D(a(h c)).
        totals: (C,) Σ_c a(h c).
        free: (C,) what was taken off, γ(h) Σ_c a(h c).
    """

    contexts: Tensor
    starts: Tensor
    whole: Tensor
    followers: Tensor
    kept: Tensor
    totals: Tensor
    free: Tensor


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
        self.vocabulary, self.order, self.ignored = vocabulary, order, ignored
        rows = text.long() if text.dim() == 2 else text.long()[None]
        stretches = [self._stretches(rows, length) for length in range(1, order + 1)]
        self._counted = [self._table(whole, counts) for whole, counts in stretches]
        self._preceded = [
            self._table(*self._before(rows, longer, length))
            for length, (longer, _) in enumerate(stretches[1:], start=1)
        ]

    def _stretches(self, rows: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Every different stretch of so many tokens that ends in one that is predicted, ascending, and how often it is there."""
        packed = self._packed(rows, length)
        if self.ignored is not None:
            packed = packed[rows[:, length - 1 :] != self.ignored]
        return _different(packed.flatten())

    def _before(self, rows: Tensor, longer: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """The same stretches, and how many different tokens stand before each, of the stretches that are one longer."""
        inside = longer % self.vocabulary**length
        begun, _ = self._stretches(rows[:, :length], length)  # nothing stands before the beginning of a row
        return _different(torch.cat((inside, begun)))

    def _table(self, whole: Tensor, counts: Tensor) -> _Table:
        contexts, followers = whole // self.vocabulary, whole % self.vocabulary
        distinct, sizes = contexts.unique_consecutive(return_counts=True)
        starts = torch.cat((sizes.new_zeros(1), sizes.cumsum(0)))
        owner = torch.repeat_interleave(torch.arange(len(distinct)), sizes)
        taken = _discounts(counts)
        totals, free = (
            torch.zeros(len(distinct), dtype=torch.float64).index_add_(0, owner, of)
            for of in (counts.double(), taken)
        )
        return _Table(distinct, starts, whole, followers, counts.double() - taken, totals, free)

    def _packed(self, rows: Tensor, length: int) -> Tensor:
        """(R, N) -> (R, N - length + 1): every stretch of so many tokens as one number."""
        packed = rows.new_zeros(rows.shape[0], rows.shape[1] - length + 1)
        for place in range(length):
            packed = packed * self.vocabulary + rows[:, place : place + packed.shape[1]]
        return packed

    def chosen(self, validation: Iterable[tuple[Tensor, Tensor]]) -> int:
        """The order that says most of some rows: inputs (B, N) and the tokens that follow (B, N).

        Orders are tried from 2 on, up to the first that is worse than the one before it.
        """
        batches = list(validation)
        best, least = 1, float("inf")
        for order in range(2, self.order + 1):
            cost = sum(self._cost(inputs, targets, order) for inputs, targets in batches)
            if cost >= least:
                break
            best, least = order, cost
        return best

    def _cost(self, inputs: Tensor, targets: Tensor, order: int) -> float:
        told = self.probabilities(inputs, targets, order).log()
        return -float(told.sum() if self.ignored is None else told[targets != self.ignored].sum())

    def probabilities(self, inputs: Tensor, targets: Tensor, order: int) -> Tensor:
        """Of the tokens that follow (B, N), as `log_probabilities` has it for all tokens."""
        found = torch.full(targets.shape, 1.0 / self.vocabulary, dtype=torch.float64)
        for first, table, contexts in self._reaching(inputs, order):
            below, after = found[:, first:], targets[:, first:].long()
            place, known = _found(table.contexts, contexts.flatten())
            entry, there = _found(table.whole, (contexts * self.vocabulary + after).flatten())
            own = torch.where(there, table.kept[entry], 0.0)
            seen = (own + table.free[place] * below.flatten()) / table.totals[place]
            found[:, first:] = torch.where(known, seen, below.flatten()).view_as(below)
        return found

    def _reaching(self, inputs: Tensor, order: int) -> Iterator[tuple[int, _Table, Tensor]]:
        """For each length of context, shortest first: the first place of a row that has one, its table, and the contexts (B, ·)."""
        length = inputs.shape[1]
        for reach, table in enumerate([*self._preceded[: order - 1], self._counted[order - 1]]):
            if reach > length:
                return
            # The token at place i is the newest of a context that begins at i - reach + 1.
            contexts = self._packed(inputs.long(), reach)
            yield max(0, reach - 1), table, contexts[:, :length] if reach == 0 else contexts

    def log_probabilities(self, inputs: Tensor, order: int | None = None) -> Tensor:
        """Of each next token (B, N, V) [nats], from up to order - 1 tokens before it of those in its row (B, N)."""
        order = self.order if order is None else order
        found = torch.full((*inputs.shape, self.vocabulary), 1.0 / self.vocabulary, dtype=torch.float64)
        for first, table, contexts in self._reaching(inputs, order):
            found[:, first:] = self._refined(table, contexts, found[:, first:])
        return found.log().float()

    def _refined(self, table: _Table, contexts: Tensor, shorter: Tensor) -> Tensor:
        """Probabilities (B, M, V) after contexts (B, M), from those after contexts one shorter."""
        below = shorter.flatten(0, 1)
        place, known = _found(table.contexts, contexts.flatten())
        rows = known.nonzero()[:, 0]
        begin, end = table.starts[place[rows]], table.starts[place[rows] + 1]
        kinds = end - begin
        receiver = torch.repeat_interleave(rows, kinds)
        before = torch.repeat_interleave(kinds.cumsum(0) - kinds, kinds)
        entry = torch.repeat_interleave(begin, kinds) + torch.arange(len(receiver)) - before
        refined = below * torch.where(known, table.free[place], 1.0)[:, None]
        refined[receiver, table.followers[entry]] += table.kept[entry]
        return (refined / torch.where(known, table.totals[place], 1.0)[:, None]).view_as(shorter)


def counted(
    name: str,
    text: Tensor,
    vocabulary: int,
    most: int,
    validation: Iterable[Batch],
    ignored: int | None = None,
) -> Callable[[Tensor], Tensor]:
    """What a floor of text predicts, log-probabilities (B, N, V) of ids (B, N) [nats].

    Args:
        name: `chance` counts single tokens, `ngram` stretches of them.
        text: as of `NGrams`.
        vocabulary: as of `NGrams`.
        most: tokens of the longest stretch that it may count.
        validation: chooses how many it does.
        ignored: as of `NGrams`.
    """
    if name == "chance":
        shares = frequencies(text, vocabulary, ignored)
        return lambda inputs: shares.expand(*inputs.shape, -1)
    grams = NGrams(text, vocabulary, most, ignored)
    order = grams.chosen((batch.inputs, batch.targets) for batch in validation)
    return lambda inputs: grams.log_probabilities(inputs, order)


def _found(among: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Where numbers (M,) stand among others in order, and whether they do; what stands nowhere is said to stand somewhere."""
    place = torch.searchsorted(among, numbers).clamp_max(len(among) - 1)
    return place, among[place] == numbers


def frequencies(text: Tensor, vocabulary: int, ignored: int | None = None) -> Tensor:
    """Log of how often each token stands in a text (V,) [nats], with room for those that do not (Witten-Bell)."""
    ids = text.flatten().long()
    counts = torch.bincount(ids if ignored is None else ids[ids != ignored], minlength=vocabulary).double()
    kinds = (counts > 0).sum()
    return ((counts + kinds / vocabulary) / (counts.sum() + kinds)).log().float()


def _different(numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Ascending, and how often each is there."""
    # NumPy sorts numbers several times as fast as PyTorch, and that is nearly all of the time.
    ordered = torch.from_numpy(np.sort(numbers.numpy()))
    found: tuple[Tensor, Tensor] = ordered.unique_consecutive(return_counts=True)
    return found


def _discounts(counts: Tensor) -> Tensor:
    """D(a) for each count (F,): eq. 26 of Chen and Goodman, or a half of a count where a text is too small to say."""
    rare = [int((counts == number).sum()) for number in (1, 2, 3, 4)]
    if all(rare):
        share = rare[0] / (rare[0] + 2 * rare[1])
        of = [number - (number + 1) * share * rare[number] / rare[number - 1] for number in (1, 2, 3)]
    else:
        of = [0.5, 0.5, 0.5]
    kept = torch.tensor([0.0, *(min(max(one, 0.0), number) for number, one in enumerate(of, start=1))])
    return kept.double()[counts.clamp_max(3)]

"""What is kept of tokens that were: rows for senders, which grow by a token, and sums, which do not grow."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Self

import torch
from torch import Tensor

Name = Hashable
_Whole = tuple[int, Name]


class Cache:
    """Senders and sums of one batch of sequences, by name, for one generation.

    Rows stand in tensors of `capacity` tokens, set aside when a name first comes, so that a new token copies itself and
    nothing else. Memory: capacity × numbers a token for rows, in the dtype that they came in, and the size of the sums; what
    each mechanism keeps is said in its file. Nothing here keeps gradients.

    Args:
        capacity: most tokens that will ever be kept.

    Attributes:
        part: of whom names are now; those of different parts are different names. A block that is taken several times is as many parts.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.num_tokens = 0
        self.part = 0
        self._rows: dict[_Whole, tuple[Tensor, ...]] = {}
        self._sums: dict[_Whole, tuple[Tensor, ...]] = {}
        self._done: set[_Whole] = set()

    def extend(self, name: Name, *new: Tensor) -> tuple[Tensor, ...]:
        """Keep the rows (…, N, ·) of new tokens; gives those of all tokens so far, the new ones last.

        Raises:
            ValueError: there is no room for so many.
        """
        whole = self._once(name, self._rows)
        end = self.num_tokens + new[0].shape[-2]
        if end > self.capacity:
            raise ValueError(f"the cache has room for {self.capacity} tokens, got {end}")
        if whole not in self._rows:
            self._rows[whole] = tuple(x.new_empty(*x.shape[:-2], self.capacity, x.shape[-1]) for x in new)
        for rows, x in zip(self._rows[whole], new, strict=True):
            rows[..., self.num_tokens : end, :] = x.detach()
        return tuple(rows[..., :end, :] for rows in self._rows[whole])

    def kept(self, name: Name, num_new: int) -> tuple[Tensor, ...]:
        """What `extend` gave in this pass under a name, after `num_new` new tokens."""
        whole = (self.part, name)
        assert whole in self._done, f"{name} was not extended in this pass"
        return tuple(rows[..., : self.num_tokens + num_new, :] for rows in self._rows[whole])

    def accumulate(self, name: Name, *new: Tensor) -> tuple[Tensor, ...]:
        """Add the sums over new tokens to those over all tokens before, and give the totals."""
        whole = self._once(name, self._sums)
        before = self._sums.get(whole, tuple(torch.zeros_like(x) for x in new))
        self._sums[whole] = tuple(total + x.detach() for total, x in zip(before, new, strict=True))
        return self._sums[whole]

    def finish(self, num_new: int) -> None:
        """The pass over `num_new` new tokens is over: every layer has kept what it keeps."""
        missing = (self._rows.keys() | self._sums.keys()) - self._done
        assert not missing, f"not kept in this pass: {sorted(str(name) for _, name in missing)}"
        self._done = set()
        self.num_tokens += num_new

    def copy(self) -> Self:
        """The same, to go on from here another time."""
        twin = type(self)(self.capacity)
        twin.num_tokens = self.num_tokens
        twin._rows = {name: tuple(x.clone() for x in rows) for name, rows in self._rows.items()}
        twin._sums = dict(self._sums)  # never written in place
        return twin

    def num_bytes(self) -> int:
        """Memory of all rows, free ones too, and of all sums [bytes]."""
        every = [x for kept in (*self._rows.values(), *self._sums.values()) for x in kept]
        return sum(x.numel() * x.element_size() for x in every)

    def _once(self, name: Name, here: dict[_Whole, tuple[Tensor, ...]]) -> _Whole:
        """The name with its part, which this pass has not had."""
        whole = (self.part, name)
        assert whole not in self._done, f"{name} was kept twice in one pass"
        assert whole in here or self.num_tokens == 0, f"{name}: earlier tokens were not kept"
        self._done.add(whole)
        return whole

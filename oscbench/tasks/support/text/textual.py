"""What a task over text can do besides."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Textual(Protocol):
    """A task whose token ids are a text."""

    def encode(self, text: str) -> Tensor:
        """Ids (N,) of a prompt, N ≥ 1: what stands at the beginning of a text, where it is empty."""
        ...

    def decode(self, ids: Tensor) -> str:
        """The text of ids (N,)."""
        ...

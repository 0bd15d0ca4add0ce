"""A number that training counts up."""

from __future__ import annotations

from torch import Tensor


class Counter:
    """Counts up an integer that is a buffer, kept with weights and checkpoints, and knows its value on the host all the same.

    Only where somebody else has written to the buffer, as a checkpoint does, is a device waited for.
    """

    def __init__(self) -> None:
        self._known: tuple[Tensor, int, int] | None = None

    def up(self, buffer: Tensor) -> int:
        """Count one more; how many that makes."""
        known = self._known
        mine = known is not None and known[0] is buffer and known[1] == buffer._version
        value = known[2] if known is not None and mine else int(buffer)
        buffer += 1
        self._known = buffer, buffer._version, value + 1
        return value + 1

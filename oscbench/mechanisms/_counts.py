"""A number that training counts up."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Count(nn.Module):
    """An integer that is a buffer like any other, kept with weights and checkpoints, and that the host knows all the same.

    Only where somebody else has written to the buffer, as a checkpoint does, is a device waited for.
    """

    number: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("number", torch.zeros((), dtype=torch.int64))
        self._known: tuple[Tensor, int, int] | None = None

    def up(self) -> int:
        """Count one more; how many that makes."""
        known = self._known
        mine = known is not None and known[0] is self.number and known[1] == self.number._version
        value = known[2] if known is not None and mine else int(self.number)
        self.number += 1
        self._known = self.number, self.number._version, value + 1
        return value + 1

"""A number that training counts up."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Count(nn.Module):
    """An integer that is kept with a model's weights and stays in the host's memory: to read it, nobody waits for a device."""

    def __init__(self) -> None:
        super().__init__()
        self.value = 0

    def get_extra_state(self) -> Tensor:
        """What is kept."""
        return torch.tensor(self.value)

    def set_extra_state(self, state: Any) -> None:
        """What was kept."""
        self.value = int(state)

"""Drift of the torus score: rotary position as a phase that grows with the index, combined by angle addition."""

from __future__ import annotations

import torch
from torch import Tensor


def drift_angles(drift: Tensor, num_tokens: int) -> Tensor:
    """Ready angles of a drift, in float64: (n,) is [rad per index] and becomes (N, n), anything wider is ready."""
    drift = drift.to(torch.float64)
    if drift.dim() == 1:
        index = torch.arange(num_tokens, dtype=torch.float64, device=drift.device)
        return index[:, None] * drift
    return drift

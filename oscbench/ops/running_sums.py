"""Running sums along tokens that come out the same twice, on a GPU too."""

from __future__ import annotations

import torch
from torch import Tensor


def running_sum(x: Tensor, dim: int) -> Tensor:
    """Σ_{j ≤ i} x_j along a dimension.

    PyTorch has no cumsum of floating-point numbers on CUDA that it calls repeatable, and refuses it where everything is to come out the
    same twice, as in every cell that trains. There doubling takes its place: log₂ N additions of the sum so far to itself, shifted.
    """
    return _by_doubling(x, dim) if _unrepeatable(x) else x.cumsum(dim)


def _unrepeatable(x: Tensor) -> bool:
    return x.is_cuda and torch.are_deterministic_algorithms_enabled()


def _by_doubling(x: Tensor, dim: int) -> Tensor:
    length, step = x.shape[dim], 1
    while step < length:
        whole, shifted = x.narrow(dim, step, length - step), x.narrow(dim, 0, length - step)
        x = torch.cat((x.narrow(dim, 0, step), whole + shifted), dim)
        step *= 2
    return x

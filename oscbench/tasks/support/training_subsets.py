"""Shares of a training split, for questions of data efficiency: nested, and in one draw the same for every mechanism and seed."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from oscbench.models.trunk import named_seed

SUBSET_SEED = 20_260_104


def drawn(purpose: str, draw: int) -> str:
    """The purpose in a draw: each draw has other rows, and draw 0 those that stood before there were draws."""
    return f"{purpose}/draw {draw}" if draw else purpose


def training_rows(labels: Tensor, fraction: float, purpose: str = "share") -> Tensor:
    """Rows of the training split to keep, in their own order: a smaller share lies within every larger one.

    Of each label ⌈fraction · count⌉ rows are kept, so every label stays. A share of 1 keeps all rows as they are.

    Args:
        labels: (examples,) whole numbers to keep the balance of.
        fraction: share to keep, above 0.
        purpose: another one has other rows, for example a share that is held back for validation.
    """
    kept = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique().tolist():
        rows = (labels == label).nonzero()[:, 0]
        generator = torch.Generator().manual_seed(named_seed(SUBSET_SEED, f"{purpose}/{label}"))
        order = torch.randperm(len(rows), generator=generator)
        kept[rows[order[: math.ceil(fraction * len(rows))]]] = True
    return kept.nonzero()[:, 0]

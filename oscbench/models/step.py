"""One training step: the same for training, for matching by time, and for whatever measures a step."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn

from oscbench.tasks import Batch


class HasLoss(Protocol):
    """What a step needs of a task."""

    def loss(self, prediction: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Mean loss of a batch."""


def take_step(
    model: nn.Module, task: HasLoss, batch: Batch, optimizer: torch.optim.Optimizer, clip: float | None = None
) -> torch.Tensor:
    """Forward pass, loss, backward pass, clipping where asked for, and the optimiser's update.

    Training and matching by time clip as the suite says and have a fused AdamW. The measures of a step (`latency`, `energy`,
    `memory`) and timing suites clip nothing and have AdamW as PyTorch picks it: theirs is the plain step of any recipe, and
    what was measured before stays comparable.

    Args:
        model: in training mode; its output's `prediction` is the task's.
        task: gives the loss.
        batch: on the model's device.
        optimizer: of the model's parameters.
        clip: largest norm of all gradients together; None for no clipping.

    Returns:
        The loss before the update, detached.
    """
    optimizer.zero_grad(set_to_none=True)
    loss = task.loss(model(batch.inputs).prediction, batch)
    loss.backward()
    value = loss.detach()
    del loss  # and the graph with it, so that the update's memory is its own
    if clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
    return value

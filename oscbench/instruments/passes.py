"""The passes of a model that can be timed: forward, backward, and a whole training step."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

from oscbench.instruments.clock import Contender
from oscbench.models.step import HasLoss, take_step
from oscbench.ops import compiling
from oscbench.tasks import Batch

Pass = Literal["forward", "backward", "step"]


def model_pass(
    name: Pass, model: nn.Module, task: HasLoss, batch: Batch, *, compiled: bool = False
) -> Contender:
    """A pass over one batch. The model is left as it was: the step's learning rate is 0, its work is the same.

    Args:
        name: `forward` (no gradients kept), `backward` (alone, its forward pass is not timed) or `step` (the training step
            without clipping, with a plain AdamW).
        model: whose.
        task: gives the loss.
        batch: on the model's device.
        compiled: through `torch.compile`.
    """
    called: Any = compiling.compiled(model) if compiled else model
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def forward() -> None:
        with torch.no_grad():
            called(batch.inputs)

    def loss() -> tuple[torch.Tensor]:
        return (task.loss(called(batch.inputs).prediction, batch),)

    def backward(value: torch.Tensor) -> None:
        torch.autograd.grad(value, parameters, allow_unused=True)

    if name == "forward":
        return Contender(forward)
    if name == "backward":
        return Contender(backward, loss)
    on_cuda = batch.inputs.device.type == "cuda"
    optimizer = torch.optim.AdamW(parameters, lr=0.0, weight_decay=0.0, capturable=on_cuda)

    def step() -> None:
        take_step(called, task, batch, optimizer)
        # Left behind, gradients would lie below the level that the next step's peak is taken above.
        optimizer.zero_grad(set_to_none=True)

    return Contender(step)

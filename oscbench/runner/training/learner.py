"""A step as a recipe takes it, and the model that it is taken with: compiled, in its precision, in parts of a batch, by several processes.

Every wrapper takes a batch's inputs and gives the model's output, so that a step is one step whatever the recipe says. At the neutral
values there is none: steps are then taken with the model itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from oscbench.models.step import take_step
from oscbench.models.trunk import Output
from oscbench.ops.compiling import compiled
from oscbench.runner.training import parallel
from oscbench.runner.training.graph import Captured, CudaRecorder, Recorder
from oscbench.tasks import Batch, Task


def stepper(
    model: nn.Module,
    task: Task,
    optimizer: torch.optim.Optimizer,
    settings: Mapping[str, Any],
    recorder: Callable[[], Recorder] = CudaRecorder,
) -> Callable[[Batch], Tensor]:
    """What learns from a batch on the model's device, and gives the loss before the update, detached.

    Args:
        model: in training mode.
        task: gives the loss.
        optimizer: of the model's parameters.
        settings: the recipe.
        recorder: makes what a step is captured with, where the recipe asks for that.
    """
    whole = min(int(settings["batch_size"]), task.num_training_examples)
    learns = learner(model, settings, whole)

    def take(batch: Batch) -> Tensor:
        return take_step(learns, task, batch, optimizer, settings["clip"])

    if not settings.get("graph", False):
        return take
    return Captured(take, lambda: optimizer.zero_grad(set_to_none=True), whole, recorder())


def learner(model: nn.Module, settings: Mapping[str, Any], whole: int) -> nn.Module:
    """What steps are taken with; `model` holds the weights, and is what is validated and tested, as it is.

    Args:
        model: in training mode.
        settings: the recipe.
        whole: examples of a whole batch.
    """
    made, parts = model, int(settings.get("accumulate", 1))
    if settings.get("compile", False):
        made = Compiled(made, -(-whole // parts))
    if settings.get("precision", "fp32") == "bf16":
        made = Narrow(made)
    if parts > 1:
        made = InParts(made, parts)
    return parallel.shared(made)


class Compiled(nn.Module):
    """A model through `torch.compile`, for one size of batch; an epoch's last one, which may be smaller, is predicted without.

    Args:
        model: whose weights are trained.
        batch_size: that is compiled for.
    """

    def __init__(self, model: nn.Module, batch_size: int) -> None:
        super().__init__()
        self.own = model
        self.batch_size = batch_size
        # Each cell has a process of its own, so whatever was compiled is this model's.
        self._compiled = [compiled(model, dynamic=False)]

    def forward(self, inputs: Tensor) -> Output:
        """Predictions (B, …)."""
        called = self._compiled[0] if len(inputs) == self.batch_size else self.own
        made: Output = called(inputs)
        return made


class Narrow(nn.Module):
    """A model whose linear maps and attention take bfloat16 products; weights, sums, phases, angles and locking stay in 32 bits.

    Args:
        model: with weights in float32.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.own = model

    def forward(self, inputs: Tensor) -> Output:
        """Predictions (B, …) in float32, of which a loss is then taken in float32."""
        with torch.autocast(inputs.device.type, dtype=torch.bfloat16):
            made: Output = self.own(inputs)
        return Output(made.prediction.float(), made.diagnostics)


class InParts(nn.Module):
    """A model that predicts a batch part by part and keeps of each part its prediction alone.

    The loss is one of the whole batch, whatever that is (a mean over labelled pixels, a contrast of all pairs), and its gradient is the
    whole batch's: the backward pass predicts each part again, with the same dropout, when it comes to it. Memory is that of one part;
    a step costs four thirds of its FLOPs.

    Args:
        model: which may not relate the examples of a batch to one another.
        parts: as many, fewer where there are fewer examples.
    """

    def __init__(self, model: nn.Module, parts: int) -> None:
        super().__init__()
        self.own = model
        self.parts = parts

    def forward(self, inputs: Tensor) -> Output:
        """Predictions (B, …)."""
        made = [self._predicted(part) for part in inputs.tensor_split(min(self.parts, len(inputs)))]
        return Output(torch.cat(made))

    def _predicted(self, inputs: Tensor) -> Tensor:
        predicted: Tensor = checkpoint(lambda x: self.own(x).prediction, inputs, use_reentrant=False)
        return predicted

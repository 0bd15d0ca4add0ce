"""A slow teacher: the moving average of a model's own parameters, which it learns from (BYOL, DINO: arXiv 2104.14294)."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Teacher(nn.Module):
    """The average θ' of a model's parameters θ: θ' ← m θ' + (1 - m) θ after each of its steps, from θ' = θ on.

    Its tensors are buffers: no optimiser moves them, they are no parameters of the model, and checkpoints and kept weights have them. It
    predicts in evaluation mode (no dropout) and without gradient. What a mechanism keeps in buffers stays as it was built.

    Args:
        student: the model, whose start values it takes.
    """

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.own = copy.deepcopy(student).eval()
        made: dict[int, Tensor] = {}  # a parameter that two modules share stays one
        for module in self.own.modules():
            for name, parameter in [*module._parameters.items()]:
                delattr(module, name)
                held = None if parameter is None else made.setdefault(id(parameter), parameter.detach())
                module.register_buffer(name, held)

    def train(self, mode: bool = True) -> Teacher:
        """Stay in evaluation mode."""
        del mode
        return super().train(False)

    @torch.no_grad()
    def forward(self, inputs: Tensor) -> Tensor:
        """The prediction of a batch, without gradient."""
        predicted: Tensor = self.own(inputs).prediction
        return predicted

    def pairs(self, student: nn.Module) -> Iterator[tuple[nn.Parameter, Tensor]]:
        """Each parameter of the student that it was made of, and its average."""
        averages = dict(self.own.named_buffers(remove_duplicate=False))
        for name, parameter in student.named_parameters():
            yield parameter, averages[name]

    @torch.no_grad()
    def follow(self, student: nn.Module, momentum: float) -> None:
        """θ' ← m θ' + (1 - m) θ, computed as θ' + (1 - m) (θ - θ')."""
        parameters, averages = zip(*self.pairs(student), strict=True)
        torch._foreach_lerp_(averages, parameters, 1.0 - momentum)

    @torch.no_grad()
    def equal(self, student: nn.Module) -> None:
        """θ' ← θ, where start values were set after it was made."""
        for parameter, average in self.pairs(student):
            average.copy_(parameter)

    @torch.no_grad()
    def hand_over(self, student: nn.Module) -> None:
        """θ ← θ': the student becomes its teacher."""
        for parameter, average in self.pairs(student):
            parameter.copy_(average)

    @contextmanager
    def in_place_of(self, student: nn.Module) -> Iterator[None]:
        """The student has the teacher's values meanwhile, and its own again afterwards, bit for bit and in the same memory."""
        self._exchange(student)
        try:
            yield
        finally:
            self._exchange(student)

    def _exchange(self, student: nn.Module) -> None:
        for parameter, average in self.pairs(student):
            parameter.data, average.data = average.data, parameter.data

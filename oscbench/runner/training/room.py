"""Whether a machine can hold a model at all, told before any of its weights is allocated."""

from __future__ import annotations

import torch

from oscbench.machine.environment import memory_of

WEIGHT_BYTES = 4
TRAINED_BYTES = 16
"""Of a parameter that is trained: its weight, its gradient, two moments of AdamW."""


class NoRoomError(MemoryError):
    """A model that needs more memory than its machine has, with nothing else in it."""


def prove_room(model: torch.nn.Module, device: str, *, training: bool = True) -> None:
    """Refuse a model that cannot fit: compared is all memory of the machine with the least that the model can need.

    Args:
        model: on the meta device.
        device: `cpu` or `cuda`, where it is to go; it is built on the processor first.
        training: with gradients and moments.

    Raises:
        NoRoomError: it cannot.
    """
    weights = WEIGHT_BYTES * sum(one.numel() for one in model.parameters())
    _prove("cpu", weights, "weights")
    if training and (device == "cpu" or torch.cuda.is_available()):
        learns = sum(one.numel() for one in model.parameters() if one.requires_grad)
        _prove(device, weights + (TRAINED_BYTES - WEIGHT_BYTES) * learns, "weights, gradients and moments")


def _prove(device: str, needed: int, what: str) -> None:
    there = memory_of(device)
    if needed > there:
        raise NoRoomError(f"needs {needed / 2**30:,.0f} of {there / 2**30:,.0f} GiB for {what}")

"""Precision under autocast: an op chooses its own, and what oscillates stays in 32 bits.

`torch.autocast` turns matrix products to bfloat16, wherever they are. The ops of this package take sums, norms and sines in at least
float32 whatever their inputs are, so inside them it is switched off: a call computes as its inputs' dtype says.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
T = TypeVar("T")

DEVICES = ("cpu", "cuda")
"""Where autocast is asked about: it does not know `meta`, on which models are planned."""


def is_autocast(device: torch.device) -> bool:
    """Whether autocast is on for a device."""
    return device.type in DEVICES and torch.is_autocast_enabled(device.type)


def as_given(device: torch.device) -> AbstractContextManager[Any]:
    """Inside, operations run in the precision of their inputs."""
    return torch.autocast(device.type, enabled=False) if is_autocast(device) else nullcontext()


def widened(x: Tensor) -> Tensor:
    """What autocast has made narrower in float32 again; anything else as it is."""
    return x.float() if is_autocast(x.device) and x.dtype in (torch.bfloat16, torch.float16) else x


def keeps_precision(function: Callable[P, T]) -> Callable[P, T]:
    """A public function of tensors with autocast switched off inside, by the device of the first of them."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        first = next(x for x in (*args, *kwargs.values()) if isinstance(x, Tensor))
        with as_given(first.device):
            return function(*args, **kwargs)

    return run


def shielded(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """The function with autocast switched off inside."""

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        with as_given(device):
            return function(*args, **kwargs)

    return run

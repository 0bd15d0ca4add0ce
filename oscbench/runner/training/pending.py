"""Losses and times of steps that a device still works on: the host asks for them once an epoch, and no step waits for it."""

from __future__ import annotations

import math
import time
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from oscbench.measures import History
from oscbench.models.backbones import Backbone
from oscbench.modes import evaluating

MOST = 1000
"""Steps that are left unread at most, where an epoch has more."""


class DivergedError(Exception):
    """The loss is no longer a number."""


class Pending:
    """Steps that were begun and whose loss nobody has read.

    On the CPU a loss is there when its step ends, and is read at once. Elsewhere reading waits for the device, so it is read when an epoch
    ends, before a validation or a checkpoint, and after `MOST` steps: a loss that is no number is then found late, at the step at
    which it happened, and the history ends there as if it had been seen.

    Args:
        history: that the steps go into.
        device: that they are taken on.
        total: steps of the training, for the message of a divergence.
    """

    def __init__(self, history: History, device: torch.device, total: int) -> None:
        self._history = history
        self._device = device
        self._total = total
        self._begun: Any = None
        self._losses: list[Tensor] = []
        self._moments: list[tuple[Any, Any]] = []

    def __enter__(self) -> Pending:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.read()  # whatever ended the training, these steps were taken

    def begin(self) -> None:
        """A step begins."""
        self._begun = self._moment()

    def end(self, loss: Tensor) -> None:
        """It has been handed to the device, with this loss.

        Raises:
            DivergedError: as of `read`, where it is read.
        """
        if self._device.type == "cpu":
            value = float(loss)
            self._history.step_seconds.append(self._moment() - self._begun)
            self._take(value)
            return
        self._losses.append(loss)
        self._moments.append((self._begun, self._moment()))
        if len(self._losses) >= MOST:
            self.read()

    def read(self) -> None:
        """Wait for the device, once, and put what has been pending into the history.

        Raises:
            DivergedError: a loss is not finite.
        """
        losses, moments = self._losses, self._moments
        self._losses, self._moments = [], []
        if not losses:
            return
        values = torch.stack(losses).cpu().tolist()
        for value, (begun, ended) in zip(values, moments, strict=True):
            self._history.step_seconds.append(_seconds(begun, ended))
            self._take(value)

    def _take(self, value: float) -> None:
        history = self._history
        history.losses.append(value)
        if math.isfinite(value):
            return
        step = len(history.losses)
        # What measures saw in the meantime of a model that was no more.
        before = {name: [e for e in seen if e[0] < step] for name, seen in history.followed.items()}
        history.followed = {name: seen for name, seen in before.items() if seen}
        raise DivergedError(f"the loss is {value} at step {step} of {self._total}")

    def _moment(self) -> Any:
        """Now, by the device's clock where it has one."""
        if self._device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            return event
        return time.perf_counter()


def _seconds(begun: Any, ended: Any) -> float:
    """Between two moments; events must have been waited for."""
    if isinstance(begun, float):
        return float(ended - begun)
    return float(begun.elapsed_time(ended)) / 1e3


@torch.no_grad()
def prove_numbers(model: Backbone, inputs: Tensor) -> None:
    """Hold a trained model to saying numbers: of weights that the last step broke a score may be one all the same, that of chance.

    Args:
        model: as training left it.
        inputs: some of its inputs.

    Raises:
        DivergedError: something in what it says of them is none, or beyond all numbers.
    """
    # A mechanism may draw noise in every pass: what is scored afterwards draws as if nobody had asked here.
    with evaluating(model), torch.random.fork_rng(devices=[inputs.device] if inputs.is_cuda else []):
        said = model(inputs).prediction
    if bool((said.isnan() | (said == math.inf)).any()):
        raise DivergedError("the loss stayed a number, but what the model says after its last step is none")

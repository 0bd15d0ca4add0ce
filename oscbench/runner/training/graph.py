"""A training step captured as a CUDA graph: one launch instead of hundreds, where a small model's step is bound by launching.

As PyTorch's notes on CUDA graphs have it ("Whole-network capture"): the batch is copied into tensors that stay, the first steps run on a
side stream, gradients are none when the capture begins, so that they lie in the graph's own memory, and the optimiser keeps its step
count and its learning rate on the device. All of these steps are steps of the training; a batch of another size, an epoch's
last, is learnt from without the graph.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor

from oscbench.errors import first_line
from oscbench.machine.process import cannot_repeat, no_memory
from oscbench.ops.dispatch import UnsupportedError
from oscbench.tasks import Batch

WAITED = "called a synchronizing CUDA operation"
"""What PyTorch says of an operation that waits for the GPU, where none may."""
WARM_UP = 3
"""Steps before the capture, in which libraries choose their kernels and make room; as many as PyTorch's notes take."""


class Recorder(Protocol):
    """What a step is captured with."""

    def warm(self, step: Callable[[], Tensor], *, proves: bool = False) -> Tensor:
        """Take a step as it will be captured, and where it `proves` refuse one that cannot be; its loss."""

    def record(self, step: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        """Capture a step without taking it: what takes it, and where its loss then stands."""


class CudaRecorder:
    """CUDA graphs of the current device."""

    def __init__(self) -> None:
        self._side = torch.cuda.Stream()

    def warm(self, step: Callable[[], Tensor], *, proves: bool = False) -> Tensor:
        """On a side stream, since the default stream cannot be captured and what was made on it would be waited for.

        Raises:
            UnsupportedError: a step that is to prove it waits for the GPU; a capture that breaks leaves the whole process in its state.
        """
        self._side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._side):
            loss = _proving(step) if proves else step()
        torch.cuda.current_stream().wait_stream(self._side)
        return loss

    def record(self, step: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        """Capture it.

        Raises:
            UnsupportedError: the step does what no graph can hold, as waiting for the device.
        """
        graph = torch.cuda.CUDAGraph()
        with _refused(), torch.cuda.graph(graph):
            loss = step()
        return graph.replay, loss


def _proving(step: Callable[[], Tensor]) -> Tensor:
    """Take a step that must not wait for the GPU."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        return step()
    except RuntimeError as error:
        if WAITED not in str(error):
            raise
        raise UnsupportedError(f"train.graph: the step cannot be captured ({first_line(error)})") from error
    finally:
        torch.cuda.set_sync_debug_mode("default")


@contextlib.contextmanager
def _refused() -> Iterator[None]:
    """Errors of a step that no graph can hold, in a line; too little memory is none of them, nor what does not repeat itself."""
    try:
        yield
    except RuntimeError as error:
        # The end of a capture raises over what broke it.
        first = error.__context__ if isinstance(error.__context__, RuntimeError) else error
        if no_memory(first) or cannot_repeat(first):
            raise first from None
        raise UnsupportedError(f"train.graph: the step cannot be captured ({first_line(first)})") from error


class Captured:
    """Training steps, most of them replays of one.

    Args:
        take: a step on a batch; its loss, detached.
        clear: sets all gradients to none.
        batch_size: of the batches that are captured; others are eager.
        recorder: captures.
    """

    def __init__(
        self,
        take: Callable[[Batch], Tensor],
        clear: Callable[[], None],
        batch_size: int,
        recorder: Recorder,
    ) -> None:
        self._take = take
        self._clear = clear
        self._batch_size = batch_size
        self._recorder = recorder
        self._batch: Batch | None = None
        self._replay: Callable[[], None] | None = None
        self._loss: Tensor | None = None
        self._warmed = 0

    def __call__(self, batch: Batch) -> Tensor:
        """Learn from a batch on the model's device; the loss before the update."""
        if len(batch.inputs) != self._batch_size:
            return self._take(batch)
        if self._batch is None:
            self._batch = Batch(batch.inputs.clone(), batch.targets.clone())
        held = self._batch
        if _shapes(batch) != _shapes(held):  # sequences of another length
            return self._take(batch)
        held.inputs.copy_(batch.inputs)
        held.targets.copy_(batch.targets)
        if self._replay is None or self._loss is None:
            if self._warmed < WARM_UP:
                self._warmed += 1
                proves = self._warmed == WARM_UP
                return self._recorder.warm(lambda: self._take(held), proves=proves)
            self._clear()
            self._replay, self._loss = self._recorder.record(lambda: self._take(held))
        self._replay()
        return self._loss.clone()  # the next replay writes over it


def _shapes(batch: Batch) -> tuple[torch.Size, torch.Size]:
    return batch.inputs.shape, batch.targets.shape


def rates_on_device(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """Turn learning rates into tensors, which a schedule fills and a captured step reads; after the schedule was made."""
    for group in optimizer.param_groups:
        group["lr"] = torch.tensor(group["lr"], dtype=torch.float32, device=device)


def with_own_rates(optimizer: torch.optim.Optimizer, load: Callable[[], None]) -> None:
    """Load an optimiser's state, and put the rates that it says into the tensors that were there."""
    rates = [group["lr"] for group in optimizer.param_groups]
    load()
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        if isinstance(rate, Tensor):
            group["lr"] = rate.copy_(torch.as_tensor(group["lr"]))

"""One training by several processes on one machine, each with a device of its own (`train.devices`): PyTorch's DistributedDataParallel.

Every process makes the whole batch, in the order and with the augmentation that one process would give it, and process r of n predicts
its examples r, r + n, r + 2n, … The predictions are gathered, so that every process computes the loss of the whole batch, whatever
that is (a mean over labelled pixels, a contrast of all pairs), and sends the gradient of it back through its own examples; the sum over the
processes is the gradient that one process has. What holds:

- Losses and values are those of one process up to rounding; the same number of devices gives the same values bit for bit, checkpoints
  or not, on CPUs (gloo). On GPUs (NCCL) the order of a sum is the library's.
- What a model draws while it trains is drawn by each process for itself, from the seed, the process and the step: dropout, or a start that
  AKOrN draws anew. Such cells are other draws of the same training than on one device.
- A model may not relate the examples of a batch to one another (no batch norm); a loss may.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from oscbench.machine.process import cannot_repeat, first_word
from oscbench.models.trunk import Output, named_seed
from oscbench.runner.cell_spec import Rank

PATIENCE = timedelta(days=30)
"""Others wait while the first validates; a process that died is noticed by whoever started it, not here."""


def join(rank: Rank, device: str) -> None:
    """Become one of the processes of a cell; returns once all are there.

    SIGTERM is the first one's to obey, since a step that ends with a checkpoint needs all of them: the others pass it on.
    """
    loopback = next((name for _, name in socket.if_nameindex() if name in ("lo", "lo0")), None)
    if loopback is not None:  # the machine's name may lead elsewhere or nowhere
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo",
        init_method=f"file://{rank.meeting}",
        rank=rank.number,
        world_size=rank.of,
        timeout=PATIENCE,
    )
    first = from_first(os.getpid())
    if rank.number > 0:
        signal.signal(signal.SIGTERM, lambda number, frame: os.kill(first, signal.SIGTERM))


def leave() -> bool:
    """The training is over; whether this is the first process, which goes on alone."""
    goes_on = number() == 0
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()
    return goes_on


@contextmanager
def while_others_wait() -> Iterator[None]:
    """What the first process does by itself in the midst of a training, as validating: what cannot repeat itself there breaks the cell.

    Of a cell with one process it would begin anew without asking for that (`cannot_repeat`); the others would wait for ever meanwhile.

    Raises:
        RuntimeError: in the place of such an error.
    """
    try:
        yield
    except RuntimeError as error:
        if count() == 1 or not cannot_repeat(error):
            raise
        raise RuntimeError(
            f"train.devices: 1 could begin anew without what does not repeat itself, {count()} cannot ({first_word(error)})"
        ) from error


@contextmanager
def alone() -> Iterator[None]:
    """What is trained meanwhile is this process's own: the others know nothing of it."""
    _alone.append(True)
    try:
        yield
    finally:
        _alone.pop()


_alone: list[bool] = []


def number() -> int:
    """Which of its processes this one is."""
    return dist.get_rank() if count() > 1 else 0


def count() -> int:
    """How many processes train this cell."""
    return dist.get_world_size() if dist.is_initialized() and not _alone else 1


def from_first(value: Any) -> Any:
    """What the first process has, in all of them."""
    if count() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values)
    return values[0]


def draw_for(seed: int, step: int) -> None:
    """Set this process's stream for what a model draws in a step; a training that goes on so needs no stream of the others.

    Nothing where there is one process, whose stream runs through its training.
    """
    if count() > 1:
        torch.manual_seed(named_seed(seed, f"dropout of process {number()} at step {step}"))


def shared(model: nn.Module) -> nn.Module:
    """A model to take steps with: the same where there is one process."""
    return Shared(model) if count() > 1 else model


class Shared(nn.Module):
    """A model that predicts a batch together with the other processes.

    Args:
        model: with the same values in all processes.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        # Looking for parameters without a gradient, which some mechanisms have, also keeps the buckets as they are: rebuilt after a first
        # step, they would sum in another order in a training that goes on than in one that was never killed.
        self.own = DistributedDataParallel(_Prediction(model), find_unused_parameters=True)

    def forward(self, inputs: Tensor) -> Output:
        """Predictions (B, …) of the whole batch, of which this process's own have a gradient."""
        size, processes, place = len(inputs), count(), number()
        # The last example is repeated until all have as many; what comes of that is cut off.
        mine = torch.arange(place, -(-size // processes) * processes, processes).clamp_max(size - 1)
        own = self.own(inputs[mine.to(inputs.device)])
        own.register_hook(lambda gradient: gradient * processes)  # the sum is wanted, and a mean is made
        parts = [torch.empty_like(own) for _ in range(processes)]
        dist.all_gather(parts, own.detach().contiguous())
        parts[place] = own
        return Output(torch.stack(parts, dim=1).flatten(0, 1)[:size])


class _Prediction(nn.Module):
    """The prediction alone, and a parameter that has no gradient: where none is found, PyTorch warns of the search on standard error."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.unused = nn.Parameter(torch.zeros((), device=next(model.parameters()).device))

    def forward(self, inputs: Tensor) -> Tensor:
        predicted: Tensor = self.model(inputs).prediction
        return predicted

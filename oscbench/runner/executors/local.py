"""Cells on this machine, one process each."""

from __future__ import annotations

import os
import time
from collections.abc import Collection

import torch

from oscbench.machine.environment import cores, nature
from oscbench.runner.executors import Event, ExecutorError, Job, Machine, Options, Started
from oscbench.runner.executors._child import LEAVE_S, Child, listen, modules

HERE = "here"
"""The one machine's name."""


class Local:
    """Processes of this machine, as many at once as it has cores, or as were asked for.

    Args:
        options: of the run; an address is refused.
    """

    def __init__(self, options: Options) -> None:
        if options.address is not None:
            raise ExecutorError(
                f"--address {options.address}: the local executor has none; give --executor ray"
            )
        self._keeping = options.keeping
        gpus = torch.cuda.device_count()
        self._machine = Machine(HERE, cores(), gpus, options.jobs, nature(gpus))
        self._children: dict[int, Child] = {}
        self._events: list[Event] = []

    def machines(self) -> list[Machine]:
        """This one."""
        return [self._machine]

    def news(self) -> list[str]:
        """None: this machine is there."""
        return []

    def submit(self, job: Job) -> None:
        """Start a process for a job."""
        visible = visible_devices(job.place.gpus) if self._machine.gpus else None
        self._children[job.ticket] = Child(job, self._keeping, modules(job.cell), visible)
        self._events.append(Started(job.ticket))

    def wait(self, seconds: float) -> list[Event]:
        """What the processes say."""
        events, self._events = self._events, []
        if events:
            return events
        listen(list(self._children.values()), seconds)
        for ticket, child in list(self._children.items()):
            events += child.events()
            if child.ended:
                del self._children[ticket]
        return events

    def running(self) -> Collection[int]:
        """Processes that are not known to have ended."""
        return self._children.keys()

    def cancel(self, ticket: int) -> None:
        """Kill a process."""
        self._children.pop(ticket).kill()

    def close(self) -> None:
        """End whatever runs, with a checkpoint where any are kept."""
        children = list(self._children.values())
        if self._keeping.checkpoints is not None:
            for child in children:
                child.ask_to_stop()
            limit = time.monotonic() + LEAVE_S
            for child in children:
                child.leave(limit)
        for child in children:
            child.kill()
        self._children.clear()


def visible_devices(indices: Collection[int]) -> str:
    """GPUs of this machine by their place among those that this process sees, as `CUDA_VISIBLE_DEVICES` names them; "" for none."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = seen.split(",") if seen else []
    return ",".join(names[index].strip() if names else str(index) for index in indices)


executor = Local

"""Cells on the machines of a Ray cluster: each is a process under a Ray task, which only says what that process says.

Ray places nothing by itself and tries nothing again: the pool does both. A task's death takes the cell's process with it, whether its
worker was killed, its machine went away, or the driver did.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator
from typing import Any

import oscbench
from oscbench import catalog
from oscbench.errors import first_line, kind_and_line
from oscbench.machine.environment import commit, cores, nature, package_version
from oscbench.runner.cell_spec import Keeping
from oscbench.runner.executors import (
    ENDS,
    Died,
    Event,
    ExecutorError,
    Job,
    Lost,
    Machine,
    Options,
    Progressed,
    Started,
)
from oscbench.runner.executors._child import LEAVE_S, Child, listen, modules
from oscbench.runner.interrupt import ending_signals

REACH_S = 5.0
"""For a cluster's port to take a connection."""
ANSWER_S = 120.0
"""For a cluster to say that it is well, and for its machines to say what is installed on them."""
POLL_S = 0.3
PROGRESS_S = 1.0
"""Between two words of a cell's progress, each of which is an object of Ray's."""


class Ray:
    """The machines of a Ray cluster, or this one.

    Args:
        options: of the run; `address` is `host:port` as `ray start --head` says it, by default that in RAY_ADDRESS, or else this machine.

    Raises:
        ExecutorError: Ray is not installed, or that is no address.
    """

    def __init__(self, options: Options) -> None:
        if not _is_installed():
            raise ExecutorError('--executor ray: Ray is not installed; pip install "oscbench[ray]"')
        self._options = options
        self._address = options.address or os.environ.get("RAY_ADDRESS") or None
        if self._address is not None and not re.fullmatch(r"[^\s:/]+:\d{1,5}", self._address):
            raise ExecutorError(f"--address {self._address}: give host:port, as `ray start --head` says it")
        self._ray: Any = None
        self._machines: dict[str, Machine] = {}
        self._labels: dict[str, str] = {}
        self._asked: dict[str, Any] = {}
        self._refused: set[str] = set()
        self._news: list[str] = []
        self._none_is_left = False
        self._streams: dict[int, Any] = {}
        self._places: dict[int, str] = {}

    def machines(self) -> list[Machine]:
        """Machines that are alive and have what the driver has; connects at the first call.

        Raises:
            ExecutorError: no cluster answers, or a machine has other versions.
        """
        first = self._ray is None
        if first:
            self._connect()
        alive = {node["NodeID"]: node for node in self._ray.nodes() if node["Alive"]}
        for name in [name for name in self._machines if name not in alive]:
            del self._machines[name]
        for name, node in alive.items():
            if name not in self._machines and name not in self._refused and name not in self._asked:
                self._labels[name] = f"{node['NodeManagerHostname']} ({name[:8]})"
                gpus = int(node["Resources"].get("GPU", 0))
                self._asked[name] = self._on(name, _look, num_cpus=0).remote(gpus)
        self._hear_of_machines(alive, ANSWER_S if first else 0.0, first=first)
        if not self._machines and not self._none_is_left:
            self._news.append("no machine is left; waiting for one")
        self._none_is_left = not self._machines
        return list(self._machines.values())

    def _hear_of_machines(self, alive: dict[str, Any], seconds: float, *, first: bool) -> None:
        """Take in what machines say of themselves; one that has something else is refused, loudly at the start."""
        if not self._asked:
            return
        answers = list(self._asked.values())
        answered, _ = self._ray.wait(answers, num_returns=len(answers), timeout=seconds)
        for name in [name for name, answer in self._asked.items() if answer in answered]:
            why, found = None, {}
            try:
                found = self._ray.get(self._asked.pop(name))
            except self._ray.exceptions.RayError as error:
                if not first or self._is_gone(error):  # if it is there it is asked again
                    continue
                why = _cause(error)
            why = why or _unlike(found["versions"])
            if why is None:
                of = alive.get(name, {}).get("Resources", {})
                cpus, gpus = int(of.get("CPU", 0)), int(of.get("GPU", 0))
                self._machines[name] = Machine(name, cpus, gpus, nature=found["nature"])
                continue
            self._refused.add(name)
            if first:
                raise ExecutorError(f"--executor ray: {self._labels[name]} cannot be used: {why}")
            self._news.append(f"{self._labels[name]} cannot be used: {why}")
        if first and not self._machines:
            raise ExecutorError(f"--executor ray: no machine answered within {ANSWER_S:g} s")
        if first and not any(machine.cpus for machine in self._machines.values()):
            self._news.append("no machine has a core for cells; waiting for one that has")

    def news(self) -> list[str]:
        """Machines that were refused, and that none is left."""
        said, self._news = self._news, []
        return said

    def submit(self, job: Job) -> None:
        """Start a task on a machine."""
        place = job.place
        task = self._on(
            place.machine,
            run_job,
            num_cpus=place.cpus,
            num_gpus=len(place.gpus) / place.shares,
            num_returns="streaming",
            name=job.cell.name,
        )
        allowed = os.environ.get(catalog.ALLOWED, "")
        self._streams[job.ticket] = task.remote(
            job, self._options.keeping, modules(job.cell), allowed, self._labels[place.machine]
        )
        self._places[job.ticket] = place.machine

    def wait(self, seconds: float) -> list[Event]:
        """What the tasks say."""
        if not self._streams:
            time.sleep(seconds)
            return []
        events: list[Event] = []
        self._ray.wait(list(self._streams.values()), num_returns=1, timeout=seconds, fetch_local=False)
        while self._streams:
            streams = list(self._streams.values())
            ready, _ = self._ray.wait(streams, num_returns=len(streams), timeout=0, fetch_local=False)
            if not ready:
                break
            ready = set(ready)
            tickets = [ticket for ticket, stream in self._streams.items() if stream in ready]
            events += [self._next(ticket) for ticket in tickets]
        return events

    def _next(self, ticket: int) -> Event:
        """The next event of a task that has one, or how it ended."""
        try:
            event: Event = self._ray.get(next(self._streams[ticket]))
        except StopIteration:
            self._forget(ticket)
            return Lost(ticket, "its task ended without a word")
        except self._ray.exceptions.RayError as error:
            machine = self._places[ticket]
            label = self._labels[machine]
            self._forget(ticket)
            if self._is_gone(error):  # one that is there all the same will answer again
                self._machines.pop(machine, None)
            if isinstance(error, self._ray.exceptions.OutOfMemoryError):
                return Died(ticket, f"killed by Ray on {label}: out of memory", memory=True)
            return Lost(ticket, f"{label}: {_cause(error)}")
        if isinstance(event, ENDS):
            self._forget(ticket)
        return event

    def running(self) -> Collection[int]:
        """Tasks whose end has not been heard."""
        return self._streams.keys()

    def cancel(self, ticket: int) -> None:
        """Kill a task's worker, and the cell's process with it."""
        stream = self._streams[ticket]
        self._forget(ticket)
        self._ray.cancel(stream, force=True)

    def close(self) -> None:
        """Have all tasks end, with a checkpoint where any are kept, and leave the cluster; one that was started here ends."""
        if self._ray is None:
            return
        try:
            self._stop_all()
        finally:
            self._ray.shutdown()
            self._ray = None

    def _stop_all(self) -> None:
        for stream in self._streams.values():
            self._ray.cancel(stream, force=self._options.keeping.checkpoints is None)
        limit = time.monotonic() + LEAVE_S + 1.0
        while self._streams and time.monotonic() < limit:
            self.wait(POLL_S)
        for ticket in list(self._streams):
            self.cancel(ticket)

    def _is_gone(self, error: Exception) -> bool:
        """Whether an error says that a node is dead, which Ray may still list as alive for some seconds."""
        known = self._ray.exceptions
        return isinstance(error, (known.NodeDiedError, known.TaskUnschedulableError))

    def _forget(self, ticket: int) -> None:
        del self._streams[ticket], self._places[ticket]

    def _on(self, machine: str, function: Any, **options: Any) -> Any:
        """A function as a task for one machine, tried once."""
        affinity = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(machine, soft=False)
        return self._ray.remote(function).options(max_retries=0, scheduling_strategy=affinity, **options)

    def _connect(self) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # a task without a GPU hides none
        if self._address is not None:
            _prove_reachable(self._address)
        import ray
        import ray.exceptions
        import ray.util.scheduling_strategies

        here: dict[str, Any] = {
            "num_cpus": max(cores(), self._options.jobs or 0),
            "include_dashboard": False,
        }
        try:
            with _own_signals():
                ray.init(
                    self._address or "local",
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    **({} if self._address else here),
                )
        except Exception as error:  # of many kinds, its own and those of its network layer
            raise ExecutorError(f"--executor ray: cannot start or connect ({first_line(error)})") from error
        self._ray = ray


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """What Ray starts meanwhile hears no SIGTERM or SIGHUP that its whole process group gets, and our handlers stay: it puts its own there.

    `timeout`, systemd and SLURM end a group. The driver then has its cells leave checkpoints, for which Ray must be there a while.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = [number for number in ending_signals() if number != signal.SIGINT]
    handlers = {number: signal.getsignal(number) for number in asked}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, asked)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _is_installed() -> bool:
    return importlib.util.find_spec("ray") is not None


def _prove_reachable(address: str) -> None:
    """Refuse an address where no cluster is, within a time limit; Ray's own attempt may abort the process.

    Raises:
        ExecutorError: nothing takes connections there, or what does is no cluster that is well.
    """
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=REACH_S).close()
    except (OSError, OverflowError) as error:
        raise ExecutorError(f"--address {address}: nothing answers there ({first_line(error)})") from error
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        well = subprocess.run(command, capture_output=True, timeout=ANSWER_S, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        well = False
    if not well:
        raise ExecutorError(
            f"--address {address}: what answers there is no Ray cluster of this version that is well"
        )


def versions() -> dict[str, str | None]:
    """What must be the same on all machines, since records depend on it."""
    head, _ = commit()
    return {
        "oscbench": f"{oscbench.__version__}{f' at {head[:10]}' if head else ''}",
        "torch": package_version("torch"),
        "Python": ".".join(platform.python_version_tuple()[:2]),
    }


def _unlike(theirs: dict[str, str | None]) -> str | None:
    """What a machine has otherwise than the driver; None where it has the same."""
    ours = versions()
    unlike = [
        f"{name} {theirs.get(name)}, here {ours[name]}" for name in ours if theirs.get(name) != ours[name]
    ]
    return "; ".join(unlike) or None


def _look(gpus: int) -> dict[str, Any]:
    """What a machine with so many GPUs says of itself; runs there."""
    return {"versions": versions(), "nature": nature(gpus)}


def run_job(job: Job, keeping: Keeping, preload: list[str], allowed: str, where: str) -> Iterator[Event]:
    """Run a job in a process of its own, and pass on what it says; runs on the job's machine, in a worker that loads no torch.

    Args:
        job: what to run.
        keeping: what is kept beside the record.
        preload: what the fork server imports, as `modules` says it.
        allowed: whether names in suites may import modules, as `catalog.ALLOWED` says it.
        where: this machine, for people.
    """
    import ray

    os.environ[catalog.ALLOWED] = allowed
    gpus = ray.get_runtime_context().get_accelerator_ids().get("GPU", []) if job.place.gpus else None
    yield Started(job.ticket)
    child = Child(job, keeping, preload, None if gpus is None else ",".join(gpus), f" on {where}")
    told = 0.0
    try:
        while not child.ended:
            listen([child], POLL_S)
            for event in child.events():
                now = time.monotonic()
                if isinstance(event, Progressed) and event.done < event.total:
                    if now - told < PROGRESS_S:
                        continue
                    told = now
                yield event
    finally:  # a task that is cancelled raises KeyboardInterrupt
        if not child.ended:
            if keeping.checkpoints is not None:
                child.ask_to_stop()
                child.leave(time.monotonic() + LEAVE_S)
            child.kill()


def _cause(error: Exception) -> str:
    """Why a task failed, in a line: what it raised, or what became of it."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, BaseException):
        return kind_and_line(cause)
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__.removesuffix("Error")).lower()
    return f"Ray says: {words}"


executor = Ray

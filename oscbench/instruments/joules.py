"""Energy from a counter: windows of repeated work, idle power apart, wrap-around put right.

A counter that cannot be read gives a reason and no number; there are no constants in place of a missing counter.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from oscbench.instruments.nvml import handle_of

MIN_WINDOW_S = 2.0
RAPL = Path("/sys/class/powercap")


class CounterError(Exception):
    """The counter cannot be read, or what it says is no energy."""


class Counter(Protocol):
    """A running count of joules.

    Attributes:
        name: how it counts, for the record.
        wraps_at: joules at which it starts again from 0, or None.
    """

    name: str
    wraps_at: float | None

    def joules(self) -> float:
        """Its reading now.

        Raises:
            CounterError: it cannot be read.
        """


@dataclass(frozen=True)
class Energy:
    """What windows of work cost.

    Attributes:
        joules: a call, idle power subtracted, one a window.
        gross_joules: a call, idle power included, one a window.
        idle_watts: measured with nothing to do.
        calls: in each window.
        window_s: seconds of each window.
    """

    joules: list[float]
    gross_joules: list[float]
    idle_watts: float
    calls: list[int]
    window_s: list[float]


def difference(counter: Counter, before: float, after: float) -> float:
    """Joules between two readings, over at most one wrap-around.

    Raises:
        CounterError: it ran backwards without one.
    """
    if after >= before:
        return after - before
    if counter.wraps_at is None:
        raise CounterError(f"{counter.name} ran backwards, from {before} J to {after} J: it was reset")
    return after - before + counter.wraps_at


def measure_energy(
    run: Callable[[], Any],
    counter: Counter,
    *,
    windows: int = 3,
    window_s: float = MIN_WINDOW_S,
    now: Callable[[], float] = time.monotonic,
    rest: Callable[[float], None] = time.sleep,
) -> Energy:
    """Joules of a call that has finished when it returns, over several windows, idle power measured before them.

    Raises:
        CounterError: the counter cannot be read or stands still, or a window is shorter than two seconds.
    """
    if window_s < MIN_WINDOW_S:
        raise CounterError(f"a window of {window_s} s is shorter than {MIN_WINDOW_S} s")
    run()  # what is loaded lazily is not part of the work
    _, idle_joules, idle_s = _window(lambda: rest(window_s / 20), counter, window_s, now)
    idle_watts = idle_joules / idle_s
    calls, seconds, gross = [], [], []
    for _ in range(windows):
        count, joules, spent = _window(run, counter, window_s, now)
        calls.append(count)
        seconds.append(spent)
        gross.append(joules)
    if not any(gross):
        raise CounterError(f"{counter.name} stands still under load")
    net = [
        (joules - idle_watts * spent) / count
        for joules, spent, count in zip(gross, seconds, calls, strict=True)
    ]
    return Energy(net, [j / c for j, c in zip(gross, calls, strict=True)], idle_watts, calls, seconds)


def _window(
    run: Callable[[], Any], counter: Counter, window_s: float, now: Callable[[], float]
) -> tuple[int, float, float]:
    """Calls, joules and seconds of one window."""
    count = 0
    joules = 0.0
    reading = counter.joules()
    started = now()
    while now() - started < window_s:
        run()
        count += 1
        # Read after every call, so that a fast counter cannot wrap twice between readings.
        latest = counter.joules()
        joules += difference(counter, reading, latest)
        reading = latest
    return count, joules, now() - started


class NvmlCounter:
    """The GPU's own total-energy counter."""

    name = "NVML total energy"
    wraps_at: float | None = None

    def __init__(self, device: torch.device) -> None:
        import pynvml

        self.nvml = pynvml
        try:
            self.handle = handle_of(device)
            self.joules()
        except pynvml.NVMLError as error:
            raise CounterError(f"NVML: {error}") from error

    def joules(self) -> float:
        """Since the driver was loaded."""
        try:
            return float(self.nvml.nvmlDeviceGetTotalEnergyConsumption(self.handle)) / 1e3
        except self.nvml.NVMLError as error:
            raise CounterError(f"NVML: {error}") from error


class RaplCounter:
    """The processor packages' counters, one after the other as a single count."""

    name = "RAPL package"
    wraps_at: float | None = None

    def __init__(self, root: Path = RAPL) -> None:
        self.packages = sorted(path for path in root.glob("intel-rapl:*") if _is_package(path))
        if not self.packages:
            raise CounterError(f"no RAPL counter in {root}")
        self._ranges = [self._read(path / "max_energy_range_uj") for path in self.packages]
        # Packages wrap one by one and are unwrapped here, so their sum only grows.
        self._last = [self._read(path / "energy_uj") for path in self.packages]
        self._sum = 0.0

    def joules(self) -> float:
        """Since this object was made, over all packages."""
        for index, path in enumerate(self.packages):
            reading = self._read(path / "energy_uj")
            step = reading - self._last[index]
            self._sum += step if step >= 0 else step + self._ranges[index]
            self._last[index] = reading
        return self._sum

    @staticmethod
    def _read(path: Path) -> float:
        try:
            return int(path.read_text(encoding="ascii")) / 1e6
        except PermissionError as error:
            raise CounterError(f"{path} may be read by root only") from error
        except (OSError, ValueError) as error:
            raise CounterError(f"{path} cannot be read") from error


def _is_package(path: Path) -> bool:
    """A processor package; parts of one and `psys`, which holds them all, would be counted twice."""
    try:
        return (path / "name").read_text(encoding="ascii").startswith("package")
    except OSError:
        return False


def counter_for(device: torch.device) -> Counter:
    """The counter of a device.

    Raises:
        CounterError: there is none that can be read.
    """
    return NvmlCounter(device) if device.type == "cuda" else RaplCounter()


def median(values: list[float]) -> float:
    """Of the windows."""
    return statistics.median(values)

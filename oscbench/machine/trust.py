"""Which measures can be believed on this machine, and why: read from the machine now, never assumed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from oscbench import catalog
from oscbench.machine.idle import idle_cores
from oscbench.measures import Measure

CPUS = Path("/sys/devices/system/cpu")
TIMED = ("latency", "training_time")
"""Measures that rest on a clock; `memory` rests on the system's high-water mark, `energy` on a counter, all others on the model alone."""


@dataclass(frozen=True)
class Machine:
    """What times and peaks depend on.

    Attributes:
        cores: that the system shows.
        real_cores: that stand behind them.
        is_virtual: whether a hypervisor decides when these cores run.
        clock: how the processor's clock is governed, None where it cannot be seen.
        idle: cores that nobody uses at this moment.
        load: average of the last minute.
        has_marks: whether a process may read and reset its own high-water mark of memory.
        accelerator: name of the GPU, None without one.
    """

    cores: int
    real_cores: int
    is_virtual: bool
    clock: str | None
    idle: float
    load: float
    has_marks: bool
    accelerator: str | None


def this_machine(look: Callable[[], float] = idle_cores) -> Machine:
    """What can be read here and now; takes a moment, for the idle cores."""
    cores = os.cpu_count() or 1
    return Machine(
        cores=cores,
        real_cores=_real_cores(CPUS) or psutil.cpu_count(logical=False) or cores,
        is_virtual="hypervisor" in _text(Path("/proc/cpuinfo")),
        clock=_text(CPUS / "cpu0" / "cpufreq" / "scaling_governor").strip() or None,
        idle=round(look(), 1),
        load=round(os.getloadavg()[0], 1),
        has_marks="VmHWM" in _text(Path("/proc/self/status")) and os.access("/proc/self/clear_refs", os.W_OK),
        accelerator=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    )


def _real_cores(root: Path) -> int:
    """Groups of threads that share a core, as the kernel tells them; 0 where it does not."""
    groups = {_text(path).strip() for path in root.glob("cpu[0-9]*/topology/thread_siblings_list")}
    return len(groups - {""})


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def trust(name: str, unavailable: str | None, machine: Machine) -> tuple[str, str]:
    """A word and the reason for one measure: `yes`, `ratios only`, `with care` or `no`."""
    if unavailable is not None:
        return "no", f"unavailable: {unavailable}"
    if name in TIMED:
        return _times(machine)
    if name == "memory":
        if machine.accelerator:
            return "yes", "torch's CUDA allocator counts every byte"
        if machine.has_marks:
            return "yes", "a fresh process reads and resets its own high-water mark (VmHWM)"
        return "no", "a process cannot read or reset its high-water mark here"
    if name == "energy":
        return "yes", "the counter can be read; idle power is measured apart and subtracted"
    return "yes", "counted or computed from the model; depends on no clock and no load"


def _times(machine: Machine) -> tuple[str, str]:
    doubts = []
    if machine.real_cores < machine.cores:
        doubts.append(f"{machine.cores} cores are {machine.real_cores} with shared units")
    if machine.is_virtual:
        doubts.append(
            "the cores are virtual: others may run on them, and whether two share a real one cannot be seen"
        )
    if machine.clock is None:
        doubts.append("the clock speed can be neither read nor fixed")
    elif machine.clock != "performance":
        doubts.append(f"the clock follows the load (governor {machine.clock})")
    # A benchmark needs one core to itself; on a machine with less than that idle, its neighbours are in every number.
    busy = machine.idle < min(1.0, machine.cores / 2)
    if busy:
        doubts.append(f"only {machine.idle:.1f} of {machine.cores} cores idle now (load {machine.load:.1f})")
    if not doubts:
        return "yes", f"{machine.real_cores} real cores, {machine.idle:.1f} idle, clock fixed"
    advice = (
        "wait for an idle machine, and then compare ratios of one run"
        if busy
        else "compare ratios of one run"
    )
    where = (
        f"on {machine.accelerator} by its own events, clocks recorded but not fixed; on the CPU: "
        if machine.accelerator
        else ""
    )
    return ("with care" if busy else "ratios only"), f"{where}{'; '.join(doubts)}: {advice}"


def rows(machine: Machine | None = None) -> list[dict[str, str]]:
    """Every measure in the catalog with a word and its reason, which wraps to the width of a terminal."""
    machine = machine or this_machine()
    found = []
    for name in catalog.names("measures"):
        measure: type[Measure] = catalog.load("measures", name)
        word, why = trust(name, measure.unavailable(), machine)
        found.append({"measure": name, "trust": word, "why": why})
    return found

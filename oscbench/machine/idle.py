"""Waiting for idle cores: another process on the machine otherwise turns a 5× into a 0.8×."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

LOOK_S = 0.3


@dataclass(frozen=True)
class Quiet:
    """How busy the machine was when timing began.

    Attributes:
        idle_cores: that nobody used.
        waited_s: until then.
        enough: as many as were wanted; False where patience ended first.
        load_average: of the last minute.
    """

    idle_cores: float
    waited_s: float
    enough: bool
    load_average: float


def idle_cores() -> float:
    """Cores that nobody used over the last moment."""
    return (1.0 - psutil.cpu_percent(interval=LOOK_S) / 100.0) * (psutil.cpu_count() or 1)


def wait_for_idle(
    cores: float,
    patience_s: float,
    look: Callable[[], float] = idle_cores,
    now: Callable[[], float] = time.monotonic,
) -> Quiet:
    """Wait until so many cores are idle, at most so long."""
    started = now()
    while True:
        idle = look()
        waited = now() - started
        if idle >= cores or waited >= patience_s:
            return Quiet(round(idle, 2), round(waited, 1), idle >= cores, round(os.getloadavg()[0], 2))

"""The time that is left, learnt from what has been measured: steps of cells in progress, and cells that ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from oscbench.runner.cell_spec import Cell

FIRST_SHARE = 0.02
"""Of a cell's steps, before which they say nothing: the first ones pay for warming up."""
Key = tuple[str, str, str]


@dataclass
class Estimate:
    """Seconds that a run still takes.

    A cell is expected to take what its own steps say, or what the same mechanism and variant took before, or what all took in the mean.

    Attributes:
        total: cells that will run or be found.
        cells: those of them that are known beforehand.
        jobs: how many run at once.
        clock: seconds.
    """

    total: int
    cells: Sequence[Cell] = ()
    jobs: int = 1
    clock: Callable[[], float] = time.monotonic
    _waiting: dict[str, Key] = field(default_factory=dict)
    _running: dict[str, tuple[Key, float, float]] = field(default_factory=dict)
    _took: dict[Key, list[float]] = field(default_factory=dict)
    _ended: int = 0

    def __post_init__(self) -> None:
        self._waiting = {cell.identity: _key(cell) for cell in self.cells}

    def started(self, cell: Cell) -> None:
        """A cell has begun."""
        self._waiting.pop(cell.identity, None)
        self._running[cell.identity] = (_key(cell), self.clock(), 0.0)

    def progress(self, cell: Cell, done: int, total: int) -> None:
        """A cell has done so many of its steps."""
        key, began, _ = self._running[cell.identity]
        self._running[cell.identity] = (key, began, done / max(1, total))

    def finished(self, cell: Cell, seconds: float | None) -> None:
        """A cell took so long; None where its record was there already."""
        self._waiting.pop(cell.identity, None)
        self._running.pop(cell.identity, None)
        self._ended += 1
        if seconds is not None:
            self._took.setdefault(_key(cell), []).append(seconds)

    def left(self) -> float | None:
        """Seconds from now, or None where nothing has been measured yet."""
        now = self.clock()
        expected = {key: fmean(took) for key, took in self._took.items()}
        for key, began, share in self._running.values():
            if share >= FIRST_SHARE:
                expected.setdefault(key, (now - began) / share)
        unannounced = max(0, self.total - self._ended - len(self._running) - len(self._waiting))
        if not (self._running or self._waiting or unannounced):
            return 0.0
        if not expected:
            return None
        usual = fmean(expected.values())
        ahead = [expected.get(key, usual) for key in self._waiting.values()] + [usual] * unannounced
        for key, began, share in self._running.values():
            whole = (now - began) / share if share >= FIRST_SHARE else expected.get(key, usual)
            ahead.append(max(0.0, began + whole - now))
        return total_seconds(ahead, self.jobs)


def _key(cell: Cell) -> Key:
    """What cells have in common that take about as long."""
    return (cell.suite, cell.spec["mechanism"]["name"], cell.spec["variant"])


def total_seconds(seconds: Sequence[float], jobs: int) -> float:
    """Estimated wall-clock seconds of cells that take so long each, some of them at once; no less than the longest."""
    return max(sum(seconds) / max(1, jobs), max(seconds, default=0.0))

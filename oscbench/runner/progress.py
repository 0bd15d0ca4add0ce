"""How a run tells how it goes: tqdm bars on a terminal, plain lines otherwise."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from types import TracebackType
from typing import Any

from tqdm import tqdm

from oscbench.records import Record
from oscbench.runner.cell_spec import Cell

REFRESH_S = 1.0


def headline(record: Record) -> str:
    """`accuracy 0.948`, or the status and its reason."""
    if record.status != "ok":
        return f"{record.status}: {record.reason}"
    measured = record.measures.get(record.metric)
    if measured is None or measured.value is None:
        return "ok"
    return f"{record.metric} {measured.value:.4g}"


class Bars:
    """One bar for the suite, one for each cell in progress, both with the time that is left."""

    def __init__(self, title: str, total: int) -> None:
        # The mean over the whole run, since cells differ and end in bursts; cells in progress count in part, so that
        # there is an estimate before the first one ends.
        shape = "{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total} cells [{elapsed}<{remaining}]"
        self.suite = tqdm(
            total=total,
            desc=title,
            position=0,
            file=sys.stderr,
            dynamic_ncols=True,
            smoothing=0,
            bar_format=shape,
        )
        self.cells: dict[str, Any] = {}
        self._finished = 0
        self._refreshed = time.monotonic()

    def __enter__(self) -> Bars:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for bar in self.cells.values():
            bar.close()
        self.suite.close()

    def started(self, cell: Cell) -> None:
        """A bar for the cell, on the first free line."""
        taken = {-bar.pos for bar in self.cells.values()}
        line = next(i for i in range(1, len(taken) + 2) if i not in taken)
        self.cells[cell.identity] = tqdm(
            desc=f"  {cell.name}",
            unit="step",
            position=line,
            leave=False,
            file=sys.stderr,
            dynamic_ncols=True,
        )

    def progress(self, cell: Cell, done: int, total: int) -> None:
        """Move the cell's bar."""
        bar = self.cells[cell.identity]
        bar.total = total
        bar.update(done - bar.n)
        if time.monotonic() - self._refreshed > REFRESH_S:  # its clock goes on between two cells
            self._move()

    def finished(self, cell: Cell, record: Record, *, reused: bool) -> None:
        """Close the cell's bar and move the suite's."""
        bar = self.cells.pop(cell.identity, None)
        if bar is not None:
            bar.close()
        if record.status != "ok":
            tqdm.write(f"{cell.name}: {headline(record)}", file=sys.stderr)
        if reused:  # what was there already says nothing about the time that is left
            self.suite.total = (self.suite.total or 1) - 1
        else:
            self._finished += 1
        self._move()

    def _move(self) -> None:
        """The suite's bar to where it is now."""
        self._refreshed = time.monotonic()
        parts = sum(bar.n / bar.total for bar in self.cells.values() if bar.total)
        self.suite.n = self._finished + parts
        self.suite.refresh()


class Lines:
    """A line for each cell that ends."""

    def __init__(self, title: str, total: int) -> None:
        self.total, self.done, self.computed = total, 0, 0
        self.start = time.monotonic()
        print(f"{title}: {total} cells", file=sys.stderr, flush=True)

    def __enter__(self) -> Lines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def started(self, cell: Cell) -> None:
        """Nothing to say yet."""

    def progress(self, cell: Cell, done: int, total: int) -> None:
        """Nothing to say yet."""

    def finished(self, cell: Cell, record: Record, *, reused: bool) -> None:
        """`[3/42] kope seed 0: accuracy 0.948 (12.1 s; 0:08:12 left)`."""
        self.done += 1
        self.computed += not reused
        how = "already there" if reused else f"{record.seconds:.1f} s; {self._left()} left"
        text = f"[{self.done}/{self.total}] {cell.name}: {headline(record)} ({how})"
        print(text, file=sys.stderr, flush=True)

    def _left(self) -> str:
        passed = time.monotonic() - self.start
        seconds = passed / max(1, self.computed) * (self.total - self.done)
        return str(timedelta(seconds=round(seconds)))


def reporter(title: str, total: int) -> Bars | Lines:
    """Bars on a terminal, lines otherwise."""
    return Bars(title, total) if sys.stderr.isatty() else Lines(title, total)

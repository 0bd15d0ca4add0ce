"""How a run tells how it goes: tqdm bars on a terminal, plain lines otherwise."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Protocol

from tqdm import tqdm

from oscbench import words
from oscbench.records import Record
from oscbench.runner.cell_spec import Cell
from oscbench.runner.terminal.estimate import Estimate

REFRESH_S = 1.0


def headline(record: Record) -> str:
    """`accuracy 0.948`, on validation where that is all there is, or the status and its reason."""
    if record.status != "ok":
        return f"{record.status}: {record.reason}"
    for name in (record.metric, f"validation_{record.metric}"):
        measured = record.measures.get(name)
        if measured is not None and measured.value is not None:
            return f"{name} {measured.value:.4g}"
    return "ok"


def shown(cell: Cell, title: str) -> str:
    """`kope default seed 0`, with what sets it apart from the other cells of a run: its point, that it is a trial, or a floor."""
    name = f"floor {cell.name}" if cell.spec["kind"] == "floor" else cell.name
    return name if cell.suite == title else f"{cell.suite} {name}"


class Reporter(Protocol):
    """Who is told how it goes."""

    def started(self, cell: Cell) -> None:
        """A cell has started."""

    def progress(self, cell: Cell, done: int, total: int) -> None:
        """A cell has done so many of its steps."""

    def finished(self, cell: Cell, record: Record, *, reused: bool) -> None:
        """A cell has its record: computed now, or found (`reused`)."""


class Bars:
    """One bar for the suite, one for each cell in progress, both with the time that is left."""

    def __init__(self, title: str, total: int, estimate: Estimate) -> None:
        self.title, self.estimate = title, estimate
        # Cells in progress count in part.
        shape = "{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total} cells [{elapsed}{postfix}]"
        self.suite = tqdm(
            total=total,
            desc=title,
            position=0,
            file=sys.stderr,
            dynamic_ncols=True,
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
        self.estimate.started(cell)
        if (
            before := self.cells.pop(cell.identity, None)
        ) is not None:  # what ran it was lost: it begins again
            before.close()
        taken = {-bar.pos for bar in self.cells.values()}
        line = next(i for i in range(1, len(taken) + 2) if i not in taken)
        self.cells[cell.identity] = tqdm(
            desc=f"  {shown(cell, self.title)}",
            unit="step",
            position=line,
            leave=False,
            file=sys.stderr,
            dynamic_ncols=True,
        )

    def progress(self, cell: Cell, done: int, total: int) -> None:
        """Move the cell's bar."""
        self.estimate.progress(cell, done, total)
        bar = self.cells[cell.identity]
        bar.total = total
        bar.update(done - bar.n)
        if time.monotonic() - self._refreshed > REFRESH_S:  # its clock goes on between two cells
            self._move()

    def finished(self, cell: Cell, record: Record, *, reused: bool) -> None:
        """Close the cell's bar, say how it ended, and move the suite's."""
        self.estimate.finished(cell, None if reused else record.seconds)
        bar = self.cells.pop(cell.identity, None)
        if bar is not None:
            bar.close()
        if not reused or record.status != "ok":
            tqdm.write(f"{shown(cell, self.title)}: {headline(record)}", file=sys.stderr)
        if reused:  # what was there already says nothing about the time that is left
            self.suite.total = (self.suite.total or 1) - 1
        else:
            self._finished += 1
        self._move()

    def expect(self, more: int) -> None:
        """So many cells more will run than was known before, or fewer."""
        self.estimate.total += more
        self.suite.total = (self.suite.total or 0) + more

    def _move(self) -> None:
        """The suite's bar to where it is now."""
        self._refreshed = time.monotonic()
        parts = sum(bar.n / bar.total for bar in self.cells.values() if bar.total)
        self.suite.n = self._finished + parts
        left = self.estimate.left()
        told = "" if left is None else f"{timedelta(seconds=round(left))} left"
        self.suite.set_postfix_str(told, refresh=False)
        self.suite.refresh()


class Lines:
    """A line for each cell that ends."""

    def __init__(self, title: str, total: int, estimate: Estimate) -> None:
        self.title, self.total, self.done, self.estimate = title, total, 0, estimate
        print(f"{title}: {words.many(total, 'cell')}", file=sys.stderr, flush=True)

    def __enter__(self) -> Lines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def started(self, cell: Cell) -> None:
        """Note when."""
        self.estimate.started(cell)

    def progress(self, cell: Cell, done: int, total: int) -> None:
        """Note how far."""
        self.estimate.progress(cell, done, total)

    def finished(self, cell: Cell, record: Record, *, reused: bool) -> None:
        """`[3/42] kope seed 0: accuracy 0.948 (12.1 s; 0:08:12 left)`."""
        self.estimate.finished(cell, None if reused else record.seconds)
        self.done += 1
        left = self.estimate.left()
        ahead = "" if left is None else f"; {timedelta(seconds=round(left))} left"
        how = "already there" if reused else f"{record.seconds:.1f} s{ahead}"
        text = f"[{self.done}/{self.total}] {shown(cell, self.title)}: {headline(record)} ({how})"
        print(text, file=sys.stderr, flush=True)

    def expect(self, more: int) -> None:
        """So many cells more will run than was known before, or fewer."""
        self.total += more
        self.estimate.total += more


def reporter(title: str, total: int, cells: Sequence[Cell] = (), jobs: int = 1) -> Bars | Lines:
    """Bars on a terminal, lines otherwise.

    Args:
        title: the label that most cells have; others are told with theirs.
        total: cells.
        cells: those that are known beforehand; a search learns of its own as it goes.
        jobs: cells at once.
    """
    estimate = Estimate(total, cells, jobs)
    return Bars(title, total, estimate) if sys.stderr.isatty() else Lines(title, total, estimate)

"""Reporters: where else a run says what came out, beside its records. A file here is one; its last line names the class.

Installed packages add theirs through the entry points `oscbench.reporters`. A reporter is given every record as its cell ends: curves by
step, measures, and the resolved spec. None is ever needed, and one that fails costs its own words alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from oscbench import catalog
from oscbench.errors import UserError, kind_and_line
from oscbench.records import Record
from oscbench.runner.cell_spec import Cell
from oscbench.runner.terminal.progress import Reporter

PROJECT = "oscbench"


class RecordReporter(Protocol):
    """Tells one service of records.

    Attributes:
        package: what must be installed, as pip calls it.
    """

    package: str

    def __init__(self, folder: Path) -> None:
        """Begin.

        Args:
            folder: of its own, for files that stay on this machine; made by whoever writes into it.

        Raises:
            ImportError: the package is not there.
        """

    def told(self, record: Record) -> None:
        """A cell has ended, well or not."""

    def close(self) -> None:
        """The run has ended."""


class RecordReporters:
    """All that a run was asked for; what goes wrong in one is said once, and then it is left alone."""

    def __init__(self, names: Iterable[str], results: Path, tell: Callable[[str], None]) -> None:
        self.tell = tell
        self.running = {name: _made(name, results / ".reporters" / name) for name in dict.fromkeys(names)}

    def told(self, record: Record) -> None:
        """Tell every one."""
        for name, reporter in list(self.running.items()):
            self._guarded(name, partial(reporter.told, record))

    def close(self) -> None:
        """End every one."""
        for name, reporter in list(self.running.items()):
            self._guarded(name, reporter.close)

    def _guarded(self, name: str, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:  # a service is not worth a run
            self.running.pop(name, None)
            self.tell(f"--log {name}: {kind_and_line(error)}; it is told nothing more")


@dataclass(frozen=True)
class Telling:
    """What a run tells of its progress, with every record that it makes told to the reporters too."""

    shown: Reporter
    reporters: RecordReporters

    def started(self, cell: Cell) -> None:
        """Passed on."""
        self.shown.started(cell)

    def progress(self, cell: Cell, done: int, total: int) -> None:
        """Passed on."""
        self.shown.progress(cell, done, total)

    def finished(self, cell: Cell, record: Record, *, reused: bool) -> None:
        """Passed on, and told unless it was there already."""
        self.shown.finished(cell, record, reused=reused)
        if not reused:
            self.reporters.told(record)


def reporter_class(name: str) -> Any:
    """A reporter's class by its name in the catalog.

    Raises:
        UserError: there is none of this name.
    """
    try:
        return catalog.load("reporters", name)
    except catalog.UnknownNameError as error:
        raise UserError(f"--log: {error}") from error


def _made(name: str, folder: Path) -> RecordReporter:
    known = reporter_class(name)
    try:
        made: RecordReporter = known(folder)
    except ImportError as error:
        package = getattr(known, "package", name)
        raise UserError(f"--log {name}: needs the package {package}: pip install {package}") from error
    return made


def name_of(record: Record) -> str:
    """`kope-default-seed0-3f2a9c1b`: unique in a suite."""
    return f"{record.mechanism}-{record.variant}-seed{record.seed}-{record.identity[:8]}".replace(":", ".")


def settings_of(record: Record) -> dict[str, str | int | float | bool]:
    """The resolved spec by path, `train.learning_rate` -> 0.001; lists as text."""
    return dict(_flat(record.spec, ""))


def _flat(value: Any, path: str) -> Iterator[tuple[str, str | int | float | bool]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value if isinstance(value, str | int | float | bool) else str(value)


def results_of(record: Record) -> dict[str, float]:
    """Every measure that has a finite value."""
    values = {name: one.value for name, one in record.measures.items()}
    return {
        name: float(value) for name, value in values.items() if value is not None and math.isfinite(value)
    }


def curves_of(record: Record) -> list[tuple[int, dict[str, float]]]:
    """All curves by step, in order: (step, name -> value)."""
    steps: dict[int, dict[str, float]] = {}
    for name, curve in record.curves.items():
        for x, y in zip(curve.x, curve.y, strict=True):
            if math.isfinite(y):
                steps.setdefault(round(x), {})[name] = y
    return sorted(steps.items())

"""What a pool of cells keeps count of: who waits for which cells, what waits for a place, and what runs."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime

from oscbench.records import Record
from oscbench.runner.cell_spec import Cell
from oscbench.runner.executors import Needs, Place
from oscbench.runner.matched_times import Request

Flow = Generator[list[Cell], list[Record], None]


@dataclass
class Batch:
    """Cells that a flow waits for."""

    flow: Flow
    records: list[Record | None]
    left: int


@dataclass
class Wanted:
    """A cell that somebody waits for, or a measurement (`request`), with what it needs and how often its machine was lost."""

    cell: Cell
    needs: Needs
    batch: Batch | None = None
    index: int = 0
    request: Request | None = None
    losses: int = 0
    refusals: int = 0


@dataclass
class Running:
    """A cell that was given to an executor: where it runs, the lock that it is held under, and when it was heard of."""

    wanted: Wanted
    place: Place
    lock: ExitStack
    started: datetime
    heard: float | None = None
    began: float | None = None
    missed: float | None = None
    weights: bytes | None = None

"""Matching by time before the cells of a run start: one measurement at a time, with no cell of this run beside it.

What was measured is kept in the results folder by request and machine, so that all seeds, a run that goes on tomorrow and a
second run on the same folder train one model; its content is copied into every record.
"""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError

from oscbench.models.matching import Matched
from oscbench.records import Store
from oscbench.records.identity import digest
from oscbench.runner.cell_spec import Cell
from oscbench.runner.executors.local import FINAL, modules, start_server
from oscbench.runner.training.match_time import machine
from oscbench.runner.training.specs import request_key, time_requests
from oscbench.runner.worker import kill, measure_for

Measure = Callable[[Cell], dict[str, Any] | None]


_MATCHED = TypeAdapter(Matched)


class NothingMeasuredError(Exception):
    """The measuring process ended without a result; the cells will find out why for themselves."""


def in_a_process(cell: Cell) -> dict[str, Any] | None:
    """Measure for a cell in a process of its own; None where it breaks."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(modules([cell]))
    start_server()
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=measure_for, args=(cell, theirs), daemon=True)
    process.start()
    theirs.close()
    found: dict[str, Any] | None = None
    try:
        with contextlib.suppress(EOFError, OSError):
            found = ours.recv()
    finally:
        kill(process)
        ours.close()
    return found


@dataclass
class Measurements:
    """What a run measures before its cells.

    Attributes:
        store: where it is kept.
        anew: what is kept there already is measured again, once in this run.
        measure: how.
    """

    store: Store
    anew: bool = False
    measure: Measure = in_a_process
    _known: dict[str, dict[str, Any]] = field(default_factory=dict)

    def given_to(self, cells: list[Cell]) -> list[Cell]:
        """The cells, with the measurements that those have to build on which still have to run."""
        return [
            self._with(cell) if time_requests(cell.spec) and not self._done(cell) else cell for cell in cells
        ]

    def _with(self, cell: Cell) -> Cell:
        keys = []
        for request in time_requests(cell.spec):
            key = request_key(request)
            if key not in self._known:
                found = self._shared(replace(cell, spec=request, measured=dict(self._known)), key)
                if found is None:
                    break
                self._known[key] = found
            keys.append(key)
        return replace(cell, measured={key: self._known[key] for key in keys})

    def _shared(self, cell: Cell, key: str) -> dict[str, Any] | None:
        place = digest({"request": key, "machine": machine(torch.device(cell.spec["device"]))})
        if self.anew:
            self.store.forget(place)

        def make() -> dict[str, Any]:
            found = self.measure(cell)
            if found is None:
                raise NothingMeasuredError
            return found

        try:
            return self.store.once(place, make, _usable)
        except NothingMeasuredError:
            return None

    def _done(self, cell: Cell) -> bool:
        found = self.store.find(cell.suite, cell.identity, tidy=False)
        return found is not None and found.status in FINAL


def _usable(found: Any) -> bool:
    """Whether a file that was kept holds a matching, or why there is none."""
    if isinstance(found.get("impossible"), str):
        return True
    try:
        _MATCHED.validate_python(found)
    except ValidationError:
        return False
    return True

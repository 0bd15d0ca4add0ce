"""Matching by time before a cell starts: measured once for all seeds, on a machine like the cell's, with nothing beside it.

What was measured is kept in the results folder by request and kind of machine, so that all seeds, a run that goes on tomorrow and a
second run on the same folder train one model; its content is copied into every record.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from oscbench.models.matching import Matched
from oscbench.records import Store
from oscbench.records.identity import digest
from oscbench.runner.cell_spec import Cell
from oscbench.runner.training.specs import request_key, time_requests

_MATCHED = TypeAdapter(Matched)


@dataclass(frozen=True)
class Request:
    """A measurement that is to be made.

    Attributes:
        cell: says what to measure, and holds what has to be known before.
        key: where it is kept, by request and kind of machine.
    """

    cell: Cell
    key: str


@dataclass
class Measurements:
    """What a run has measured.

    Attributes:
        store: where it is kept.
        anew: what is kept there already is measured again, once in this run.
    """

    store: Store
    anew: bool = False
    _known: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    _forgotten: set[str] = field(default_factory=set)

    def lacking(self, cell: Cell, nature: dict[str, Any]) -> Request | None:
        """What has to be measured next before a cell can start on a machine of this nature; None where nothing has.

        What broke is not measured again in this run: the cell will find out why for itself, and leave a record that says so.
        """
        known: dict[str, dict[str, Any]] = {}
        for spec in time_requests(cell.spec):
            key = _key(spec, nature)
            if key not in self._known:
                return Request(replace(cell, spec=spec, measured=known), key)
            found = self._known[key]
            if found is None:
                return None
            known[request_key(spec)] = found
        return None

    def given_to(self, cell: Cell, nature: dict[str, Any]) -> Cell:
        """The cell with what was measured for it."""
        measured: dict[str, dict[str, Any]] = {}
        for spec in time_requests(cell.spec):
            found = self._known.get(_key(spec, nature))
            if found is None:
                break
            measured[request_key(spec)] = found
        return replace(cell, measured=measured) if measured else cell

    def found(self, request: Request) -> bool:
        """Whether somebody has measured it already; then it is known from now on."""
        if self.anew and request.key not in self._forgotten:
            self._forgotten.add(request.key)
            return False
        kept = self.store.shared(request.key, _usable)
        if kept is not None:
            self._known[request.key] = kept
        return kept is not None

    def take(self, request: Request, found: dict[str, Any] | None) -> None:
        """It was measured, or broke (None)."""
        if found is not None:
            self.store.share(request.key, found)
        self._known[request.key] = found


def _key(spec: dict[str, Any], nature: dict[str, Any]) -> str:
    return digest({"request": request_key(spec), "machine": nature})


def _usable(found: Any) -> bool:
    """Whether a file that was kept holds a matching, or why there is none."""
    if isinstance(found.get("impossible"), str):
        return True
    try:
        _MATCHED.validate_python(found)
    except ValidationError:
        return False
    return True

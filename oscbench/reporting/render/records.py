"""records.html beside the report: every cell with its values and the file that holds them, so that a number leads to its record."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from oscbench import words
from oscbench.analysis.frame import Loaded, headline, value_of
from oscbench.analysis.growth import is_timing
from oscbench.analysis.selection import Entry, anchor_of, entry_of
from oscbench.records import Record, Store
from oscbench.reporting.page.table import Cell

FILE = "records.html"
_COSTS = ("params", "flops", "training_s")


@dataclass(frozen=True)
class RecordRow:
    """One cell as it is shown: its values, and the address of its file seen from the page."""

    name: str
    values: tuple[Cell, ...]
    status: str
    identity: str
    address: str | None


@dataclass(frozen=True)
class RecordGroup:
    """The cells of one entry in one suite and task; its anchor is what tables link to."""

    anchor: str
    title: str
    metric: str
    rows: tuple[RecordRow, ...]


def record_groups(
    loaded: Loaded, names: dict[Entry, str], results: Path, output: Path
) -> tuple[RecordGroup, ...]:
    """All cells, grouped by suite, task and entry."""
    files = _files(results, output)
    groups: dict[str, list[Record]] = {}
    for record in loaded.records:
        groups.setdefault(anchor_of(record), []).append(record)
    store = Store(results)
    return tuple(
        RecordGroup(
            anchor,
            _title(cells[0], names),
            words.capitalised(_label(cells)),
            tuple(_row(record, files.get(store.path_of(record).name)) for record in cells),
        )
        for anchor, cells in groups.items()
    )


def _title(record: Record, names: dict[Entry, str]) -> str:
    title = words.capitalised(f"{record.task_label} ({record.suite})")
    return title if is_timing(record) else f"{title}: {names.get(entry_of(record), str(entry_of(record)))}"


def _files(results: Path, output: Path) -> dict[str, str]:
    """File name -> the address of what holds it, seen from the output folder; a name that stands twice leads nowhere."""
    found: dict[str, str | None] = {}
    for name, path in Store(results).holders():
        address = quote(os.fsencode(os.path.relpath(path.resolve(), output.resolve()).replace(os.sep, "/")))
        found[name] = None if name in found else address
    return {name: address for name, address in found.items() if address is not None}


def _label(cells: Sequence[Record]) -> str:
    return next((r.measures[r.metric].label for r in cells if r.metric in r.measures), cells[0].metric)


def _row(record: Record, address: str | None) -> RecordRow:
    metric = record.measures.get(record.metric)
    shown = [(headline(record), metric.unit if metric else "1")]
    shown += [(value_of(record, n), record.measures[n].unit if n in record.measures else "1") for n in _COSTS]
    values = tuple(Cell(words.quantity(v, unit, 5), v if v == v else None) for v, unit in shown)
    status = record.status if record.reason is None else f"{record.status}: {record.reason}"
    name = f"{record.mechanism}:{record.variant}, seed {record.seed}"
    return RecordRow(name, values, status, record.identity, address)

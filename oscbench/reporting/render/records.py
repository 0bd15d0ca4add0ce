"""records.html beside the report: every cell with its values and the file that holds them, so that a number leads to its record."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from oscbench import words
from oscbench.analysis.costs.growth import is_timing
from oscbench.analysis.frame import Loaded, headline, value_of
from oscbench.analysis.selection import Entry, anchor_of, entry_of
from oscbench.records import Record, Store
from oscbench.reporting.page.blocks import Page, Part
from oscbench.reporting.page.table import Cell, Reads, Table, number_cell
from oscbench.roles import quantities

FILE = "records.html"


def records_page(
    loaded: Loaded,
    trials: Sequence[Record],
    names: Mapping[Entry, str],
    results: Path,
    output: Path,
    title: str,
) -> Page:
    """All cells, grouped by suite, task and entry; the anchor of a group is what tables link to.

    Args:
        loaded: The records of the report.
        trials: Those of searches before them.
        names: Of entries, for people.
        results: Where the records were read.
        output: Where the page is written, from which the records are linked to.
        title: Of the report.
    """
    files = _files(results, output)
    groups: dict[str, list[Record]] = {}
    for record in (*loaded.records, *trials):
        groups.setdefault(anchor_of(record), []).append(record)
    store = Store(results)

    def address(record: Record) -> str | None:
        return files.get(store.path_of(record).name)

    parts = tuple(
        Part(anchor, _title(cells[0], names), (_table(anchor, cells, address),))
        for anchor, cells in groups.items()
    )
    about = (
        "One row a cell; the identity is the hash of everything that was asked, and the row leads to the file that holds the record, where "
        "that lies where it was read."
    )
    return Page(FILE, f"Records behind {title}", (about,), parts, ("index.html", "the report"))


def _table(anchor: str, cells: Sequence[Record], address: Callable[[Record], str | None]) -> Table:
    def number(name: str) -> Callable[[Record], Cell]:
        return lambda r: number_cell(
            value_of(r, name), r.measures[name].unit if name in r.measures else "1", 5
        )

    columns: list[Reads[Record]] = [
        Reads("Cell", lambda r: f"{r.mechanism}:{r.variant}, seed {r.seed}", "left"),
        Reads(words.capitalised(_label(cells)), lambda r: number_cell(headline(r), _unit(r), 5)),
        *(Reads(one.role["column"], number(one.name)) for one in quantities("column")),
        Reads("Status", lambda r: r.status if r.reason is None else f"{r.status}: {r.reason}", "left"),
        Reads("Record", lambda r: r.identity, "left"),
    ]
    return Table.of(f"records-{anchor}", "", columns, cells, lambda r: {}, address)


def _unit(record: Record) -> str:
    metric = record.measures.get(record.metric)
    return metric.unit if metric else "1"


def _title(record: Record, names: Mapping[Entry, str]) -> str:
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

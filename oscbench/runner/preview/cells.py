"""A dry run: what would run, how large it is, and how long a timed step says it would take."""

from __future__ import annotations

from dataclasses import replace

from oscbench.records import Store
from oscbench.runner.cell_spec import FINAL, Cell
from oscbench.runner.kind import Preview
from oscbench.runner.kinds import kind_of


def preview(cells: list[Cell], store: Store) -> list[Preview]:
    """Sizes and estimates; each mechanism and variant is built and timed once."""
    measured: dict[tuple[str, str], Preview] = {}
    found = []
    for cell in cells:
        key = (cell.spec["mechanism"]["name"], cell.spec["variant"])
        if key not in measured:
            measured[key] = kind_of(cell.spec).preview(cell)
        record = store.find(cell.suite, cell.identity, tidy=False)
        there = record is not None and record.status in FINAL
        found.append(replace(measured[key], cell=cell, there=there))
    return found

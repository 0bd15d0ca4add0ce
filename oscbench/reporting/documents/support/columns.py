"""Tables of a page that reports draw too, by the same columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from oscbench.reporting.documents import table
from oscbench.reporting.page.table import Cell, Reads


def table_of(columns: Sequence[Reads[Any]], items: Sequence[Any], numbers: int = 0) -> str:
    """A row an item, read by a report's columns, of which the last `numbers` hold numbers."""
    rows = [[_text(column.read(one)) for column in columns] for one in items]
    return table([column.heading for column in columns], rows, numbers)


def _text(shown: Cell | str) -> str:
    return shown.text if isinstance(shown, Cell) else shown

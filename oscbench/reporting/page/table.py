"""Tables: each has display text for the page and raw numbers for its CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from oscbench import words


class Column(NamedTuple):
    """A column's heading and which side its text keeps to."""

    heading: str
    align: Literal["left", "right"] = "right"


class Cell(NamedTuple):
    """What is shown, and the number it is sorted by (None sorts by the text)."""

    text: str
    value: float | None = None


@dataclass(frozen=True)
class Table:
    """One table; `raw` are the rows of its CSV, numbers at full precision in the units of the records.

    `links` are anchors in records.html, one a row, where the row is about some records; `heads` the same, one a column.
    """

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    raw: tuple[Mapping[str, Any], ...]
    links: tuple[str | None, ...] = ()
    heads: tuple[str | None, ...] = ()

    def link(self, row: int, column: int) -> str | None:
        """Where the number in a cell comes from, as an anchor in records.html."""
        if row < len(self.links):
            return self.links[row]
        return self.heads[column] if column < len(self.heads) else None

    def csv(self) -> str:
        """The raw rows as CSV; missing and undefined values are empty."""
        fields = list(dict.fromkeys(key for row in self.raw for key in row))
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, fields, restval="", lineterminator="\n")
        writer.writeheader()
        for row in self.raw:
            writer.writerow({key: _blank(value) for key, value in row.items()})
        return buffer.getvalue()


def _blank(value: Any) -> Any:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else value


def number_cell(value: float, unit: str, digits: int = 3) -> Cell:
    """A value with its unit, sorted by the value."""
    return Cell(words.quantity(value, unit, digits), value if math.isfinite(value) else None)

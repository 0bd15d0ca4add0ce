"""Tables: each has display text for the page and raw numbers for its CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

from oscbench import words

Row = TypeVar("Row")
Lines = Mapping[str, Any] | Iterable[Mapping[str, Any]]
"""What a row of a table is in its CSV: one line, or several."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a text begins that a spreadsheet takes for a formula."""
LINE = "\u2028"
"""Parts the lines of a cell."""


class Bar(NamedTuple):
    """A mean with its interval on an axis that all rows of a column share; ends in the same unit."""

    low: float
    mean: float
    high: float
    ends: tuple[float, float]


class Column(NamedTuple):
    """A column's heading, which side its text keeps to, and an anchor in records.html where it is about some records."""

    heading: str
    align: Literal["left", "right"] = "right"
    link: str | None = None


class Cell(NamedTuple):
    """What is shown, and the number it is sorted by (None sorts by the text); lines of a text are parted by `LINE`."""

    text: str
    value: float | None = None
    bar: Bar | None = None


@dataclass(frozen=True)
class Reads(Generic[Row]):
    """A column of a table that is made from rows of one kind: `Column`, and how it reads a row and writes it."""

    heading: str
    read: Callable[[Row], Cell | str]
    align: Literal["left", "right"] = "right"
    link: str | None = None


@dataclass(frozen=True)
class Table:
    """One table; `raw` are the rows of its CSV, numbers at full precision in the units of the records.

    `links` are anchors in records.html or addresses of pages, one a row, where the row is about some records.
    """

    kind: ClassVar[str] = "table"
    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    raw: tuple[Mapping[str, Any], ...]
    links: tuple[str | None, ...] = ()

    @classmethod
    def of(
        cls,
        name: str,
        caption: str,
        columns: Iterable[Reads[Row]],
        rows: Iterable[Row],
        raw: Callable[[Row], Lines] | None = None,
        link: Callable[[Row], str | None] | None = None,
    ) -> Table:
        """A table from its columns and the things that its rows are about, each of which is a line of the CSV, or several."""
        reads, items = list(columns), list(rows)
        return cls(
            name,
            caption,
            tuple(Column(one.heading, one.align, one.link) for one in reads),
            tuple(tuple(_cell(one.read(item)) for one in reads) for item in items),
            tuple(line for item in items for line in _lines(raw(item))) if raw else (),
            tuple(link(item) for item in items) if link else (),
        )

    @property
    def size(self) -> int:
        """How many cells it has."""
        return len(self.rows) * len(self.columns)

    def link(self, row: int, column: int) -> str | None:
        """Where the number in a cell comes from, as an anchor in records.html."""
        if row < len(self.links):
            return self.links[row]
        return self.columns[column].link

    def csv(self) -> str:
        """The raw rows as CSV; missing and undefined values are empty."""
        fields = list(dict.fromkeys(key for row in self.raw for key in row))
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, fields, restval="", lineterminator="\n")
        writer.writeheader()
        for row in self.raw:
            writer.writerow({key: no_formula(_blank(value)) for key, value in row.items()})
        return buffer.getvalue()


def _cell(found: Cell | str) -> Cell:
    return found if isinstance(found, Cell) else Cell(found)


def _lines(found: Lines) -> Iterable[Mapping[str, Any]]:
    return (found,) if isinstance(found, Mapping) else found


def no_formula(value: Any) -> Any:
    """A text as a spreadsheet shows it instead of computing it: the apostrophe in front is the spreadsheets' own sign for that."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _blank(value: Any) -> Any:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else value


def count_cell(count: int) -> Cell:
    """A whole number, sorted by itself."""
    return Cell(str(count), float(count))


def number_cell(value: float, unit: str, digits: int = 3) -> Cell:
    """A value with its unit, sorted by the value."""
    return Cell(words.quantity(value, unit, digits), value if math.isfinite(value) else None)


def sorted_by(text: str, value: float) -> Cell:
    """A text that is sorted by a number, unless that is undefined."""
    return Cell(text, None if math.isnan(value) else value)

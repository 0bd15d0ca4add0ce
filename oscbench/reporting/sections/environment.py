"""The environments that the cells ran in."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from oscbench import words
from oscbench.records import Record
from oscbench.reporting.page.table import Cell, Column, Table


def environment_table(records: Sequence[Record]) -> Table:
    """Each property of the environments behind the records, with how many cells had each value."""
    counts: dict[str, Counter[str]] = {}
    for record in records:
        for key, value in _flat(record.environment):
            counts.setdefault(key, Counter())[value] += 1
    rows, raw = [], []
    for key in sorted(counts):
        common = counts[key].most_common()
        alone = len(common) == 1 and common[0][1] == len(records)
        rows.append((Cell(key), Cell(common[0][0] if alone else _several(common))))
        raw += [{"property": key, "value": value, "cells": count} for value, count in common]
    columns = (Column("Property", "left"), Column("Value", "left"))
    return Table("environment", "Environments that the cells ran in", columns, tuple(rows), tuple(raw))


def _several(common: Sequence[tuple[str, int]]) -> str:
    """Distinct values with their number of cells; many numbers as a range."""
    if len(common) <= 4:
        return "; ".join(f"{value} ({count} cells)" for value, count in common)
    try:
        numbers = [float(value) for value, _ in common]
    except ValueError:
        first = "; ".join(f"{value} ({count} cells)" for value, count in common[:4])
        return f"{first}; and {len(common) - 4} more"
    return f"{words.significant(min(numbers))} to {words.significant(max(numbers))}"


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _flat(environment: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in environment.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", _plain(value)))
    return found

"""The longer tables: every measure, health of each layer, failures and environments."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from oscbench import words
from oscbench.analysis.experiment import Section
from oscbench.analysis.statistics import summarise_censored
from oscbench.records import Measurement, Record
from oscbench.reporting.tables import (
    Cell,
    Column,
    Table,
    anchor,
    anchor_of,
    identify,
    measure_label,
    number_cell,
)


def measures_table(section: Section) -> Table | None:
    """Every measure of every entry, median over finished cells, with the reason where there is none."""
    names = sorted({name for s in section.standings for r in s.finished for name in r.measures})
    if not names:
        return None
    columns = (Column("Measure", "left"), *(Column(s.name) for s in section.standings))
    rows, raw = [], []
    for name in names:
        label = measure_label(section, name)
        found = [[r.measures[name] for r in s.finished if name in r.measures] for s in section.standings]
        rows.append((Cell(label), *map(_measure_cell, found)))
        for standing, measurements in zip(section.standings, found, strict=True):
            if measurements:
                raw.append(
                    identify(section, standing)
                    | {"measure": name, "label": label}
                    | _measure_raw(measurements)
                )
    caption = "Every measure, median over finished cells"
    heads = (None, *(anchor(s) for s in section.standings))
    return Table(f"{section.slug}-measures", caption, columns, tuple(rows), tuple(raw), heads=heads)


def _measure_cell(measurements: Sequence[Measurement]) -> Cell:
    if not measurements:
        return Cell("")
    values = [float(m.value) for m in measurements if m.value is not None]
    unit = measurements[0].unit
    if any("censored_at" in m.details for m in measurements):
        censored = summarise_censored([math.nan if m.value is None else float(m.value) for m in measurements])
        middle = (
            words.quantity(censored.median, unit)
            if math.isfinite(censored.median)
            else "never by the median run"
        )
        return Cell(f"{middle} ({censored.reached}/{censored.n} reached it)", censored.median)
    if not values:
        reasons = sorted({m.reason for m in measurements if m.reason})
        return Cell(f"{words.MISSING}: {reasons[0]}" if reasons else words.MISSING)
    method = "" if all(m.method in ("measured", "computed") for m in measurements) else " (estimated)"
    cell = number_cell(float(np.median(values)), unit)
    few = f" ({len(values)}/{len(measurements)})" if len(values) < len(measurements) else ""
    return Cell(f"{cell.text}{method}{few}", cell.value)


def _measure_raw(measurements: Sequence[Measurement]) -> dict[str, Any]:
    values = np.array([float(m.value) for m in measurements if m.value is not None])
    return {
        "unit": measurements[0].unit,
        "direction": measurements[0].direction,
        "method": ", ".join(sorted({m.method for m in measurements})),
        "cells": len(measurements),
        "with_value": len(values),
        "median": float(np.median(values)) if len(values) else None,
        "mean": float(values.mean()) if len(values) else None,
        "std": float(values.std(ddof=1)) if len(values) > 1 else None,
        "reason": "; ".join(sorted({m.reason for m in measurements if m.reason})),
    }


def health_table(section: Section) -> Table | None:
    """Diagnostics per entry, layer and moment, mean over finished cells."""
    grid = health_means(section)
    if not grid:
        return None
    quantities = sorted({quantity for quantity, *_ in grid})
    keys = sorted({(name, layer) for _, name, layer, _ in grid})
    columns = (
        Column("Mechanism", "left"),
        Column("Layer"),
        *(Column(f"{q}, start → end") for q in quantities),
    )
    rows, raw = [], []
    for name, layer in keys:
        cells = []
        for quantity in quantities:
            start, end = (grid.get((quantity, name, layer, when)) for when in ("start", "end"))
            shown = [words.MISSING if v is None else words.significant(v) for v in (start, end)]
            cells.append(Cell("" if start is None and end is None else " → ".join(shown), end))
            raw += [
                {"suite": section.suite, "task": section.task, "protocol": section.protocol, "entry": name}
                | {"layer": layer, "when": when, "quantity": quantity, "mean": value}
                for when, value in (("start", start), ("end", end))
                if value is not None
            ]
        rows.append((Cell(name), Cell(str(layer), float(layer)), *cells))
    caption = "Health of each layer at the start and at the end of training, mean over finished cells"
    return Table(f"{section.slug}-health", caption, columns, tuple(rows), tuple(raw))


def health_means(section: Section) -> dict[tuple[str, str, int, str], float]:
    """(quantity, entry name, layer, start or end) -> mean over finished cells.

    Non-finite diagnostics are left out.
    """
    values: dict[tuple[str, str, int, str], list[float]] = {}
    for standing in section.standings:
        for record in standing.finished:
            for row in record.health:
                for quantity, value in row.quantities.items():
                    if math.isfinite(value):
                        values.setdefault((quantity, standing.name, row.layer, row.when), []).append(value)
    return {key: float(np.mean(found)) for key, found in values.items()}


def failures_table(section: Section) -> Table | None:
    """Every cell that did not end well, and why."""
    failed = section.failures
    if not failed:
        return None
    columns = (Column("Cell", "left"), Column("Status", "left"), Column("Reason", "left"))
    rows = tuple(
        (
            Cell(f"{r.mechanism}:{r.variant}, seed {r.seed}"),
            Cell(r.status),
            Cell(r.reason or "no reason recorded"),
        )
        for r in failed
    )
    raw: tuple[dict[str, Any], ...] = tuple(
        {"suite": r.suite, "task": r.task, "mechanism": r.mechanism, "variant": r.variant}
        | {"seed": r.seed, "status": r.status, "reason": r.reason, "identity": r.identity}
        for r in failed
    )
    return Table(
        f"{section.slug}-failures",
        "Cells that did not finish",
        columns,
        rows,
        raw,
        tuple(map(anchor_of, failed)),
    )


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

"""Records to one tidy table: one row a cell, one column a measure, nothing lost and nothing made up."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from oscbench.analysis import choices
from oscbench.analysis.costs.growth import is_timing
from oscbench.errors import ReportError, nearest
from oscbench.records import Damaged, Record, ResultsError, Store, suite_name
from oscbench.records.asked import is_asked
from oscbench.records.ledger import is_trial
from oscbench.roles import quantities

KEY = ("suite", "task", "mechanism", "variant", "seed")

MEASURED = tuple(one.name for one in quantities("basis"))
"""Measures that have columns of their own before all others, in every table."""

FIXED_COLUMNS = (
    "suite",
    "cell",
    "task",
    "mechanism",
    "variant",
    "seed",
    "status",
    "device",
    *MEASURED,
    "metric",
    "value",
    "seconds",
    "unit",
    "direction",
    "label",
    "reason",
    "flags",
    "protocol",
    "identity",
    "data_hash",
    "matching_by",
    "matching_reference",
    "matching_residual",
    "hidden",
    "position",
    "learning_rate",
    "settings",
    "chosen",
    "searched",
    "versions",
    "commit",
    "dirty",
    "started_utc",
    "finished_utc",
)


@dataclass(frozen=True)
class Loaded:
    """What a results folder holds for the suites asked for.

    Attributes:
        records: The current record of each cell, in a stable order: what its suite asked for when it last ran here, else the newest.
        superseded: Other records of those cells.
        damaged: Files that are no records, and why.
        folder: Where all was read, which ledgers of searches lie in too; None for records from elsewhere.
    """

    records: tuple[Record, ...]
    superseded: tuple[Record, ...]
    damaged: tuple[Damaged, ...]
    folder: Path | None = None


def cell_key(record: Record) -> tuple[str, str, str, str, int]:
    """What is unique in a suite."""
    return (record.suite, record.task, record.mechanism, record.variant, record.seed)


def load(results: Path, suites: Sequence[str] = ()) -> Loaded:
    """Read the records of some suites, or of all where none is named.

    A plain name (`smoke`) takes every label with that name (`smoke`, `smoke[train.epochs=3]`); a label with
    brackets takes itself only, and so do the trials of a search (`smoke[tune]`), which nobody gets without asking.

    Raises:
        ReportError: the folder is missing, holds no record, or a suite is unknown in it.
    """
    store = Store(results)
    try:
        records, damaged = store.read_all()
    except ResultsError as error:
        raise ReportError(str(error)) from error
    if not records:
        bad = f" ({len(damaged)} damaged: {damaged[0].path}: {damaged[0].reason})" if damaged else ""
        raise ReportError(f"{results}: no records{bad}; run a suite first")
    labels = {record.suite for record in records}
    wanted: set[str] = set()
    for name in suites:
        found = {
            label for label in labels if name == label or (name == suite_name(label) and not is_trial(label))
        }
        if not found:
            known = labels | {suite_name(label) for label in labels}
            raise ReportError(f'suite "{name}" has no records in {results}; {nearest(name, known)}')
        wanted |= found
    chosen = [r for r in records if (r.suite in wanted if suites else not is_trial(r.suite))]
    if not chosen:
        raise ReportError(
            f"{results}: trials of a search only; run the suite to its end, or name one of {sorted(labels)}"
        )
    current, superseded = newest(chosen, is_asked(store))
    return Loaded(current, superseded, tuple(damaged), results)


def newest(
    records: Iterable[Record], asked: Callable[[Record], bool] = lambda record: False
) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    """The record of each cell that was last asked for, else the newest, and the others.

    Ties fall to the greater identity, so that order is no matter.

    Args:
        records: of any suites.
        asked: whether a record is what its suite asked for when it last ran.
    """
    ordered = sorted(records, key=lambda record: (asked(record), record.finished_utc, record.identity))
    current: dict[tuple[str, str, str, str, int, str], Record] = {}
    superseded: list[Record] = []
    for record in ordered:
        # A time is of its device, and another device's takes nothing of it.
        key = (*cell_key(record), record.device if is_timing(record) else "")
        older = current.get(key)
        if older is not None:
            superseded.append(older)
        current[key] = record
    return tuple(current[key] for key in sorted(current)), tuple(sorted(superseded, key=cell_key))


def headline(record: Record) -> float:
    """The value of a record's headline metric; NaN where the cell has none or did not finish."""
    return value_of(record, record.metric) if record.status == "ok" else math.nan


def value_of(record: Record, measure: str) -> float:
    """One measure of a record in its own unit, NaN where it is absent or null."""
    measurement = record.measures.get(measure)
    if measurement is None or measurement.value is None:
        return math.nan
    return float(measurement.value)


def _row(record: Record) -> dict[str, Any]:
    metric = record.measures.get(record.metric)
    matching = record.matching
    row: dict[str, Any] = {
        "suite": record.suite,
        "cell": f"{record.task}/{record.mechanism}:{record.variant}/seed{record.seed}",
        "task": record.task,
        "mechanism": record.mechanism,
        "variant": record.variant,
        "seed": record.seed,
        "status": record.status,
        "device": record.device,
        **{name: _raw(record, name) for name in MEASURED},
        "metric": record.metric,
        "value": _raw(record, record.metric),
        "seconds": record.seconds,
        "unit": metric.unit if metric else None,
        "direction": metric.direction if metric else None,
        "label": record.card.label,
        "reason": record.reason,
        "flags": "; ".join(record.flags),
        "protocol": record.protocol,
        "identity": record.identity,
        "data_hash": record.data_hash,
        "matching_by": matching.by if matching else None,
        "matching_reference": matching.reference if matching else None,
        "matching_residual": matching.residual if matching else None,
        "hidden": matching.hidden if matching else None,
        "position": choices.position_of(record),
        "learning_rate": choices.rate_of(record),
        "settings": _json(choices.settings_of(record)),
        "chosen": _json(choices.chosen_of(record)),
        "searched": ", ".join(choices.searched_of(record)),
        "versions": _json(record.versions),
        "commit": record.commit,
        "dirty": record.dirty,
        "started_utc": record.started_utc.isoformat(),
        "finished_utc": record.finished_utc.isoformat(),
    }
    for name in record.measures:
        if name not in MEASURED:
            row[measure_column(name)] = _raw(record, name)
    return row


def _json(given: Mapping[str, Any]) -> str:
    return json.dumps(given, sort_keys=True, ensure_ascii=False, default=str)


def measure_column(name: str) -> str:
    """The column of a measure.

    Its own name, with `measure_` before it where a fixed column has that name already.
    """
    return f"measure_{name}" if name in FIXED_COLUMNS and name not in MEASURED else name


def _raw(record: Record, measure: str) -> float | int | None:
    measurement = record.measures.get(measure)
    return None if measurement is None else measurement.value


def tidy(records: Sequence[Record]) -> pd.DataFrame:
    """One row a cell, in the order given; whole numbers stay whole, absent values are missing and never 0.

    Raises:
        ReportError: two rows share suite, task, mechanism, variant and seed.
    """
    rows = [_row(record) for record in records]
    measures = sorted({name for row in rows for name in row} - set(FIXED_COLUMNS))
    frame = pd.DataFrame(
        {name: _column([row.get(name) for row in rows]) for name in (*FIXED_COLUMNS, *measures)}
    )
    twice = frame.duplicated(list(KEY))
    if twice.any():
        raise ReportError(f"two records of one cell: {frame['cell'][twice].iloc[0]}")
    return frame


def _column(values: list[Any]) -> pd.Series[Any]:
    present = [value for value in values if value is not None]
    if present and all(isinstance(value, bool) for value in present):
        return pd.Series(values, dtype="boolean")
    if present and all(isinstance(value, int) for value in present):
        return pd.Series(values, dtype="Int64")
    if all(isinstance(value, int | float) for value in present) and present:
        return pd.Series([math.nan if value is None else float(value) for value in values], dtype="float64")
    return pd.Series(values, dtype="object")

"""The tidy table as csv, json or parquet, at full precision."""

from __future__ import annotations

import importlib.util
import io
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from oscbench.analysis.frame import load, tidy
from oscbench.errors import ReportError, nearest
from oscbench.reporting.page.table import no_formula

FORMATS = ("csv", "json", "parquet")


def export_frame(
    results: Path, suites: Sequence[str] = (), format: str = "csv", output: Path | None = None
) -> None:
    """Write one tidy row a cell to a file, or to standard output where `output` is None.

    Args:
        results: Folder of records.
        suites: Names or labels of suites; all when empty.
        format: `csv`, `json` (a list of objects; missing and non-finite values are null) or `parquet`.
        output: File to write.

    Raises:
        ReportError: unknown format or suite, no records, parquet without pyarrow, or a file that cannot
            be written.
    """
    data = encode(tidy(load(results, suites).records), format)
    if output is None:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    if output.is_file() and output.suffix.lower() != f".{format}":
        raise ReportError(
            f"{output}: is there already, and its name is none of {format}; choose another --output"
        )
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_bytes(data)
    except OSError as error:
        raise ReportError(f"{output}: cannot be written ({error.strerror})") from error


def encode(frame: pd.DataFrame, format: str) -> bytes:
    """The bytes of a tidy table in one of `FORMATS`.

    Raises:
        ReportError: unknown format, or parquet without pyarrow.
    """
    if format not in FORMATS:
        raise ReportError(f'export format "{format}" is unknown; {nearest(format, FORMATS)}')
    if format == "csv":
        return frame.map(no_formula).rename(columns=no_formula).to_csv(index=False).encode()
    if format == "json":
        return _json(frame)
    if importlib.util.find_spec("pyarrow") is None:
        raise ReportError('parquet needs pyarrow: pip install "oscbench[parquet]", or export csv or json')
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False, engine="pyarrow")
    return buffer.getvalue()


def _json(frame: pd.DataFrame) -> bytes:
    names = [str(name) for name in frame.columns]
    rows = [
        dict(zip(names, map(_plain, row), strict=True)) for row in frame.itertuples(index=False, name=None)
    ]
    return (json.dumps(rows, indent=1, allow_nan=False) + "\n").encode()


def _plain(value: Any) -> Any:
    if value is None or value is pd.NA:
        return None
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value

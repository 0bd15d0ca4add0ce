"""What each layer did while it trained, as one tidy table: the curves that records keep of single layers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import pandas as pd

from oscbench.analysis.selection import entry_of
from oscbench.records import Curve, Record

COLUMNS = ("suite", "task", "entry", "seed", "quantity", "layer", "step", "value")


def layer_curves(record: Record) -> Iterator[tuple[str, Curve]]:
    """What was followed of single layers while a cell trained: quantity and curve, which says its layer."""
    for name, curve in record.curves.items():
        if curve.layer is not None:
            yield name.rpartition("/")[0], curve


def dynamics(records: Iterable[Record]) -> pd.DataFrame:
    """One row a cell, quantity, layer (from 0) and optimiser step; values that are no numbers are left out.

    Empty, with its columns, where no suite listed the measure `training_dynamics`.
    """
    rows = [
        (
            record.suite,
            record.task_label,
            str(entry_of(record)),
            record.seed,
            quantity,
            curve.layer,
            x,
            y,
        )
        for record in records
        for quantity, curve in layer_curves(record)
        for x, y in zip(curve.x, curve.y, strict=True)
        if math.isfinite(y)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))

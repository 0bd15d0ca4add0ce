"""What each layer did while it trained, as one tidy table: the curves that records keep of single layers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pandas as pd

from oscbench.analysis.selection import entry_of
from oscbench.records import Curve, Record

CONCENTRATION, SYNCHRONY = "gini", "weighted_synchrony"
"""Of KoPE's figure 6, by the names that curves give them."""
LEAST_WAY = 0.01
"""A quantity between 0 and 1 that never goes farther from its start than this has not moved."""
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


def half_way(steps: Sequence[float], values: Sequence[float]) -> float:
    """The step at which a quantity had first gone half of its way: from its start to where it was farthest from it.

    Between two looks it is taken to move evenly with the logarithm of the step.

    Args:
        steps: at which one looked, rising; the first is the start, where nothing was trained.
        values: what was seen there.

    Returns:
        A step from the first to the last; NaN where it never was `LEAST_WAY` from its start.
    """
    way = np.abs(np.asarray(values, dtype=np.float64) - values[0])
    if not way.max() >= LEAST_WAY:
        return math.nan
    at = int(np.argmax(way >= way.max() / 2.0))
    share = (way.max() / 2.0 - way[at - 1]) / (way[at] - way[at - 1])
    before, after = np.log2(np.maximum(np.asarray(steps[at - 1 : at + 1], dtype=np.float64), 1.0))
    return float(2.0 ** (before + share * (after - before)))


def half_ways(table: pd.DataFrame) -> pd.DataFrame:
    """When attention concentrated and synchrony rose, one row an entry, layer and seed.

    Args:
        table: of `dynamics`.

    Returns:
        Columns `CONCENTRATION` and `SYNCHRONY`, the steps at which they had gone half of their way (`half_way`), and `later`, by how many
        doublings of the step synchrony was there later. NaN where one was not followed, or never moved.
    """
    ordered = table[table["quantity"].isin([CONCENTRATION, SYNCHRONY])].sort_values("step")
    found = ordered.groupby(["entry", "layer", "seed", "quantity"])[["step", "value"]].apply(
        lambda of: half_way(of["step"].tolist(), of["value"].tolist())
    )
    steps = found.unstack("quantity").reindex(columns=[CONCENTRATION, SYNCHRONY])
    return steps.assign(later=np.log2(steps[SYNCHRONY]) - np.log2(steps[CONCENTRATION]))

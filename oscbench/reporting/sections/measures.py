"""Every measure of every entry."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from oscbench import words
from oscbench.analysis.experiment import Experiment, Standing, anchor, identify, measure_label
from oscbench.analysis.study import Study
from oscbench.records import Measurement
from oscbench.reporting.page.blocks import SUITE, Block, Folded, per_experiment
from oscbench.reporting.page.table import Cell, Reads, Table, number_cell


def measures_table(experiment: Experiment) -> Table | None:
    """Every measure of every entry, median over finished cells, with the reason where there is none."""
    names = sorted({name for s in experiment.standings for r in s.finished for name in r.measures})
    if not names:
        return None
    label = partial(measure_label, experiment)

    def raw(name: str) -> list[dict[str, Any]]:
        about = {"measure": name, "label": label(name)}
        return [
            identify(experiment, standing) | about | _measure_raw(found)
            for standing in experiment.standings
            if (found := _measured(standing, name))
        ]

    columns = [
        Reads("Measure", label, "left"),
        *(Reads(s.name, partial(_measure_cell, s), link=anchor(s)) for s in experiment.standings),
    ]
    caption = "Every measure, median over finished cells"
    return Table.of(f"{experiment.slug}-measures", caption, columns, names, raw)


def _measured(standing: Standing, name: str) -> list[Measurement]:
    return [r.measures[name] for r in standing.finished if name in r.measures]


def _measure_cell(standing: Standing, name: str) -> Cell:
    measurements = _measured(standing, name)
    if not measurements:
        return Cell("")
    values = [float(m.value) for m in measurements if m.value is not None]
    unit = measurements[0].unit
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


class Measures:
    """Every measure of every mechanism."""

    title = "Every measure"
    rank = 80
    page = SUITE

    def blocks(self, study: Study) -> list[Block]:
        """A table behind a fold."""
        return per_experiment(study, self._of)

    def _of(self, experiment: Experiment) -> list[Block]:
        table = measures_table(experiment)
        return [Folded("Every measure of every mechanism", (table,))] if table else []


section = Measures

"""Tables of the report: each has display text for the page and raw numbers for its CSV."""

from __future__ import annotations

import math
from typing import Any

from oscbench import words
from oscbench.analysis.comparison import SPEED_MEASURES, Comparison
from oscbench.analysis.experiment import Experiment, Standing, anchor, identify, measure_label, median_of
from oscbench.analysis.statistics import Interval
from oscbench.reporting.page.comparisons import comparison_numbers, comparison_rows
from oscbench.reporting.page.table import Cell, Column, Table, number_cell


def results_table(experiment: Experiment) -> Table:
    """Every entry: the headline metric over its seeds, what it cost, and its health flags."""
    from_ten = any(s.summary and s.summary.bca for s in experiment.standings)
    speed = next(
        (m for m in SPEED_MEASURES if any(m in r.measures for s in experiment.standings for r in s.cells)),
        None,
    )
    columns = [
        Column("Mechanism", "left"),
        Column(f"{experiment.metric_label}, mean ± 95 %"),
        *([Column("BCa 95 %")] if from_ten else []),
        Column("Median"),
        Column("IQM"),
        Column("Std"),
        Column("Seeds"),
        Column("Parameters"),
        Column("FLOPs"),
        *([Column(measure_label(experiment, speed))] if speed else []),
        Column("Health flags", "left"),
    ]
    rows, raw = [], []
    for standing in experiment.standings:
        costs = [(m, *median_of(standing, m)) for m in ("params", "flops", *([speed] if speed else []))]
        middle = _summary_cells(experiment, standing, from_ten)
        rows.append(
            (
                Cell(_named(standing)),
                *middle,
                *(number_cell(value, unit, 4) for _, value, unit in costs),
                Cell("; ".join(standing.flags) or "none"),
            )
        )
        raw.append(
            identify(experiment, standing)
            | _summary_raw(experiment, standing)
            | {f"{measure}_median": value for measure, value, _ in costs}
            | {"flags": "; ".join(standing.flags)}
        )
    caption = f"{experiment.metric_label} over seeds; ± is half the 95 % t interval of the mean"
    if experiment.direction in ("higher", "lower"):
        caption += f"; {experiment.direction} is better"
    return Table(
        f"{experiment.slug}-results", caption, tuple(columns), tuple(rows), tuple(raw), _anchors(experiment)
    )


def _anchors(experiment: Experiment) -> tuple[str, ...]:
    return tuple(anchor(standing) for standing in experiment.standings)


def _named(standing: Standing) -> str:
    """The label, and the name to type where that is another word."""
    same = standing.label.casefold() == standing.name.casefold()
    return standing.label if same else f"{standing.label} ({standing.name})"


def _summary_cells(experiment: Experiment, standing: Standing, from_ten: bool) -> list[Cell]:
    summary, unit = standing.summary, experiment.unit
    seeds = Cell(f"{len(standing.finished)}/{len(standing.cells)}", float(len(standing.finished)))
    if summary is None:
        return [
            Cell("no finished cell"),
            *([Cell("")] if from_ten else []),
            Cell(""),
            Cell(""),
            Cell(""),
            seeds,
        ]
    half = words.half_width(summary.interval.low, summary.interval.high, unit)
    mean = words.quantity(summary.mean, unit)
    shown = f"{mean} {half}".strip() if half else f"{mean} (one seed)"
    bca = [Cell(_plain_interval(summary.bca, unit))] if from_ten else []
    return [
        Cell(shown, summary.mean),
        *bca,
        number_cell(summary.median, unit),
        number_cell(summary.iqm, unit),
        Cell(words.spread(summary.std, unit), None if math.isnan(summary.std) else summary.std),
        seeds,
    ]


def _plain_interval(interval: Interval | None, unit: str) -> str:
    if interval is None or not interval.exists:
        return "none"
    return f"[{words.quantity(interval.low, unit)}, {words.quantity(interval.high, unit)}]"


def _summary_raw(experiment: Experiment, standing: Standing) -> dict[str, Any]:
    summary = standing.summary
    raw: dict[str, Any] = {
        "metric": experiment.metric,
        "unit": experiment.unit,
        "cells": len(standing.cells),
        "finished": len(standing.finished),
    }
    if summary is not None:
        raw |= {"mean": summary.mean, "median": summary.median, "iqm": summary.iqm, "std": summary.std}
        raw |= {"t_low": summary.interval.low, "t_high": summary.interval.high}
        raw |= {"bca_low": summary.bca.low, "bca_high": summary.bca.high} if summary.bca else {}
    return raw


def comparisons_table(experiment: Experiment) -> Table | None:
    """Every comparison of a section with its effect, interval, test and cost.

    Refused and missing ones too.
    """
    if not experiment.comparisons:
        return None
    columns, rows = comparison_rows(experiment.comparisons)
    raw = tuple(_comparison_raw(experiment, comparison) for comparison in experiment.comparisons)
    caption = f"Differences by seed in {experiment.metric_label}{words.in_unit(experiment.unit)}"
    links = {s.entry: anchor(s) for s in experiment.standings}
    to = tuple(links.get(comparison.pair.treatment) for comparison in experiment.comparisons)
    return Table(f"{experiment.slug}-comparisons", caption, columns, rows, raw, to)


def _comparison_raw(experiment: Experiment, comparison: Comparison) -> dict[str, Any]:
    place = {"suite": experiment.suite, "task": experiment.task, "protocol": experiment.protocol}
    return place | {"metric": experiment.metric} | comparison_numbers(comparison)

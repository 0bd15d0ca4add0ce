"""A score with its interval: as text, and as a bar on an axis that all rows share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from oscbench import words
from oscbench.analysis.experiment import Experiment, Standing, identify, values_of
from oscbench.analysis.statistics.seeds import Summary, mean_interval
from oscbench.reporting.page.figure import focus
from oscbench.reporting.page.table import Bar, Cell, number_cell


def score_cell(summary: Summary, unit: str, ends: tuple[float, float] | None) -> Cell:
    """`92.1 % ± 0.4`, with a bar where the axis has two ends."""
    low, high = summary.interval.low, summary.interval.high
    half, mean = words.half_width(low, high, unit), words.quantity(summary.mean, unit)
    bar = Bar(low, summary.mean, high, ends) if ends and summary.interval.exists else None
    return Cell(f"{mean} {half}".strip() if half else f"{mean} (one seed)", summary.mean, bar)


def mean_cell(values: Sequence[float], unit: str) -> Cell:
    """`92.1 % ± 0.4`: the mean over seeds with half its 95 % t interval, which one seed has not."""
    mean, ends = float(np.mean(values)), mean_interval(values)
    return Cell(f"{words.quantity(mean, unit)} {words.half_width(ends.low, ends.high, unit)}".strip(), mean)


def fraction_cell(measure: str, standing: Standing) -> Cell:
    """The mean over finished cells of a measure that is a share."""
    values = values_of(standing, measure)
    return number_cell(float(np.mean(values)), "fraction") if values else Cell(words.MISSING)


def means_raw(
    experiment: Experiment, measures: Sequence[str], standings: Sequence[Standing]
) -> list[dict[str, Any]]:
    """A line of a CSV for each entry and measure that it has: the mean, and over how many cells."""
    return [
        identify(experiment, s) | {"measure": name, "mean": float(np.mean(values)), "cells": len(values)}
        for s in standings
        for name in measures
        if (values := values_of(s, name))
    ]


def score_axis(standings: Sequence[Standing], direction: str) -> tuple[float, float] | None:
    """Ends that hold every interval but those of outliers; None where there are fewer than two."""
    found = [s.summary.interval for s in standings if s.summary and s.summary.interval.exists]
    if len(found) < 2:
        return None
    rows = [np.array([one.low, one.high]) for one in found]
    # An outlier must not press all others into one point; its own bar stands at the end.
    low, high = focus(rows, direction) or (float(np.min(rows)), float(np.max(rows)))
    return (low, high) if high > low else None

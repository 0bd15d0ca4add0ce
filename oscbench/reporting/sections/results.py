"""Tables of the report: each has display text for the page and raw numbers for its CSV."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from oscbench import words
from oscbench.analysis.experiment import (
    Experiment,
    Standing,
    anchor,
    identify,
    measure_label,
    median_of,
    speed_measure,
)
from oscbench.analysis.statistics.seeds import Interval, Summary
from oscbench.analysis.study import Study
from oscbench.reporting.page.blocks import SUITE, Block, Folded, per_experiment
from oscbench.reporting.page.comparisons import comparison_table
from oscbench.reporting.page.scores import score_axis, score_cell
from oscbench.reporting.page.table import Cell, Reads, Table, number_cell, sorted_by
from oscbench.roles import quantities


def results_table(experiment: Experiment) -> Table:
    """Every entry: the headline metric over its seeds, what it cost, and its health flags."""
    speed = speed_measure(experiment)
    costs = [*(one.name for one in quantities("basis")), *([speed] if speed else [])]
    caption = f"{experiment.metric_label} over seeds; ± is half the 95 % t interval of the mean"
    if experiment.direction in ("higher", "lower"):
        caption += f"; {experiment.direction} is better"

    def raw(standing: Standing) -> dict[str, Any]:
        medians = {f"{name}_median": median_of(standing, name)[0] for name in costs}
        about = identify(experiment, standing) | _summary_raw(experiment, standing)
        return about | medians | {"flags": "; ".join(standing.flags)}

    columns = [*_scores(experiment), *(_cost(experiment, name) for name in costs)]
    if any(standing.flags for standing in experiment.standings):
        columns.append(Reads("Health flags", lambda s: "; ".join(s.flags) or "none", "left"))
    return Table.of(f"{experiment.slug}-results", caption, columns, experiment.standings, raw, anchor)


def _scores(experiment: Experiment) -> list[Reads[Standing]]:
    """The columns of the headline metric."""
    unit = experiment.unit

    def of(show: Callable[[Summary], Cell], without: str = "") -> Callable[[Standing], Cell]:
        return lambda s: show(s.summary) if s.summary else Cell(without)

    bca: list[Reads[Standing]] = [Reads("BCa 95 %", of(lambda s: Cell(_plain_interval(s.bca, unit))))]
    from_ten = any(s.summary and s.summary.bca for s in experiment.standings)
    ends = score_axis(experiment.standings, experiment.direction)
    return [
        Reads("Mechanism", lambda s: s.name, "left"),
        Reads(
            f"{experiment.metric_label}, mean ± 95 %",
            of(lambda s: score_cell(s, unit, ends), "no finished cell"),
        ),
        *(bca if from_ten else []),
        Reads("Median", of(lambda s: number_cell(s.median, unit))),
        Reads("IQM", of(lambda s: number_cell(s.iqm, unit))),
        Reads("Std", of(lambda s: sorted_by(words.spread(s.std, unit), s.std))),
        Reads("Seeds", lambda s: Cell(f"{len(s.finished)}/{len(s.cells)}", float(len(s.finished)))),
    ]


def _cost(experiment: Experiment, measure: str) -> Reads[Standing]:
    short = {one.name: one.role["column"] for one in quantities("basis")}
    heading = short.get(measure) or measure_label(experiment, measure)
    return Reads(heading, lambda s: number_cell(*median_of(s, measure), 4))


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
    """Every comparison of an experiment with its effect, interval, test and cost.

    Refused and missing ones too.
    """
    if not experiment.comparisons:
        return None
    caption = f"Differences by seed in {experiment.metric_label}{words.in_unit(experiment.unit)}"
    links = {s.entry: anchor(s) for s in experiment.standings}
    place = {"suite": experiment.suite, "task": experiment.task, "protocol": experiment.protocol}
    return comparison_table(
        f"{experiment.slug}-comparisons",
        caption,
        experiment.comparisons,
        place | {"metric": experiment.metric},
        lambda c: links.get(c.pair.treatment),
    )


class Results:
    """Every entry of every experiment, and its comparisons with all their numbers."""

    title = "Results"
    rank = 32
    page = SUITE

    def blocks(self, study: Study) -> list[Block]:
        """The scores, and behind a fold what was compared."""
        return per_experiment(study, self._of)

    def _of(self, experiment: Experiment) -> list[Block]:
        compared = comparisons_table(experiment)
        return [
            results_table(experiment),
            *([Folded("Every comparison with all its numbers", (compared,))] if compared else []),
        ]


section = Results

"""What quality cost: steps, seconds, FLOPs and joules until a target was reached."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from oscbench import words
from oscbench.analysis.costs.targets import spent_to_target, steps_to_target
from oscbench.analysis.experiment import Experiment, Standing, anchor, identify
from oscbench.analysis.frame import value_of
from oscbench.analysis.statistics.seeds import Censored, mean_interval, summarise_censored
from oscbench.analysis.study import Study
from oscbench.records import Record
from oscbench.reporting.page.blocks import SUITE, Block, per_experiment
from oscbench.reporting.page.table import Cell, Reads, Table
from oscbench.roles import quantities

NEAR = 0.05
"""A target is so near to what the reference reaches."""


def target_of(experiment: Experiment) -> tuple[float, str] | None:
    """The level that costs are counted to, and how it was chosen; None without a reference or a validation curve.

    It is within 5 % of the best validation that the reference reaches in its median run.
    """
    name = f"validation_{experiment.metric}"
    standing = _reference(experiment)
    if standing is None:
        return None
    best = min if experiment.direction == "lower" else max
    middle = float(
        np.median([best(filter(math.isfinite, r.curves[name].y)) for r in _with_curve(standing, name)])
    )
    slack = abs(middle) * NEAR
    level = middle + slack if experiment.direction == "lower" else middle - slack
    return (
        level,
        f"within 5 % of the best validation of {standing.name}'s median run ({words.quantity(middle, experiment.unit, 4)})",
    )


def _with_curve(standing: Standing, name: str) -> list[Record]:
    return [r for r in standing.finished if name in r.curves and any(map(math.isfinite, r.curves[name].y))]


def _reference(experiment: Experiment) -> Standing | None:
    """The entry that the others were matched to; None where none has a validation curve."""
    references = {
        r.matching.reference
        for s in experiment.standings
        for r in s.finished
        if r.matching and r.matching.reference and not r.matching.control
    }
    for standing in experiment.standings:
        control = any(r.matching and r.matching.control for r in standing.finished)
        named = references & {standing.entry.mechanism, str(standing.entry)}
        if named and not control and _with_curve(standing, f"validation_{experiment.metric}"):
            return standing
    return None


def targets_table(experiment: Experiment, asked: Sequence[float] = ()) -> Table | None:
    """Steps, seconds, FLOPs and joules until validation first reaches each target; runs that never do are censored.

    Args:
        experiment: Its entries with their validation curves.
        asked: Levels in the metric's unit; by default one near the reference's best. Above 1 none is meant for a fraction.
    """
    chosen = target_of(experiment)
    asked = [level for level in asked if experiment.unit != "fraction" or level <= 1]
    if asked:
        levels, how = tuple(asked), "as asked for"
    elif chosen is not None:
        levels, how = (chosen[0],), chosen[1]
    if not (asked or chosen) or experiment.direction not in ("higher", "lower"):
        return None
    name = f"validation_{experiment.metric}"
    reference = _reference(experiment)
    efforts = [
        _Effort(level, standing, cells, _spent(cells, name, level))
        for level in levels
        for standing in experiment.standings
        if (cells := [r for r in standing.finished if name in r.curves])
    ]
    caption = (
        f'What it took until validation first reached a target, {how}: medians over runs, column by column; "never" where half of '
        "them did not. Resolution: the steps between two validations; seconds, FLOPs and joules are steps times those of a "
        "step, an estimate"
    )
    if reference is not None:
        caption += (
            f". Steps over {reference.name}'s: geometric mean over paired seeds with 95 % t interval of its logarithm, where all of them "
            "got there"
        )
    columns = _columns(experiment, reference, name)
    table = Table.of(
        f"{experiment.slug}-target",
        caption,
        columns,
        efforts,
        partial(_raw, experiment),
        lambda one: anchor(one.standing),
    )
    return table if efforts else None


class _Effort(NamedTuple):
    """What the runs of an entry with a curve spent until a level: `spent` has the values of each run by what was spent."""

    level: float
    standing: Standing
    cells: Sequence[Record]
    spent: Mapping[str, Sequence[float]]

    @property
    def steps(self) -> Censored:
        return summarise_censored(self.spent["steps"])

    def median(self, measure: str) -> Cell:
        """Of a measure; nothing where some cell has no value of it, or one that says nothing of the steps that it took."""
        units = [r.measures[measure].unit for r in self.cells if measure in r.measures]
        took = zip(self.spent["steps"], self.spent[measure], strict=True)
        known = all(math.isfinite(value_of(r, measure)) for r in self.cells) and not any(
            math.isfinite(steps) and math.isnan(spent) for steps, spent in took
        )
        return _median(self.spent[measure], (units or ["1"])[0]) if known else Cell(words.MISSING)


def _columns(experiment: Experiment, reference: Standing | None, curve: str) -> list[Reads[_Effort]]:
    sign = "≤" if experiment.direction == "lower" else "≥"
    found: list[Reads[_Effort]] = [
        Reads(
            "Target", lambda e: Cell(f"{sign} {words.quantity(e.level, experiment.unit, 4)}", e.level), "left"
        ),
        Reads("Mechanism", lambda e: e.standing.name, "left"),
        Reads("Reached it", lambda e: Cell(f"{e.steps.reached}/{e.steps.n}", float(e.steps.reached))),
        Reads("Steps", lambda e: _median(e.spent["steps"], "1")),
        Reads("Quartiles", lambda e: words.reached_between(e.steps.low_quartile, e.steps.high_quartile)),
    ]
    if reference is not None:
        found.append(Reads(f"Over {reference.name}'s", partial(_over, reference, curve)))
    return found + [
        Reads(one.role["a_step"], partial(_Effort.median, measure=one.name)) for one in quantities("a_step")
    ]


def _raw(experiment: Experiment, effort: _Effort) -> list[dict[str, Any]]:
    """A line a run."""
    about = identify(experiment, effort.standing)
    return [
        about
        | {"seed": record.seed, "target": effort.level}
        | {name: values[place] for name, values in effort.spent.items()}
        for place, record in enumerate(effort.cells)
    ]


def _spent(cells: Sequence[Record], curve: str, level: float) -> dict[str, list[float]]:
    """Steps of every run until the level, and what was spent on them; NaN where it never got there."""
    return {
        "steps": [_or_nan(steps_to_target(r.curves[curve], level)) for r in cells],
        **{
            one.name: [_or_nan(spent_to_target(r, curve, level, one.name).value) for r in cells]
            for one in quantities("a_step")
        },
    }


def _over(reference: Standing, curve: str, effort: _Effort) -> Cell:
    """Steps over the reference's at the same seeds; nothing where a run of either never got there."""
    if effort.standing is reference:
        return Cell("1")
    first, second = (
        {r.seed: steps_to_target(r.curves[curve], effort.level) for r in side}
        for side in (effort.cells, _with_curve(reference, curve))
    )
    pairs = [(first[seed], second[seed]) for seed in sorted(first.keys() & second.keys())]
    ratios = [a / b for a, b in pairs if a and b]
    if not ratios or len(ratios) < len(pairs):
        return Cell(words.MISSING)
    logs = np.log(ratios)
    ends, middle = mean_interval(logs), math.exp(float(logs.mean()))
    interval = f" [{math.exp(ends.low):.2f}, {math.exp(ends.high):.2f}]" if ends.exists else ""
    return Cell(f"{words.times(middle)}{interval}", middle)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _median(values: Sequence[float], unit: str) -> Cell:
    middle = summarise_censored(values).median
    return Cell(words.quantity(middle, unit), middle) if math.isfinite(middle) else Cell("never", math.inf)


class Targets:
    """Steps, seconds, FLOPs and joules until validation first reached a level."""

    title = "What it took to reach a target"
    rank = 65
    page = SUITE

    def blocks(self, study: Study) -> list[Block]:
        """A table an experiment that has a level to reach."""

        def of(experiment: Experiment) -> list[Block]:
            table = targets_table(experiment, study.targets)
            return [table] if table else []

        return per_experiment(study, of)


section = Targets

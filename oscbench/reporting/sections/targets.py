"""What quality cost: energy where a counter could be read, and what it took to get to a target."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from oscbench import words
from oscbench.analysis.costs.targets import spent_to_target, steps_to_target
from oscbench.analysis.experiment import Experiment, Standing, anchor, identify
from oscbench.analysis.frame import value_of
from oscbench.analysis.roles import quantities
from oscbench.analysis.statistics.seeds import mean_interval, summarise_censored
from oscbench.analysis.study import Study
from oscbench.records import Record
from oscbench.reporting.page.blocks import SUITE, Block, per_experiment
from oscbench.reporting.page.table import Cell, Column, Table

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
    middle = float(np.median([best(r.curves[name].y) for r in _with_curve(standing, name)]))
    slack = abs(middle) * NEAR
    level = middle + slack if experiment.direction == "lower" else middle - slack
    return (
        level,
        f"within 5 % of the best validation of {standing.name}'s median run ({words.quantity(middle, experiment.unit, 4)})",
    )


def _with_curve(standing: Standing, name: str) -> list[Record]:
    return [r for r in standing.finished if name in r.curves and r.curves[name].y]


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
        asked: Levels in the metric's unit; by default one near the reference's best.
    """
    chosen = target_of(experiment)
    if asked:
        levels, how = tuple(asked), "as asked for"
    elif chosen is not None:
        levels, how = (chosen[0],), chosen[1]
    if not (asked or chosen) or experiment.direction not in ("higher", "lower"):
        return None
    name = f"validation_{experiment.metric}"
    standings = [s for s in experiment.standings if any(name in r.curves for r in s.finished)]
    sign = "≤" if experiment.direction == "lower" else "≥"
    reference = _reference(experiment)
    rows, raw, links = [], [], []
    for level in levels:
        shown_level = Cell(f"{sign} {words.quantity(level, experiment.unit, 4)}", level)
        for standing in standings:
            cells = [r for r in standing.finished if name in r.curves]
            spent = _spent(cells, name, level)
            over = None
            if reference is not None:
                others = _with_curve(reference, name)
                over = Cell("1") if standing is reference else _over(cells, others, name, level)
            rows.append((shown_level, Cell(standing.name), *_effort_cells(cells, spent, over)))
            raw += [
                identify(experiment, standing)
                | {"seed": r.seed, "target": level}
                | {k: v[i] for k, v in spent.items()}
                for i, r in enumerate(cells)
            ]
            links.append(anchor(standing))
    caption = (
        f"What it took until validation first reached a target, {how}: median over runs, each column by itself, and never where half of "
        "them did not get there. Known to the steps between two validations; seconds, FLOPs and joules are steps times those of a "
        "step, an estimate"
    )
    headings = ["Reached it", "Steps", "Quartiles", *(one.role["a_step"] for one in quantities("a_step"))]
    if reference is not None:
        caption += (
            f". Steps over {reference.name}'s: geometric mean over paired seeds with 95 % t interval of its logarithm, where all of them "
            "got there"
        )
        headings.insert(3, f"Over {reference.name}'s")
    columns = (
        Column("Target", "left"),
        Column("Mechanism", "left"),
        *(Column(heading) for heading in headings),
    )
    return (
        Table(f"{experiment.slug}-target", caption, columns, tuple(rows), tuple(raw), tuple(links))
        if rows
        else None
    )


def _spent(cells: Sequence[Record], curve: str, level: float) -> dict[str, list[float]]:
    """Steps of every run until the level, and what was spent on them; NaN where it never got there."""
    return {
        "steps": [_or_nan(steps_to_target(r.curves[curve], level)) for r in cells],
        **{
            one.name: [_or_nan(spent_to_target(r, curve, level, one.name).value) for r in cells]
            for one in quantities("a_step")
        },
    }


def _over(cells: Sequence[Record], others: Sequence[Record], curve: str, level: float) -> Cell:
    """Steps over those of the others at the same seeds; nothing where a run of either never got there."""
    first, second = (
        {r.seed: steps_to_target(r.curves[curve], level) for r in side} for side in (cells, others)
    )
    pairs = [(first[seed], second[seed]) for seed in sorted(first.keys() & second.keys())]
    ratios = [a / b for a, b in pairs if a and b]
    if not ratios or len(ratios) < len(pairs):
        return Cell(words.MISSING)
    logs = np.log(ratios)
    ends, middle = mean_interval(logs), math.exp(float(logs.mean()))
    interval = f" [{math.exp(ends.low):.2f}, {math.exp(ends.high):.2f}]" if ends.exists else ""
    return Cell(f"{words.times(middle)}{interval}", middle)


def _effort_cells(
    cells: Sequence[Record], spent: dict[str, list[float]], over: Cell | None
) -> tuple[Cell, ...]:
    steps = summarise_censored(spent["steps"])
    return (
        Cell(f"{steps.reached}/{steps.n}", float(steps.reached)),
        _median(spent["steps"], "1", True),
        Cell(words.reached_between(steps.low_quartile, steps.high_quartile)),
        *([] if over is None else [over]),
        *(_median(spent[one.name], *_known(cells, one.name)) for one in quantities("a_step")),
    )


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _known(cells: Sequence[Record], measure: str) -> tuple[str, bool]:
    """The unit of a measure, and whether every cell has a value of it."""
    units = [r.measures[measure].unit for r in cells if measure in r.measures]
    return (units or ["1"])[0], all(math.isfinite(value_of(r, measure)) for r in cells)


def _median(values: Sequence[float], unit: str, known: bool) -> Cell:
    if not known:
        return Cell(words.MISSING)
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

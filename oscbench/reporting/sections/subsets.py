"""The headline metric in parts: on subsets of the test split, and on inputs longer than those of training."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from oscbench import words
from oscbench.analysis.experiment import Experiment, Standing, anchor, identify, values_of
from oscbench.analysis.published.matches import sources
from oscbench.analysis.statistics.seeds import mean_interval
from oscbench.analysis.study import Study
from oscbench.records import Measurement
from oscbench.reporting.page.blocks import SUITE, Block, Heading, per_experiment
from oscbench.reporting.page.table import Cell, Reads, Table

_LENGTH = re.compile(r"_at_(\d+)x$")
_THOUGHT = re.compile(r"_loops_\d+$|_vote_\w+$")
"""What the section on more time to think shows."""


def subsets_table(experiment: Experiment) -> Table | None:
    """The metric on each subset, `<metric>_<subset>` in the records; None where the task has none."""
    prefix = f"{experiment.metric}_"
    names = [
        n
        for n in _names(experiment)
        if n.startswith(prefix) and not _LENGTH.search(n) and not _THOUGHT.search(n)
    ]
    headings = {n: words.capitalised(n.removeprefix(prefix).replace("_", " ")) for n in names}
    caption = f"{experiment.metric_label} on parts of the test split, mean ± 95 % t interval over seeds"
    if not names:
        return None
    failures = [
        _failures(f"Seeds below {words.quantity(level, 'fraction', 2)} in {headings[name]}", name, level)
        for name in names
        if (level := _failure_level(experiment, name)) is not None
    ]
    return _table(experiment, "subsets", {experiment.metric: "All", **headings}, caption, failures)


def _failure_level(experiment: Experiment, name: str) -> float | None:
    """Below which a paper of this task calls a seed failed in this part, so that every entry is counted as its own are."""
    answers, _ = sources()
    for rule in answers.rules:
        if rule.task == experiment.task and rule.failures_below is not None and name in rule.measures:
            return rule.failures_below
    return None


def _failures(heading: str, name: str, level: float) -> Reads[Standing]:
    """A column that says how many seeds fail, diverged ones among them."""

    def read(standing: Standing) -> Cell:
        values, _ = _found(standing, name)
        lost = sum(record.status == "diverged" for record in standing.cells)
        failed = sum(value < level for value in values) + lost
        return Cell(f"{failed} of {len(values) + lost}", float(failed))

    return Reads(heading, read)


def lengths_table(experiment: Experiment) -> Table | None:
    """The metric on inputs 1, 2, 4, … times as long as in training; what a mechanism refuses stands there with its reason."""
    found = {
        n: int(m[1])
        for n in _names(experiment)
        if n.startswith(experiment.metric) and (m := _LENGTH.search(n))
    }
    headings = {n: f"{found[n]}{words.TIMES} as long" for n in sorted(found, key=lambda n: found[n])}
    caption = f"{experiment.metric_label} on inputs longer than in training, without training further; mean ± 95 % t interval over seeds"
    return _table(experiment, "lengths", headings, caption) if found else None


def _names(experiment: Experiment) -> list[str]:
    names = {name for s in experiment.standings for r in s.finished for name in r.measures}
    return sorted(names, key=_counted)


def _counted(name: str) -> list[str | float]:
    """So that 2 pairs come before 16, and 0.01 before 0.1."""
    parts = re.split(r"(\d+(?:\.\d+)?)", name)
    return [float(part) if place % 2 else part for place, part in enumerate(parts)]


def _table(
    experiment: Experiment,
    kind: str,
    headings: Mapping[str, str],
    caption: str,
    more: Iterable[Reads[Standing]] = (),
) -> Table:
    """A row an entry with a finished cell, a column a measure, and whatever is added to the right of them."""
    columns = [
        Reads[Standing]("Mechanism", lambda s: s.name, "left"),
        *(
            Reads(f"{text}{_items(experiment, name)}", partial(_cell, name))
            for name, text in headings.items()
        ),
        *more,
    ]

    def raw(standing: Standing) -> list[dict[str, Any]]:
        return [identify(experiment, standing) | _raw(standing, name) for name in headings]

    shown = [standing for standing in experiment.standings if standing.finished]
    return Table.of(f"{experiment.slug}-{kind}", caption, columns, shown, raw, anchor)


def _items(experiment: Experiment, name: str) -> str:
    counts = {
        r.measures[name].n
        for s in experiment.standings
        for r in s.finished
        if name in r.measures and r.measures[name].n > 1
    }
    return f" (n {words.ranges(sorted(counts))})" if len(counts) == 1 else ""


def _found(standing: Standing, name: str) -> tuple[list[float], Sequence[Measurement]]:
    return values_of(standing, name), [r.measures[name] for r in standing.finished if name in r.measures]


def _cell(name: str, standing: Standing) -> Cell:
    values, measurements = _found(standing, name)
    if not values:
        reasons = sorted({m.reason for m in measurements if m.reason})
        return Cell(reasons[0] if reasons else words.MISSING)
    few = f" ({len(values)}/{len(standing.finished)} seeds)" if len(values) < len(standing.finished) else ""
    interval, unit, mean = mean_interval(values), measurements[0].unit, sum(values) / len(values)
    shown = f"{words.quantity(mean, unit)} {words.half_width(interval.low, interval.high, unit)}".strip()
    return Cell(shown + few, mean)


def _raw(standing: Standing, name: str) -> dict[str, Any]:
    values, measurements = _found(standing, name)
    interval = mean_interval(values)
    return {
        "measure": name,
        "unit": measurements[0].unit if measurements else None,
        "mean": sum(values) / len(values) if values else None,
        "t_low": interval.low,
        "t_high": interval.high,
        "with_value": len(values),
        "reason": "; ".join(sorted({m.reason for m in measurements if m.reason})),
    }


class Subsets:
    """The headline metric on parts of the test split and on longer inputs."""

    title = "In parts"
    rank = 55
    page = SUITE

    def blocks(self, study: Study) -> list[Block]:
        """A table of each, where a task has it."""
        return per_experiment(study, self._of)

    def _of(self, experiment: Experiment) -> list[Block]:
        subsets, lengths = subsets_table(experiment), lengths_table(experiment)
        found: list[Block] = [subsets] if subsets else []
        return found + ([Heading("On longer inputs"), lengths] if lengths else [])


section = Subsets

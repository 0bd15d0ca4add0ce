"""All that a report compares on one screen: suites down, pairs across."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from oscbench import words
from oscbench.analysis.comparison import Comparison
from oscbench.analysis.study import Report
from oscbench.reporting.page.comparisons import comparison_numbers
from oscbench.reporting.page.table import Cell, Column, Table

MOST_PAIRS = 8
"""More columns than this are no glance any more."""
NO_BREAK = "\u00a0"


def glance_table(report: Report) -> Table | None:
    """Every suite's answer on every pair; None where one suite answers, or where more pairs are compared than a reader takes in."""
    answered = [(place, title, found) for place, title, found in _questions(report) if found]
    pairs = {c.pair: c.name for _, _, found in answered for c in found}
    if len(answered) < 2 or not 0 < len(pairs) <= MOST_PAIRS:
        return None
    rows, raw = [], []
    for place, title, found in answered:
        own = {c.pair: c for c in found}
        rows.append((Cell(title), *(_cell(own.get(pair)) for pair in pairs)))
        raw += [place | {"metric": c.metric_label} | comparison_numbers(c) for c in found]
    caption = (
        "At a glance: mean difference, 95 % t interval and what the test supports after Holm's correction over the comparisons of its row; "
        "suites that vary by their mean over all values"
    )
    columns = (Column("Suite", "left"), *(Column(head, "left") for head in pairs.values()))
    return Table("comparisons-at-a-glance", caption, columns, tuple(rows), tuple(raw))


def _questions(report: Report) -> Iterator[tuple[dict[str, Any], str, Sequence[Comparison]]]:
    """What was compared where: suites that vary first, as the page has them."""
    for family in report.families:
        place = {"suite": family.suite, "task": family.last.task, "varied": family.key}
        yield place, family.title, family.overall
    for experiment in report.experiments:
        if experiment.slug not in report.points:
            place = {"suite": experiment.suite, "task": experiment.task, "varied": ""}
            yield place, experiment.title, experiment.comparisons


def _cell(comparison: Comparison | None) -> Cell:
    if comparison is None:
        return Cell("")
    paired = comparison.paired
    if paired is None:
        return Cell(comparison.state)
    text = words.difference(paired.mean, comparison.unit)
    if paired.interval.exists:
        ends = words.interval(paired.interval.low, paired.interval.high, comparison.unit)
        text += f" {ends.replace(' ', NO_BREAK)}"
    value = paired.mean if math.isfinite(paired.mean) else None
    return Cell(f"{text}: {comparison.verdict}", value)

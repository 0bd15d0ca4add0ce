"""Files that were not read, the environments that the cells ran in, and how to read the report."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from oscbench import words
from oscbench.analysis.costs.growth import timing_rows
from oscbench.analysis.published.matches import sources
from oscbench.analysis.study import Study
from oscbench.records import Record
from oscbench.reporting.page.blocks import FRONT, Block, Folded, Heading, Prose
from oscbench.reporting.page.table import Cell, Column, Reads, Table, count_cell


def environment_table(records: Sequence[Record]) -> Table:
    """Each property of the environments behind the records, with how many cells had each value."""
    counts: dict[str, Counter[str]] = {}
    for record in records:
        for key, value in _flat(record.environment):
            counts.setdefault(key, Counter())[value] += 1
    rows, raw = [], []
    for key in sorted(counts):
        common = counts[key].most_common()
        alone = len(common) == 1 and common[0][1] == len(records)
        rows.append((Cell(key), Cell(common[0][0] if alone else _several(common))))
        raw += [{"property": key, "value": value, "cells": count} for value, count in common]
    columns = (Column("Property", "left"), Column("Value", "left"))
    return Table("environment", "Environments that the cells ran in", columns, tuple(rows), tuple(raw))


def _several(common: Sequence[tuple[str, int]]) -> str:
    """Distinct values with their number of cells; many numbers as a range."""
    if len(common) <= 4:
        return "; ".join(f"{value} ({count} cells)" for value, count in common)
    try:
        numbers = [float(value) for value, _ in common]
    except ValueError:
        first = "; ".join(f"{value} ({count} cells)" for value, count in common[:4])
        return f"{first}; and {len(common) - 4} more"
    return f"{words.significant(min(numbers))} to {words.significant(max(numbers))}"


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _flat(environment: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in environment.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", _plain(value)))
    return found


def unanswered_table(records: Sequence[Record]) -> Table:
    """Every published number that no record here answers, grouped, with the reason; together with the sections all are accounted for."""
    answers, rows = sources()
    tasks = {record.task for record in records}
    families = {row.family for row in timing_rows(records)}
    counts: Counter[tuple[str, str, str]] = Counter()
    for row in rows:
        reason = next((pick.because for pick in answers.unanswered if pick.holds(row)), None)
        if reason is None and any(rule.published.holds(row) for rule in answers.timings):
            known = {ours.family for rule in answers.timings for ours in rule.ours}
            reason = None if known & families else f"no timing records of {' or '.join(sorted(known))} here"
        elif reason is None:
            wanted = {rule.task for rule in answers.rules if rule.published.holds(row)}
            if "*" not in wanted and not wanted & tasks:
                reason = f"no records of the task {' or '.join(sorted(wanted))} here"
        if reason is not None:
            counts[row.source.paper, row.task, reason] += 1
    found = [
        {"paper": paper, "task": task, "numbers": count, "reason": reason}
        for (paper, task, reason), count in sorted(counts.items())
    ]
    columns: tuple[Reads[dict[str, Any]], ...] = (
        Reads("Paper", itemgetter("paper"), "left"),
        Reads("Published task", itemgetter("task"), "left"),
        Reads("Numbers", lambda group: count_cell(group["numbers"])),
        Reads("Why", itemgetter("reason"), "left"),
    )
    caption = f"{sum(counts.values())} of {len(rows)} published numbers that nothing here stands beside"
    return Table.of("published-unanswered", caption, columns, found, dict)


GUIDE = (
    "IQM is the mean of the middle half of the seeds. The t interval assumes roughly normal differences; from ten seeds a BCa bootstrap "
    "interval stands beside it. P(better) is the share of seeds at which the first entry did better (ties half), with its exact interval, "
    "from two seeds on. “Too few seeds for a verdict” means that no outcome whatever could have reached p ≤ 0.05 with so few seeds among "
    "so many comparisons. Seeds cover initialisation, order and augmentation, not the choice of the test set. FLOPs count one forward "
    "pass of one sample in closed form, sines and exponentials excluded. Training speed is the baseline’s time over the treatment’s: "
    "below 1× is slower."
)


class Environment:
    """What stands behind the report besides its numbers."""

    title = "Files and environment"
    rank = 90
    page = FRONT

    def blocks(self, study: Study) -> list[Block]:
        """Damaged and superseded files; the rest behind folds."""
        loaded = study.loaded
        found: list[Block] = []
        if loaded.damaged:
            found.append(Heading("Damaged files, not read"))
            found.append(Prose(tuple(f"{one.path}: {one.reason}" for one in loaded.damaged), "caveat"))
        if loaded.superseded:
            older = tuple(
                f"{r.suite}, {r.task}, {r.mechanism}:{r.variant}, seed {r.seed}: {r.identity}"
                for r in loaded.superseded
            )
            summary = f"{words.many(len(older), 'other record')} of these cells: older, or not what the suite asked for when it last ran"
            found.append(Folded(summary, (Prose(older, "quiet"),)))
        found.append(Folded("How to read this", (Prose((GUIDE,)),)))
        found.append(Folded("Environments that the cells ran in", (environment_table(loaded.records),)))
        unanswered = unanswered_table(loaded.records)
        found.append(Folded("Published numbers that nothing here stands beside, and why", (unanswered,)))
        return found


section = Environment

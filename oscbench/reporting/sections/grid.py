"""All that a report compares, suite by suite: suites down, baselines across."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from oscbench import words
from oscbench.analysis.comparison import Comparison
from oscbench.analysis.study import Question, Study
from oscbench.reporting.page.blocks import FRONT, Block, page_of
from oscbench.reporting.page.comparisons import comparison_numbers
from oscbench.reporting.page.table import Cell, Reads, Table
from oscbench.reporting.page.verdict import improvement

NO_BREAK = "\u00a0"
SIGNS = {
    "better": "+",
    "worse": words.MINUS,
    "equivalent": "=",
    "no clear difference": "0",
}
MEANING = (
    "+ better, − worse, = equivalent, 0 no clear difference, ? undecided: the test after Holm's correction over a row's comparisons, "
    "and a 95 % interval that agrees. Numbers: mean differences; in a suite that varies, over all its values. Intervals stand on the page "
    "of each suite"
)


class Grid:
    """Every suite's answer on every baseline, and the way to its page."""

    title = "Suite by suite"
    rank = 20
    page = FRONT

    def blocks(self, study: Study) -> list[Block]:
        """The grid, where anything is compared."""
        table = answers_table(study)
        return [table] if table else []


def answers_table(study: Study) -> Table | None:
    """A row a question; None where nothing is compared."""
    if not study.questions:
        return None
    baselines = [name for name, _ in Counter(c.baseline for c in study.comparisons).most_common()]
    columns: list[Reads[Question]] = [Reads("Suite", lambda q: q.title, "left")]
    columns += [_against(baseline) for baseline in baselines]
    return Table.of("answers", MEANING, columns, study.questions, _raw, lambda q: page_of(q.suite))


def _raw(question: Question) -> list[dict[str, Any]]:
    place = {"suite": question.label, "task": question.task, "varied": question.varied}
    return [place | {"metric": c.metric_label} | comparison_numbers(c) for c in question.comparisons]


def _against(baseline: str) -> Reads[Question]:
    def read(question: Question) -> Cell:
        own = [c for c in question.comparisons if c.baseline == baseline]
        own.sort(key=lambda c: -(improvement(c) or (0.0, -math.inf, 0.0))[1])
        shown = " · ".join(_item(c).replace(" ", NO_BREAK) for c in own if c.paired)
        unit = words.difference_unit(own[0].unit) if own else ""
        shown += f" {unit}" if shown and unit not in ("", "1") else ""
        without = [f"{c.treatment} {c.state}" for c in own if not c.paired]
        return Cell(" · ".join(filter(None, [shown, *without])), _largest(own))

    return Reads(f"Against {baseline}", read, "left")


def _largest(comparisons: Sequence[Comparison]) -> float | None:
    means = [c.paired.mean for c in comparisons if c.paired and math.isfinite(c.paired.mean)]
    return max(means, key=abs) if means else None


def _item(comparison: Comparison) -> str:
    """`+ KoPE +0.80`."""
    paired = comparison.paired
    value = words.difference(paired.mean, comparison.unit, False) if paired else ""
    sign = SIGNS.get(comparison.verdict, "?")
    return f"{sign} {comparison.treatment} {value}"


section = Grid

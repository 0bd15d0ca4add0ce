"""Published time ratios beside ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from oscbench.analysis.costs.growth import TimingRow
from oscbench.analysis.costs.timing import timing_groups
from oscbench.analysis.published.matches import sources
from oscbench.analysis.published.numbers import Published
from oscbench.analysis.published.rules import OurRatio, Side, TimingRule
from oscbench.analysis.study import Study
from oscbench.reporting.page.blocks import SUITE, Block
from oscbench.reporting.page.table import Cell, Reads, Table, count_cell


def ratios_table(slug: str, rows: Sequence[TimingRow]) -> Table | None:
    """Published ratios of times by number of tokens, with ours of the same N; None where no rule concerns these contenders."""
    answers, published = sources()
    for rule in answers.timings:
        theirs = _their_ratios(rule, published)
        ours = [(ratio, found) for ratio in rule.ours if (found := _our_ratios(ratio, rows))]
        if theirs and ours:
            return _table(slug, rule, theirs, ours)
    return None


def _their_times(side: Side, rule: TimingRule, rows: Iterable[Published]) -> dict[int, Published]:
    return {
        int(row.config["seq_len"]): row
        for row in rows
        if rule.published.holds(row)
        and row.mechanism == side.mechanism
        and side.implementation in (None, row.config.get("implementation"))
    }


def _their_ratios(
    rule: TimingRule, rows: Sequence[Published]
) -> dict[int, tuple[float, Published, Published]]:
    above, below = (_their_times(side, rule, rows) for side in (rule.treatment, rule.baseline))
    shared = sorted(above.keys() & below.keys())
    return {n: (above[n].value / below[n].value, above[n], below[n]) for n in shared}


def _our_ratios(ratio: OurRatio, rows: Sequence[TimingRow]) -> dict[int, float]:
    """Forward time of one contender over another's by tokens: the median of the ratios taken in turn, as every other table of the report."""
    over_reference: dict[tuple[str, int], float] = {
        (row.contender, row.tokens): row.value
        for row in rows
        if row.quantity == "forward_ratio" and row.family == ratio.family and row.value
    }
    return {
        n: value / over_reference[ratio.baseline, n]
        for (contender, n), value in sorted(over_reference.items())
        if contender == ratio.treatment and (ratio.baseline, n) in over_reference
    }


def _table(
    slug: str,
    rule: TimingRule,
    theirs: dict[int, tuple[float, Published, Published]],
    ours: Sequence[tuple[OurRatio, dict[int, float]]],
) -> Table:
    device = str(next(iter(theirs.values()))[1].config.get("device", "another machine"))
    published = {n: ratio for n, (ratio, *_) in theirs.items()}
    columns = (
        Reads[int]("Tokens N", count_cell, "left"),
        Reads(f"Published, {device}", partial(_ratio_cell, published, "not given")),
        *(Reads(f"Ours, {ratio.what}", partial(_ratio_cell, found, "n/a")) for ratio, found in ours),
        Reads("Published tokens a second", lambda n: _speeds(n, theirs.get(n)), "left"),
    )

    def raw(n: int) -> dict[str, Any]:
        return (
            {"quantity": rule.quantity, "tokens": n, "published": published.get(n)}
            | {ratio.what: found.get(n) for ratio, found in ours}
            | {"same_quantity": False, "because": rule.because}
        )

    tokens = sorted(theirs.keys() | {n for _, found in ours for n in found})
    source = next(iter(theirs.values()))[1].source
    caption = (
        f"Published beside measured: {rule.quantity}. Not comparable as times ({rule.because}), so only ratios stand side by side; "
        f"{source.paper}: {source.table_or_file}"
    )
    return Table.of(f"{slug}-published", caption, columns, tokens, raw)


def _ratio_cell(ratios: Mapping[int, float], without: str, tokens: int) -> Cell:
    return Cell(f"{ratios[tokens]:.2f}×", ratios[tokens]) if tokens in ratios else Cell(without)


def _speeds(tokens: int, known: tuple[float, Published, Published] | None) -> str:
    if known is None:
        return ""
    speeds = [1000 * tokens * int(row.config["batch"]) / float(row.value) for row in known[1:]]
    return f"{known[1].mechanism} {speeds[0] / 1e6:.2f} M, {known[2].mechanism} {speeds[1] / 1e6:.2f} M (not ours to compare: other hardware)"


class PublishedTimes:
    """Ratios of times that papers give, beside ours at as many tokens."""

    title = "Published times"
    rank = 71
    page = SUITE

    def blocks(self, study: Study) -> list[Block]:
        """A table for the groups that a rule concerns."""
        tables = (ratios_table(group.slug, group.rows) for group in timing_groups(study.loaded.records))
        return [table for table in tables if table]


section = PublishedTimes

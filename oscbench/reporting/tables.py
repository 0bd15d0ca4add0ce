"""Tables of the report: each has display text for the page and raw numbers for its CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from oscbench import words
from oscbench.analysis.comparison import SPEED_MEASURES, Comparison
from oscbench.analysis.experiment import Section, Standing
from oscbench.analysis.growth import is_timing
from oscbench.analysis.statistics import Interval
from oscbench.records import Record


class Column(NamedTuple):
    """A column's heading and which side its text keeps to."""

    heading: str
    align: Literal["left", "right"] = "right"


class Cell(NamedTuple):
    """What is shown, and the number it is sorted by (None sorts by the text)."""

    text: str
    value: float | None = None


@dataclass(frozen=True)
class Table:
    """One table; `raw` are the rows of its CSV, numbers at full precision in the units of the records.

    `links` are anchors in records.html, one a row, where the row is about some records; `heads` the same, one a column.
    """

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    raw: tuple[Mapping[str, Any], ...]
    links: tuple[str | None, ...] = ()
    heads: tuple[str | None, ...] = ()

    def link(self, row: int, column: int) -> str | None:
        """Where the number in a cell comes from, as an anchor in records.html."""
        if row < len(self.links):
            return self.links[row]
        return self.heads[column] if column < len(self.heads) else None

    def csv(self) -> str:
        """The raw rows as CSV; missing and undefined values are empty."""
        fields = list(dict.fromkeys(key for row in self.raw for key in row))
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, fields, restval="", lineterminator="\n")
        writer.writeheader()
        for row in self.raw:
            writer.writerow({key: _blank(value) for key, value in row.items()})
        return buffer.getvalue()


def anchor_of(record: Record) -> str:
    """The place of a cell's entry in records.html."""
    if is_timing(record):
        return words.slug(f"{record.suite} {record.device}")
    return words.slug(f"{record.suite} {record.task} {record.mechanism} {record.variant}")


def anchor(standing: Standing) -> str:
    """The place in records.html of the cells behind an entry of a section."""
    return anchor_of(standing.cells[0])


def _blank(value: Any) -> Any:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else value


def number_cell(value: float, unit: str, digits: int = 3) -> Cell:
    """A value with its unit, sorted by the value."""
    return Cell(words.quantity(value, unit, digits), value if math.isfinite(value) else None)


def median_of(standing: Standing, measure: str) -> tuple[float, str]:
    """Median over the finished cells of one measure, and its unit; NaN where no cell has it."""
    found = [r.measures[measure] for r in standing.finished if measure in r.measures]
    values = [float(m.value) for m in found if m.value is not None]
    return (float(np.median(values)) if values else math.nan, found[0].unit if found else "1")


def identify(section: Section, standing: Standing) -> dict[str, Any]:
    """The columns that say which entry of which section a CSV row is about."""
    return {
        "suite": section.suite,
        "task": section.task,
        "protocol": section.protocol,
        "mechanism": standing.entry.mechanism,
        "variant": standing.entry.variant,
    }


def results_table(section: Section) -> Table:
    """Every entry: the headline metric over its seeds, what it cost, and its health flags."""
    from_ten = any(s.summary and s.summary.bca for s in section.standings)
    speed = next(
        (m for m in SPEED_MEASURES if any(m in r.measures for s in section.standings for r in s.cells)), None
    )
    columns = [
        Column("Mechanism", "left"),
        Column(f"{section.metric_label}, mean ± 95 %"),
        *([Column("BCa 95 %")] if from_ten else []),
        Column("Median"),
        Column("IQM"),
        Column("Std"),
        Column("Seeds"),
        Column("Parameters"),
        Column("FLOPs"),
        *([Column(measure_label(section, speed))] if speed else []),
        Column("Health flags", "left"),
    ]
    rows, raw = [], []
    for standing in section.standings:
        costs = [(m, *median_of(standing, m)) for m in ("params", "flops", *([speed] if speed else []))]
        middle = _summary_cells(section, standing, from_ten)
        rows.append(
            (
                Cell(_named(standing)),
                *middle,
                *(number_cell(value, unit, 4) for _, value, unit in costs),
                Cell("; ".join(standing.flags) or "none"),
            )
        )
        raw.append(
            identify(section, standing)
            | _summary_raw(section, standing)
            | {f"{measure}_median": value for measure, value, _ in costs}
            | {"flags": "; ".join(standing.flags)}
        )
    caption = f"{section.metric_label} over seeds; ± is half the 95 % t interval of the mean"
    if section.direction in ("higher", "lower"):
        caption += f"; {section.direction} is better"
    return Table(
        f"{section.slug}-results", caption, tuple(columns), tuple(rows), tuple(raw), _anchors(section)
    )


def _anchors(section: Section) -> tuple[str, ...]:
    return tuple(anchor(standing) for standing in section.standings)


def _named(standing: Standing) -> str:
    """The label, and the name to type where that is another word."""
    same = standing.label.casefold() == standing.name.casefold()
    return standing.label if same else f"{standing.label} ({standing.name})"


def measure_label(section: Section, measure: str) -> str:
    """The label that the records give a measure, as a heading."""
    found = (r.measures[measure].label for s in section.standings for r in s.cells if measure in r.measures)
    return words.capitalised(next(found))


def _summary_cells(section: Section, standing: Standing, from_ten: bool) -> list[Cell]:
    summary, unit = standing.summary, section.unit
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


def _summary_raw(section: Section, standing: Standing) -> dict[str, Any]:
    summary = standing.summary
    raw: dict[str, Any] = {
        "metric": section.metric,
        "unit": section.unit,
        "cells": len(standing.cells),
        "finished": len(standing.finished),
    }
    if summary is not None:
        raw |= {"mean": summary.mean, "median": summary.median, "iqm": summary.iqm, "std": summary.std}
        raw |= {"t_low": summary.interval.low, "t_high": summary.interval.high}
        raw |= {"bca_low": summary.bca.low, "bca_high": summary.bca.high} if summary.bca else {}
    return raw


def comparisons_table(section: Section) -> Table | None:
    """Every comparison of a section with its effect, interval, test and cost.

    Refused and missing ones too.
    """
    if not section.comparisons:
        return None
    columns, rows = comparison_rows(section.comparisons)
    raw = tuple(_comparison_raw(section, comparison) for comparison in section.comparisons)
    caption = f"Differences by seed in {section.metric_label}{words.in_unit(section.unit)}"
    links = {s.entry: anchor(s) for s in section.standings}
    to = tuple(links.get(comparison.pair.treatment) for comparison in section.comparisons)
    return Table(f"{section.slug}-comparisons", caption, columns, rows, raw, to)


def comparison_rows(
    comparisons: Sequence[Comparison],
) -> tuple[tuple[Column, ...], tuple[tuple[Cell, ...], ...]]:
    """Columns and rows of effect, interval, test and cost; BCa intervals only where some comparison has ten seeds."""
    from_ten = any(c.paired and c.paired.bca for c in comparisons)
    columns = (
        Column("Comparison", "left"),
        Column("Difference"),
        Column("95 % interval"),
        *([Column("BCa 95 %")] if from_ten else []),
        Column("p"),
        Column("p (Holm)"),
        Column("P(better)"),
        Column("Seeds"),
        Column("Parameters"),
        Column("FLOPs"),
        Column("Training speed"),
        Column("Verdict", "left"),
    )
    return columns, tuple(_comparison_row(comparison, from_ten) for comparison in comparisons)


def _comparison_row(comparison: Comparison, from_ten: bool) -> tuple[Cell, ...]:
    name = Cell(comparison.name)
    paired = comparison.paired
    if paired is None:
        return (name, *[Cell("")] * (10 if from_ten else 9), Cell(f"{comparison.state}: {comparison.reason}"))
    low, high = paired.interval.low, paired.interval.high
    bca = words.interval(paired.bca.low, paired.bca.high, comparison.unit) if paired.bca else "none"
    better = paired.improvement_interval
    chance = "" if paired.improvement is None else f"{paired.improvement:.2f}"
    chance += f" [{better.low:.2f}, {better.high:.2f}]" if better else ""
    alone = "one seed: none" if paired.n < 2 else ""
    return (
        name,
        Cell(words.difference(paired.mean, comparison.unit, False), paired.mean),
        Cell(alone or words.interval(low, high, comparison.unit)),
        *([Cell(bca)] if from_ten else []),
        Cell(words.p_value(paired.p), None if math.isnan(paired.p) else paired.p),
        Cell(words.p_value(comparison.p_holm), None if math.isnan(comparison.p_holm) else comparison.p_holm),
        Cell(alone or chance, paired.improvement),
        Cell(str(paired.n), float(paired.n)),
        *_cost_cells(comparison),
        Cell(comparison.verdict),
    )


def _cost_cells(comparison: Comparison) -> tuple[Cell, ...]:
    """Costs over the baseline's, as ranges where the comparison is over several sections."""
    low, high = comparison.costs, comparison.costs_to or comparison.costs
    return (
        _range_cell(words.relative, low.params, high.params),
        _range_cell(words.relative, low.flops, high.flops),
        _range_cell(words.times, low.speed, high.speed),
    )


def _range_cell(show: Callable[[float], str], low: float, high: float) -> Cell:
    return Cell(" to ".join(dict.fromkeys((show(low), show(high)))))


def _comparison_raw(section: Section, comparison: Comparison) -> dict[str, Any]:
    place = {"suite": section.suite, "task": section.task, "protocol": section.protocol}
    return place | {"metric": section.metric} | comparison_numbers(comparison)


def comparison_numbers(comparison: Comparison) -> dict[str, Any]:
    """A comparison as columns of a CSV row, without where it was made."""
    raw: dict[str, Any] = {
        "treatment": str(comparison.pair.treatment),
        "baseline": str(comparison.pair.baseline),
        "state": comparison.state,
        "verdict": comparison.verdict,
        "reason": comparison.reason,
        "unit": comparison.unit,
        "direction": comparison.direction,
    }
    paired = comparison.paired
    if paired is not None:
        raw |= {"pairs": paired.n, "seeds": " ".join(map(str, comparison.seeds)), "difference": paired.mean}
        raw |= {"median": paired.median, "std": paired.std}
        raw |= {"t_low": paired.interval.low, "t_high": paired.interval.high}
        raw |= {"bca_low": paired.bca.low, "bca_high": paired.bca.high} if paired.bca else {}
        raw |= {"p": paired.p, "p_holm": comparison.p_holm, "comparisons_tested": comparison.tested}
        raw |= {"probability_of_improvement": paired.improvement}
        if paired.improvement_interval:
            raw |= {"pi_low": paired.improvement_interval.low, "pi_high": paired.improvement_interval.high}
        raw |= {"params_ratio": comparison.costs.params, "flops_ratio": comparison.costs.flops}
        raw |= {"speed_ratio": comparison.costs.speed}
        raw |= _largest_costs(comparison) | {"caveats": "; ".join(comparison.caveats)}
    return raw


def _largest_costs(comparison: Comparison) -> dict[str, float]:
    """The upper ends of cost ranges; nothing where there is one section, whose costs are no range."""
    to = comparison.costs_to
    if to is None:
        return {}
    return {"params_ratio_to": to.params, "flops_ratio_to": to.flops, "speed_ratio_to": to.speed}

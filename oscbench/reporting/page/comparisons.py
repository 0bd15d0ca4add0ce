"""A comparison as a row of a table: effect, interval, test, cost and verdict."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from oscbench import words
from oscbench.analysis.comparison import Comparison
from oscbench.reporting.page.table import Cell, Column


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

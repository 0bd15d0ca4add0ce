"""A comparison as a row of a table: effect, interval, test, cost and verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from oscbench import words
from oscbench.analysis.comparison import Comparison, Costs
from oscbench.analysis.statistics.seeds import Paired
from oscbench.reporting.page.table import Cell, Reads, Row, Table, count_cell, sorted_by


def comparison_table(
    name: str,
    caption: str,
    comparisons: Sequence[Comparison],
    place: Mapping[str, Any],
    link: Callable[[Comparison], str | None],
) -> Table:
    """Effect, interval, test and cost of every comparison.

    BCa intervals only where some comparison has ten seeds, and intervals that hold together only where a question has several.

    Args:
        name: Of the table's file.
        caption: What its rows have in common.
        comparisons: Refused and missing ones too.
        place: Columns of the CSV that say where all of them were made.
        link: Where the numbers of a comparison come from.
    """
    from_ten = any(c.paired and c.paired.bca for c in comparisons)
    several = any(c.adjusted and c.tested > 1 for c in comparisons)
    left_out = [column for column, there in ((_BCA, from_ten), (_ADJUSTED, several)) if not there]
    columns = [column for column in COLUMNS if column not in left_out]
    return Table.of(name, caption, columns, comparisons, lambda c: dict(place) | comparison_numbers(c), link)


def _of_paired(show: Callable[[Comparison, Paired], Cell | str]) -> Callable[[Comparison], Cell | str]:
    """A cell of what was compared; empty where it was not."""
    return lambda c: show(c, c.paired) if c.paired else ""


def _interval(c: Comparison, paired: Paired) -> str:
    if paired.n < 2:
        return _ALONE
    return words.interval(paired.interval.low, paired.interval.high, c.unit)


def _bca(c: Comparison, paired: Paired) -> str:
    return words.interval(paired.bca.low, paired.bca.high, c.unit) if paired.bca else "none"


def _adjusted(c: Comparison, paired: Paired) -> str:
    if c.adjusted is None:
        return _ALONE if paired.n < 2 else "none"
    return words.interval(c.adjusted.low, c.adjusted.high, c.unit)


def _chance(c: Comparison, paired: Paired) -> Cell:
    ends = paired.improvement_interval
    share = "" if paired.improvement is None else f"{paired.improvement:.2f}"
    text = share + (f" [{ends.low:.2f}, {ends.high:.2f}]" if ends else "")
    return Cell(_ALONE if paired.n < 2 else text, paired.improvement)


def _ratio(of: Callable[[Costs], float], show: Callable[[float], str]) -> Callable[[Comparison], Cell | str]:
    """A cost over the baseline's, as a range where the comparison is over several experiments."""
    return _of_paired(
        lambda c, _: " to ".join(dict.fromkeys(show(of(costs)) for costs in (c.costs, c.costs_to or c.costs)))
    )


def verdict_of(c: Comparison) -> str:
    """The verdict, or why there is none."""
    return c.verdict_in_words if c.paired else f"{c.state}: {c.reason}"


_ALONE = "one seed: none"
_BCA: Reads[Comparison] = Reads("BCa 95 %", _of_paired(_bca))
_ADJUSTED: Reads[Comparison] = Reads("All at once 95 %", _of_paired(_adjusted))
"""Bonferroni over the comparisons of the question: its intervals hold together, as Holm's p do."""
COLUMNS: tuple[Reads[Comparison], ...] = (
    Reads("Comparison", lambda c: c.name, "left"),
    Reads("Difference", _of_paired(lambda c, p: Cell(words.difference(p.mean, c.unit, False), p.mean))),
    Reads("95 % interval", _of_paired(_interval)),
    _BCA,
    _ADJUSTED,
    Reads("p", _of_paired(lambda _, p: sorted_by(words.p_value(p.p), p.p))),
    Reads("p (Holm)", _of_paired(lambda c, _: sorted_by(words.p_value(c.p_holm), c.p_holm))),
    Reads("P(better)", _of_paired(_chance)),
    Reads("Seeds", _of_paired(lambda _, p: count_cell(p.n))),
    Reads("Parameters", _ratio(lambda costs: costs.params, words.relative)),
    Reads("FLOPs", _ratio(lambda costs: costs.flops, words.relative)),
    Reads("Training speed", _ratio(lambda costs: costs.speed, words.times)),
    Reads("Verdict", verdict_of, "left"),
)


def difference_columns(heading: str, of: Callable[[Row], Comparison | None]) -> list[Reads[Row]]:
    """A difference with its unit, its interval and p, of rows that hold a comparison among other things.

    Args:
        heading: Of the difference.
        of: The comparison of a row; None where it has none, as of a baseline.
    """

    def paired(show: Callable[[Comparison, Paired], Cell]) -> Callable[[Row], Cell | str]:
        def read(row: Row) -> Cell | str:
            c = of(row)
            return show(c, c.paired) if c and c.paired else words.MISSING

        return read

    def interval(c: Comparison, paired: Paired) -> Cell:
        ends = paired.interval
        return Cell(words.interval(ends.low, ends.high, c.unit), ends.low if ends.exists else None)

    return [
        Reads(heading, paired(lambda c, p: Cell(words.difference(p.mean, c.unit), p.mean))),
        Reads("95 % interval", paired(interval)),
        Reads("p", paired(lambda _, p: sorted_by(words.p_value(p.p), p.p))),
        Reads("p (Holm)", paired(lambda c, _: sorted_by(words.p_value(c.p_holm), c.p_holm))),
    ]


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
        if comparison.adjusted:
            raw |= {"adjusted_low": comparison.adjusted.low, "adjusted_high": comparison.adjusted.high}
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

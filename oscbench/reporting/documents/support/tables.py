"""Several measures of the same cells, as tables: what every entry has of each, and differences paired by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from oscbench import words
from oscbench.analysis.choices import position_of
from oscbench.analysis.experiment import Experiment, Standing
from oscbench.analysis.frame import value_of
from oscbench.analysis.statistics.seeds import mean_interval
from oscbench.records import Record
from oscbench.reporting.documents import table
from oscbench.reporting.page.table import Cell, Reads


def table_of(columns: Sequence[Reads[Any]], items: Sequence[Any], numbers: int = 0) -> str:
    """A row an item, read by a report's columns, of which the last `numbers` hold numbers."""
    rows = [[_text(column.read(one)) for column in columns] for one in items]
    return table([column.heading for column in columns], rows, numbers)


def _text(shown: Cell | str) -> str:
    return shown.text if isinstance(shown, Cell) else shown


def measured(standing: Standing, names: Mapping[str, str]) -> bool:
    """Whether its cells have every one of the measures."""
    return bool(standing.finished) and all(
        name in record.measures and record.measures[name].value is not None
        for record in standing.finished
        for name in names
    )


def measured_pairs(experiment: Experiment, standings: Sequence[Standing]) -> list[tuple[Standing, Standing]]:
    """Treatment and baseline of each comparison whose two sides are among these entries."""
    known = {one.entry: one for one in standings}
    sides = [(c.pair.treatment, c.pair.baseline) for c in experiment.comparisons]
    return [(known[one], known[other]) for one, other in sides if one in known and other in known]


def scores_table(
    heading: str, standings: Sequence[Standing], names: Mapping[str, str], above: Sequence[Sequence[str]] = ()
) -> str:
    """A row a measure, a column an entry: means with 95 % t intervals over seeds, each for itself.

    Args:
        heading: Of the first column.
        standings: The columns; n/a where an entry lacks a measure.
        names: Measure -> what its row is called.
        above: Rows of texts before them.
    """
    rows = [*above, *((told, *(_score(one, name) for one in standings)) for name, told in names.items())]
    return table((heading, *(one.name for one in standings)), rows, numbers=len(standings))


def positions_row(standings: Sequence[Standing]) -> list[str]:
    """A row for above the measures: where each entry's tokens know their place."""
    return ["Positions", *(position_of(one.finished[0]) for one in standings)]


def flops_row(standings: Sequence[Standing]) -> list[str]:
    """A row for above the measures: what a forward pass takes; models that are matched in parameters may differ in it."""
    found = (value_of(one.finished[0], "flops") for one in standings)
    return ["Forward FLOPs of a sample", *(words.quantity(value, "FLOP") for value in found)]


def seeds_row(standings: Sequence[Standing]) -> list[str]:
    """A row for above the measures: of how many seeds each entry's numbers are."""
    return ["Seeds", *(str(len(one.finished)) for one in standings)]


def gains_table(
    heading: str,
    pairs: Sequence[tuple[Standing, Standing]],
    names: Mapping[str, str],
    less: Mapping[str, str] | None = None,
) -> str:
    """A row a measure, a column a pair: the first entry's values less the second's, paired by seed.

    Args:
        heading: Of the first column.
        pairs: The columns.
        names: Measure -> what its row is called.
        less: Measure -> another that is taken off it first, cell by cell.
    """
    off = less or {}
    rows = [
        (told, *(gain(one, other, name, off.get(name, "")) for one, other in pairs))
        for name, told in names.items()
    ]
    headings = (heading, *(f"{one.name} {words.MINUS} {other.name}" for one, other in pairs))
    return table(headings, rows, numbers=len(pairs))


def _score(standing: Standing, name: str) -> str:
    if not measured(standing, {name: ""}):
        return words.MISSING
    values = [value_of(record, name) for record in standing.finished]
    unit, ends = standing.finished[0].measures[name].unit, mean_interval(values)
    return f"{words.quantity(sum(values) / len(values), unit)} {words.half_width(ends.low, ends.high, unit)}"


def gain(standing: Standing, reference: Standing, name: str, less: str) -> str:
    """What an entry has in a measure, less another of its own cells (nothing where empty), over the reference's, paired by seed."""

    def value(record: Record) -> float:
        return value_of(record, name) - (value_of(record, less) if less else 0.0)

    theirs = {record.seed: value(record) for record in reference.finished}
    gains = [value(record) - theirs[record.seed] for record in standing.finished if record.seed in theirs]
    return _estimate(gains, standing.finished[0].measures[name].unit) if gains else words.MISSING


def own_gain(standing: Standing, name: str, less: str) -> str:
    """What an entry has in one measure over another of the same cells, with its 95 % t interval over seeds."""
    gains = [value_of(record, name) - value_of(record, less) for record in standing.finished]
    return _estimate(gains, standing.finished[0].measures[name].unit)


def _estimate(gains: Sequence[float], unit: str) -> str:
    ends = mean_interval(gains)
    return words.estimate(sum(gains) / len(gains), ends.low, ends.high, unit)


_MEANING = {"phases only": "no Kuramoto step is ever taken, so that phases are rotations alone"}
"""Of flags that do not say it themselves."""


def flags(standing: Standing) -> str:
    """Each flag, and how many of the entry's seeds carry it."""
    return "; ".join(standing.flags)


def flags_row(standings: Sequence[Standing]) -> list[list[str]]:
    """A row for above measures, a column an entry; none where nobody has a flag."""
    return [["Flags", *map(flags, standings)]] if any(map(flags, standings)) else []


def flags_told(standings: Sequence[Standing]) -> str:
    """What the flags of a table mean, as a paragraph after it; empty where there are none that need it."""
    seen = {flag for standing in standings for record in standing.cells for flag in record.flags}
    told = [f"*{flag}*: {meaning}" for flag, meaning in _MEANING.items() if flag in seen]
    return f"\n\nFlags, with the seeds that carry them: {'; '.join(told)}." if told else ""

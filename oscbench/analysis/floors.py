"""Floors: what a task gives away to those who do not look, and whether its best entry is above that.

A floor is a record like any other, of something that needs no attention: chance, a bag of pixels, an n-gram model, or a model whose mixing is
the mean of all tokens. Where the best entry is not above every floor by more than the margin, the task tells nobody apart. A reference, as a
linear model of all pixels where they stand, is shown beside them and withholds nothing: it sees the whole input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from oscbench import words
from oscbench.analysis.choices import is_reference, is_untrained
from oscbench.analysis.frame import headline
from oscbench.analysis.statistics.equivalence import Margin, declared_margin
from oscbench.analysis.statistics.seeds import Interval, mean_interval
from oscbench.records import Record


def is_floor(record: Record) -> bool:
    """Whether a cell is a floor: untrained (its spec's kind says so), or a mechanism that declares itself one."""
    return is_untrained(record) or record.card.traits.get("floor", False)


def by_protocol(cells: Sequence[Record]) -> dict[str, list[Record]]:
    """Cells of one suite and task by their protocol, those with the earliest cell first.

    An untrained floor stands under every protocol whose cells have its data: one that ran when the suite trained or measured otherwise
    is not run again, and still is what the later cells must be above.
    """
    bearing = [r for r in cells if not is_untrained(r)] or list(cells)
    apart = [r for r in cells if is_untrained(r)] if len(bearing) < len(cells) else []
    found: dict[str, list[Record]] = {}
    for record in sorted(bearing, key=lambda r: (r.finished_utc, r.protocol)):
        found.setdefault(record.protocol, [])
    for name, inside in found.items():
        inside += [r for r in bearing if r.protocol == name]
        data = {r.data_hash for r in inside}
        inside += [r for r in apart if r.data_hash in data]
    return found


@dataclass(frozen=True)
class AboveFloor:
    """The best entry of a task against its highest floor.

    Attributes:
        best: Name of the entry with the best mean.
        floor: Name of the floor that it is the least above.
        n: Seeds of the best entry that the floor has a value for.
        mean: By how much the best is better [metric's unit], paired by seed, or by the draw of data where a floor has no seeds.
        interval: 95 % t interval of it.
        margin: What the interval must lie above.
        unit: Of the metric.
        gaps: What the mean is of.
    """

    best: str
    floor: str
    n: int
    mean: float
    interval: Interval
    margin: Margin
    unit: str
    gaps: tuple[float, ...] = ()

    @property
    def decides(self) -> bool:
        """Whether the task tells its best entry from its floor by more than the margin; with one seed nobody knows, and no verdict falls."""
        return not self.interval.exists or self.interval.low >= self.margin.value

    @property
    def reason(self) -> str:
        """Why verdicts are withheld, in words; empty where they are not."""
        if self.decides:
            return ""
        margin = words.margin(self.margin.value, self.unit)
        than = f"not clearly ahead by the margin {margin}" if self.margin.value else "not clearly ahead"
        return f"the best entry, {self.best}, {self.gap}, {than}: this task ranks no entries"

    @property
    def gap(self) -> str:
        """`is +0.40 points [-1.00, +1.80] ahead of the floor bag`; of one that is behind it, how far."""
        floor = self.floor.removeprefix("floor: ")
        if self.mean < 0:
            behind = words.estimate(-self.mean, -self.interval.high, -self.interval.low, self.unit)
            return f"is {behind} behind the floor {floor}"
        ahead = words.estimate(self.mean, self.interval.low, self.interval.high, self.unit)
        return f"is {ahead} ahead of the floor {floor}"


def above_floor(entries: Mapping[str, Sequence[Record]]) -> AboveFloor | None:
    """Set the best entry of a task against the floor that it is the least above.

    Args:
        entries: All cells of one experiment by the entry's name, floors among them.

    Returns:
        None where there is no floor, no entry beside it, or the metric has no better side.
    """
    finished = {name: [r for r in cells if np.isfinite(headline(r))] for name, cells in entries.items()}
    floors = {
        name: cells
        for name, cells in finished.items()
        if cells and is_floor(cells[0]) and not is_reference(cells[0])
    }
    others = {name: cells for name, cells in finished.items() if cells and not is_floor(cells[0])}
    if not floors or not others:
        return None
    cell = next(iter(others.values()))[0]
    first = cell.measures[cell.metric]
    sign = {"higher": 1.0, "lower": -1.0}.get(first.direction)
    if sign is None:
        return None
    means = {name: sign * float(np.mean([headline(r) for r in cells])) for name, cells in others.items()}
    best = max(sorted(means), key=lambda name: means[name])
    margin = declared_margin(others[best]) or Margin(0.0, first.unit)
    found = []
    for name, cells in floors.items():
        gaps = [sign * gap for gap in _gaps(others[best], cells)]
        if gaps:
            ends = mean_interval(gaps)
            found.append(
                AboveFloor(best, name, len(gaps), float(np.mean(gaps)), ends, margin, first.unit, tuple(gaps))
            )
    return min(found, key=lambda one: one.mean, default=None)


def _gaps(cells: Sequence[Record], floor: Sequence[Record]) -> list[float]:
    """Headline minus the floor's, at the same seed and data where two or more cells have such a floor, else on the same data."""
    at_seed = {(r.data_hash, r.seed): headline(r) for r in floor}
    paired = [headline(r) - at_seed[r.data_hash, r.seed] for r in cells if (r.data_hash, r.seed) in at_seed]
    if len(paired) > 1:
        return paired
    on_data: dict[str | None, list[float]] = {}
    for record in floor:
        on_data.setdefault(record.data_hash, []).append(headline(record))
    return [headline(r) - float(np.mean(on_data[r.data_hash])) for r in cells if r.data_hash in on_data]

"""Timing records by what was timed together: one suite, device, setting and batch, with how its costs grow and what it answers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from oscbench import words
from oscbench.analysis.costs.growth import (
    Growth,
    TimingRow,
    growth_by_contender,
    is_timing,
    timing_rows,
)
from oscbench.records import Record


def ratio_half_width(record: Record, measure: str) -> float:
    """Half of a ratio's 95 % interval over the ratio.

    Older records have it of the two times alone; together they are then taken to vary independently, which contenders that take turns do
    not, so that the interval is on the wide side.

    Args:
        record: Of a timing.
        measure: Name of the ratio, as in `step_ratio/ssa`.

    Returns:
        Infinite where there were fewer than five rounds.
    """
    details = record.measures[measure].details
    quantity, _, key = measure.partition("_ratio/")
    if key == details.get("reference"):
        return 0.0
    if "half_width" in details:
        return _known(details["half_width"])
    times = [record.measures.get(f"{quantity}_s/{one}") for one in (key, details.get("reference"))]
    return math.hypot(*(_known(time.details.get("half_width")) if time else math.inf for time in times))


def _known(half: float | None) -> float:
    return math.inf if half is None else float(half)


TIME, RATIO, PEAK = "_s", "_ratio", "_peak_memory_bytes"


@dataclass(frozen=True)
class TimingGroup:
    """What was timed in turn, so that its numbers stand beside one another.

    Attributes:
        growth: (contender, quantity) -> how it grows with the number of tokens.
        records: All of the suite, whose specs say the reference and the order of the contenders.
    """

    suite: str
    device: str
    setting: str
    batch: int
    rows: tuple[TimingRow, ...]
    growth: Mapping[tuple[str, str], Growth]
    records: tuple[Record, ...]

    @property
    def slug(self) -> str:
        """Name for anchors and files."""
        return words.slug(f"{self.suite} {self.device} {self.setting} b{self.batch}")

    @property
    def title(self) -> str:
        """Where its numbers come from."""
        return f"{self.suite}: {self.setting}, batch {self.batch}, on {self.device}"

    @property
    def references(self) -> list[str]:
        """What ratios are over."""
        return list(dict.fromkeys(str(record.spec.get("reference")) for record in self.records))

    @property
    def answer(self) -> str:
        """What the last pass costs at the largest size, each op by its fastest backend there; empty without a ratio."""
        ratios = [
            r
            for r in self.rows
            if r.quantity.endswith(RATIO) and r.value and r.contender not in self.references
        ]
        if not ratios:
            return ""
        quantity = quantities(ratios, RATIO)[-1]
        tokens = max(row.tokens for row in ratios if row.quantity == quantity)
        fastest: dict[str, TimingRow] = {}
        for row in sorted(ratios, key=lambda row: row.value or math.inf):
            if row.quantity == quantity and row.tokens == tokens:
                fastest.setdefault(op_of(row.contender), row)
        costs = ", ".join(f"{row.contender} {row.value:.2f}×" for row in fastest.values())
        name = pass_name(quantity.removesuffix(RATIO))
        return f"a {name} at N {tokens}, over the time of {', '.join(self.references)}: {costs}."


def timing_groups(records: Sequence[Record]) -> list[TimingGroup]:
    """One for each suite, device, setting and batch among the timing records."""
    rows = sorted(timing_rows(records), key=_key)
    growth = growth_by_contender(rows)
    return [_group(key, list(inside), growth, records) for key, inside in groupby(rows, key=_key)]


def _key(row: TimingRow) -> tuple[str, str, str, int]:
    return (row.suite, row.device, row.setting, row.batch)


def _group(
    key: tuple[str, str, str, int],
    rows: list[TimingRow],
    growth: Mapping[tuple[str, str, str, str, int, str], Growth],
    records: Sequence[Record],
) -> TimingGroup:
    own = tuple(r for r in records if is_timing(r) and r.suite == key[0])
    order = [str(record.spec.get("reference")) for record in own]
    order += [str(contender["key"]) for record in own for contender in record.spec["contenders"]]
    rows.sort(key=lambda row: order.index(row.contender))
    found = {
        (contender, quantity): fitted
        for (*group, contender, batch, quantity), fitted in growth.items()
        if (*group, batch) == key
    }
    return TimingGroup(*key, tuple(rows), found, own)


def op_of(contender: str) -> str:
    """What is computed, without the backend that does."""
    return contender.split(":", 1)[0]


def pass_name(name: str) -> str:
    """What was timed, in words."""
    return "training step" if name == "step" else f"{name.replace('_', ' ')} pass"


def quantities(rows: Iterable[TimingRow], suffix: str) -> list[str]:
    """What was measured of one kind, in the order of the records."""
    return list(dict.fromkeys(row.quantity for row in rows if row.quantity.endswith(suffix)))

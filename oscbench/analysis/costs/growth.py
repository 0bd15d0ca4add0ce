"""How a cost grows with the number of tokens: the exponent of a power law, with its interval (no torch)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scipy import stats

from oscbench.records.schema import Record


@dataclass(frozen=True)
class Growth:
    """cost ∝ N^exponent, fitted to logarithms by least squares.

    Attributes:
        exponent: of N.
        low: of the interval, None with fewer than three sizes.
        high: of the interval.
        sizes: how many sizes it was fitted to.
    """

    exponent: float
    low: float | None
    high: float | None
    sizes: int


@dataclass(frozen=True)
class TimingRow:
    """One quantity of one contender at one size, as a timing record holds it."""

    suite: str
    device: str
    family: str
    contender: str
    quantity: str
    setting: str
    batch: int
    tokens: int
    value: float | None
    unit: str
    reason: str | None
    rounds: int
    details: dict[str, object]


def fit_growth(tokens: Sequence[float], costs: Sequence[float], confidence: float = 0.95) -> Growth | None:
    """The exponent over all sizes given; None with fewer than two different ones or a cost that is not positive.

    The interval is that of the slope under normal errors of the logarithms; it also widens where the cost is no power law.
    """
    pairs = [(math.log(n), math.log(c)) for n, c in zip(tokens, costs, strict=True) if n > 0 and c > 0]
    if len(pairs) != len(tokens) or len({x for x, _ in pairs}) < 2:
        return None
    fitted = stats.linregress([x for x, _ in pairs], [y for _, y in pairs])
    slope = float(fitted.slope)
    if len(pairs) < 3:
        return Growth(slope, None, None, len(pairs))
    margin = float(stats.t.ppf(0.5 + confidence / 2, len(pairs) - 2)) * float(fitted.stderr)
    return Growth(slope, slope - margin, slope + margin, len(pairs))


def is_timing(record: Record) -> bool:
    """Whether a record is one of a timing suite."""
    return record.spec.get("kind") == "timing"


def timing_rows(records: Iterable[Record]) -> list[TimingRow]:
    """Every quantity of every contender of the timing records among these, one row each."""
    rows = []
    for record in records:
        if not is_timing(record):
            continue
        for name, measured in record.measures.items():
            quantity, slash, contender = name.partition("/")
            if not slash:
                continue
            rows.append(
                TimingRow(
                    suite=record.suite,
                    device=record.device,
                    family=record.spec["family"],
                    contender=contender,
                    quantity=quantity,
                    setting=record.spec["setting_label"],
                    batch=record.spec["batch"],
                    tokens=record.spec["tokens"],
                    value=None if measured.value is None else float(measured.value),
                    unit=measured.unit,
                    reason=measured.reason,
                    rounds=measured.n,
                    details=dict(measured.details),
                )
            )
    return rows


def growth_by_contender(rows: Iterable[TimingRow]) -> dict[tuple[str, str, str, str, int, str], Growth]:
    """Growth with N by (suite, device, setting, contender, batch, quantity), over the sizes that were measured."""
    groups: dict[tuple[str, str, str, str, int, str], list[tuple[int, float]]] = {}
    for row in rows:
        if row.value is not None and row.unit in ("s", "B"):
            key = (row.suite, row.device, row.setting, row.contender, row.batch, row.quantity)
            groups.setdefault(key, []).append((row.tokens, row.value))
    found = {}
    for key, points in groups.items():
        growth = fit_growth([n for n, _ in points], [cost for _, cost in points])
        if growth is not None:
            found[key] = growth
    return found

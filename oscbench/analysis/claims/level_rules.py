"""Rules about one entry or one ratio against a level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from oscbench import words
from oscbench.analysis.claims.evidence import Evidence, Finding, Levels, Outcome, absent, by_interval
from oscbench.analysis.claims.ledger import Count, Finishes, OverFloors, Quantity, Time
from oscbench.analysis.costs.timing import ratio_half_width
from oscbench.analysis.frame import value_of
from oscbench.analysis.statistics.seeds import exact_proportion_interval, mean_interval
from oscbench.records import Record


def quantities(asks: Sequence[Quantity], evidence: Evidence, levels: Levels) -> list[Finding]:
    """A quantity of health within bounds: its 95 % interval over eight seeds or more must lie inside."""
    return [_quantity(ask, evidence, levels) for ask in asks]


def _quantity(ask: Quantity, evidence: Evidence, levels: Levels) -> Finding:
    cells = evidence.entry(ask.entry, ask.suite, ask.value)
    values = []
    for record in cells:
        rows = [
            row.quantities[ask.quantity]
            for row in record.health
            if row.when == ask.when and ask.quantity in row.quantities
        ]
        values += [float(np.mean(rows))] if rows else []
    if not values:
        return absent(ask)
    ends, mean = mean_interval(values), float(np.mean(values))
    low, high = (ends.low, ends.high) if ends.exists else (mean, mean)
    bounds = [f"at least {ask.at_least:g}"] if ask.at_least is not None else []
    bounds += [f"at most {ask.at_most:g}"] if ask.at_most is not None else []
    floor = -math.inf if ask.at_least is None else ask.at_least
    top = math.inf if ask.at_most is None else ask.at_most
    name = ask.what or ask.quantity.replace("_", " ")
    size = words.signed(f"{mean:.2f} [{low:.2f}, {high:.2f}]")
    text = (
        f"{evidence.called(ask.entry, ask.suite)}: {name} at the {ask.when} {size}, "
        f"asked for {' and '.join(bounds)}, {len(values)} seeds ({ask.suite})"
    )

    def inside(level: float) -> bool:
        ends = mean_interval(values, level)
        return floor <= ends.low and ends.high <= top

    def outside(level: float) -> bool:
        ends = mean_interval(values, level)
        return ends.high < floor or ends.low > top

    return by_interval(ask, text, len(values), levels, holds=inside, fails=outside)


def over_floors(asks: Sequence[OverFloors], evidence: Evidence, levels: Levels) -> list[Finding]:
    """Entries themselves against the floor that each is the least above, as their suite's verdicts need it of the best."""
    return [_over_floors(ask, evidence, levels) for ask in asks]


def _over_floors(ask: OverFloors, evidence: Evidence, levels: Levels) -> Finding:
    found = evidence.over_floor(ask.entry, ask.suite, ask.value)
    if not found:
        return absent(ask)
    least = min(found, key=lambda over: over.mean - over.margin.value)
    text = f"{least.best} {least.gap}, {least.n} seeds ({ask.suite})"

    def inside(level: float) -> bool:
        return mean_interval(least.gaps, level).low >= least.margin.value

    def outside(level: float) -> bool:
        return mean_interval(least.gaps, level).high < least.margin.value

    return by_interval(ask, text, least.n, levels, holds=inside, fails=outside)


def times(asks: Sequence[Time], evidence: Evidence, levels: Levels) -> list[Finding]:
    """Ratios of times, median over the rounds of a timing suite, with what the rounds leave open."""
    del levels  # nothing here has an interval over seeds
    return [_time(ask, evidence) for ask in asks]


def _time(ask: Time, evidence: Evidence) -> Finding:
    cells = [r for r in evidence.cells(ask.suite, ask.value) if math.isfinite(value_of(r, ask.measure))]
    if not cells:
        return absent(ask)
    ratios = [value_of(record, ask.measure) for record in cells]
    halves = [ratio_half_width(record, ask.measure) for record in cells]
    lows = [ratio * (1 - half) for ratio, half in zip(ratios, halves, strict=True)]
    low = min(lows)
    high = max(ratio * (1 + half) for ratio, half in zip(ratios, halves, strict=True))
    limit = ask.at_most * (1 + ask.tolerance)
    outcome: Outcome = "undecided"
    if high <= limit:
        outcome = "holds"
    elif max(lows) > limit:  # it is claimed of every shape
        outcome = "does not hold"
    some = f"{min(ratios):.2f}"
    if len(ratios) > 1:
        some += f" to {max(ratios):.2f} over {len(ratios)} shapes"
    known = f" [{low:.2f}, {high:.2f}]" if math.isfinite(low + high) else ", too few rounds for an interval"
    what = ask.what or ask.measure.replace("_", " ")
    asked = f"asked for at most {ask.at_most:g} give or take {100 * ask.tolerance:.0f} %"
    hides = "the interval reaches what is asked for" if math.isfinite(low + high) and low <= limit else ""
    return Finding(
        ask,
        outcome,
        f"{what}: {some}{known}, {asked} ({ask.suite})",
        hides if outcome == "undecided" else "",
    )


def counts(asks: Sequence[Count], evidence: Evidence, levels: Levels) -> list[Finding]:
    """Closed forms have no spread: what is smaller by more than matching leaves is smaller."""
    del levels  # nothing here has an interval over seeds
    found = []
    for ask in asks:
        sides = [
            [_count(r, ask) for r in evidence.entry(name, ask.suite, ask.value)]
            for name in (ask.treatment, ask.baseline)
        ]
        first, second = ([value for value in side if math.isfinite(value)] for side in sides)
        if not first or not second or not np.median(second):
            found.append(absent(ask))
            continue
        ratio = float(np.median(first)) / float(np.median(second))
        what = ask.what or f"{ask.measure} {ask.detail}".strip()
        names = evidence.both(ask.treatment, ask.baseline, ask.suite)
        text = f"{names[0]} over {names[1]}: {ratio:.3f} times the {what}, a closed form ({ask.suite})"
        if abs(ratio - 1) <= ask.tolerance:
            found.append(Finding(ask, "undecided", text, "equal, as far as matched models can be"))
        else:
            found.append(Finding(ask, "holds" if ratio < 1 else "does not hold", text))
    return found


def _count(record: Record, ask: Count) -> float:
    measurement = record.measures.get(ask.measure)
    if measurement is None or not ask.detail:
        return value_of(record, ask.measure)
    value: Any = measurement.details
    for step in ask.detail.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return float(value) if isinstance(value, int | float) else math.nan


def finishes(asks: Sequence[Finishes], evidence: Evidence, levels: Levels) -> list[Finding]:
    """Whether any cell of a suite diverged."""
    return [_finishes(ask, evidence, levels) for ask in asks]


def _finishes(ask: Finishes, evidence: Evidence, levels: Levels) -> Finding:
    cells = [r for r in evidence.cells(ask.suite, ask.value) if r.mechanism == ask.mechanism]
    if not cells:
        return absent(ask)
    diverged = sum(record.status == "diverged" for record in cells)
    ends = exact_proportion_interval(diverged, len(cells))
    share = f"[{100 * ends.low:.0f}, {100 * ends.high:.0f} %]"
    text = f"{ask.mechanism}: {diverged} of {len(cells)} runs diverged {share} ({ask.suite})"
    seeds = len({record.seed for record in cells})
    return by_interval(ask, text, seeds, levels, holds=lambda _: not diverged, fails=lambda _: diverged > 0)

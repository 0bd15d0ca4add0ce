"""The rule about a gap that falls as a power of a setting."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from oscbench import words
from oscbench.analysis.claims.evidence import Evidence, Finding, Levels, absent, by_interval
from oscbench.analysis.claims.ledger import Falls
from oscbench.analysis.frame import headline
from oscbench.analysis.statistics.power_law import Scaling, ScalingError, exponent_interval, fit_scaling
from oscbench.analysis.statistics.seeds import Interval
from oscbench.records import Record


def falls(asks: Sequence[Falls], evidence: Evidence, levels: Levels) -> list[Finding]:
    """The exponent of a power law through the mean gaps, over the seeds that all have: its t interval must lie above 0."""
    return [_falls(ask, evidence, levels) for ask in asks]


def _falls(ask: Falls, evidence: Evidence, levels: Levels) -> Finding:
    finished = [r for r in evidence.cells(ask.suite, ask.value) if math.isfinite(headline(r))]
    at: dict[float, dict[int, Record]] = {}
    for record in finished:
        x = record.spec.get("mechanism", {}).get(ask.over)
        if record.mechanism == ask.treatment and isinstance(x, int | float):
            at.setdefault(float(x), {})[record.seed] = record
    told_of = evidence.entry(ask.baseline, ask.suite, ask.value)
    baseline = {r.seed: r for r in told_of if math.isfinite(headline(r))}
    seeds = sorted(set(baseline).intersection(*at.values())) if at else []
    if not seeds:
        return absent(ask)
    metric = finished[0].measures[finished[0].metric]
    sign = 1.0 if metric.direction == "lower" else -1.0
    gaps = {
        x: {s: sign * (headline(found[s]) - headline(baseline[s])) for s in seeds} for x, found in at.items()
    }
    unit = metric.unit
    what = ask.what or ask.over
    told = ", ".join(
        f"{words.difference(float(np.mean(list(gaps[x].values()))), unit)} at {x:g}" for x in sorted(gaps)
    )
    treatment = next(r.card.label for r in finished if r.mechanism == ask.treatment)
    told = f"{treatment} worse than {evidence.called(ask.baseline, ask.suite)} by {told} of {what}, {len(seeds)} seeds ({ask.suite})"
    withheld = evidence.withheld(ask.suite, ask.value)
    beyond = [x for x, of in sorted(gaps.items()) if np.mean(list(of.values())) <= 0]
    if beyond:
        passed = f"no power law: from {beyond[0]:g} on there is no gap, {treatment} is ahead in the mean"
        return Finding(ask, "undecided", told, f"{passed}; {withheld}" if withheld else passed)
    if withheld:
        return Finding(ask, "undecided", told, withheld)
    try:
        law = fit_scaling(gaps, generator=np.random.default_rng(0))
    except ScalingError as error:
        return Finding(ask, "undecided", told, f"no power law: {error}")
    return _judged(ask, law, partial(exponent_interval, gaps), levels, told, len(seeds))


def _judged(
    ask: Falls,
    law: Scaling,
    ends_at: Callable[[float], Interval | None],
    levels: Levels,
    told: str,
    num_seeds: int,
) -> Finding:
    ends = law.exponent_t
    shown = f" [{ends.low:.2f}, {ends.high:.2f}]" if ends else ""
    off = f"the means lie {100 * law.law.rms:.0f} % off it"
    text = f"gap to the power of {words.MINUS}{law.law.exponent:.2f}{shown}, {off}: {told}"
    if ends is not None and ends.low > 0 and law.law.rms > ask.off:
        return Finding(ask, "undecided", text, "the gap falls, and not as a power")
    return by_interval(
        ask,
        text,
        num_seeds,
        levels,
        holds=lambda level: (found := ends_at(level)) is not None and found.low > 0,
        fails=lambda level: (found := ends_at(level)) is not None and found.high <= 0,
        hides=f"it could still fall to the power of {words.MINUS}{ends.high:.2f}" if ends else "",
    )

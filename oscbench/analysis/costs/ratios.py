"""What the rounds of a timing leave open of a ratio of two times."""

from __future__ import annotations

import math

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

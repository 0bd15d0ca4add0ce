"""Beyond the ends of a search's ranges: what is tried when the choice stands at a bound, where better may lie outside."""

from __future__ import annotations

from typing import Any, Literal

from oscbench.suite.tune import Axis

End = Literal["low", "high"]
MOST_TRIALS = 6
"""Further trials of an entry, over all of its extensions."""
STEPS = 2
"""Values beyond an end in one extension, each a step further."""


def ends_reached(space: dict[str, Axis], chosen: dict[str, Any]) -> dict[str, End]:
    """Place -> `low` or `high`, for every value that stands at an end of what could be chosen."""
    from oscbench.analysis.search import edge  # which loads what a report needs

    ends: dict[str, End] = {"at the low end": "low", "at the high end": "high"}
    told = {key: edge(axis.model_dump(), chosen[key]) for key, axis in space.items()}
    return {key: ends[text] for key, text in told.items() if text in ends}


def beyond(axis: Axis, end: str) -> list[int | float]:
    """The next values outside an end: factors of 2 and 4 where the axis is one of ratios, steps otherwise.

    A step is one for whole numbers, half a range of fractions, and the distance of the last two of a list of numbers.
    """
    if axis.choices is None:
        return _beyond_range(axis, end)
    ordered = sorted(axis.choices, reverse=end == "low")
    last, before = ordered[-1], ordered[-2]
    rising = sorted(axis.choices)
    growing = rising[-1] - rising[-2] > rising[1] - rising[0]
    if growing and min(last, before) > 0:
        found = [last * (last / before) ** (step + 1) for step in range(STEPS)]
    else:
        found = [last + (last - before) * (step + 1) for step in range(STEPS)]
    whole = all(isinstance(choice, int) for choice in axis.choices)
    return [int(value) if whole and value == int(value) else _short(value) for value in found]


def _beyond_range(axis: Axis, end: str) -> list[int | float]:
    assert axis.low is not None
    assert axis.high is not None
    whole = isinstance(axis.low, int) and isinstance(axis.high, int)
    last: int | float = axis.high if end == "high" else axis.low
    sign = 1 if end == "high" else -1
    if axis.log:
        found = [last * 2.0 ** (sign * (step + 1)) for step in range(STEPS)]
        return [round(value) if whole else _short(value) for value in found]
    size = 1 if whole else (axis.high - axis.low) / 2
    return [
        last + sign * size * (step + 1) if whole else _short(last + sign * size * (step + 1))
        for step in range(STEPS)
    ]


def widened(axis: Axis, values: list[int | float]) -> Axis:
    """The axis with values outside of it taken in."""
    if axis.choices is not None:
        return Axis(choices=[*axis.choices, *values])
    assert axis.low is not None
    assert axis.high is not None
    return Axis(low=min(axis.low, *values), high=max(axis.high, *values), log=axis.log)


def _short(value: float) -> float:
    return float(f"{value:.3g}")

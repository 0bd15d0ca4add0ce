"""Matching: move the MLP's hidden units until a model costs what the reference model costs.

One hidden unit is about 0.3 % of a small model, one width step is 50 %: so it is the hidden units that move. Parameters and FLOPs
are linear in them, so two counts on the meta device solve the equation. The time of a training step is measured: the search is
here, the clock is the caller's. The residual is recorded in every mode.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from oscbench.models.backbones import Backbone
from oscbench.models.trunk import Unstarted

Mode = Literal["none", "params", "flops", "time"]
Build = Callable[[int | None], Backbone]
MAX_TRIES = 14
"""Measurements of matching by time, the proofs among them."""


class MatchingError(ValueError):
    """No number of hidden units brings the model within the tolerance."""


@dataclass(frozen=True)
class Matched:
    """What the solver chose.

    Attributes:
        by: how.
        hidden: hidden units of the MLP.
        target: the reference's parameters, FLOPs, or seconds of a training step.
        value: this model's.
        residual: how far it is from its target, value/target - 1; by time, the median of paired ratios - 1.
        spread: of a measured residual: half of its 95 % interval.
        converged: whether a measured residual and its spread are both within the tolerance.
        details: of the measurement.
    """

    by: Mode
    hidden: int
    target: float | None = None
    value: float | None = None
    residual: float | None = None
    spread: float | None = None
    converged: bool | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a record."""
        return dict(vars(self))


def num_parameters(model: torch.nn.Module) -> int:
    """Parameters, counted once each."""
    return sum(parameter.numel() for parameter in model.parameters())


def match(by: Mode, build: Build, build_reference: Build, tolerance: float = 0.01) -> Matched:
    """Hidden units with which a model costs what the reference does.

    Args:
        by: `params`, `flops` (forward, a sample) or `none`; `time` is left as its settings say, since it takes a clock.
        build: makes the model with so many hidden units (None: as its settings say).
        build_reference: the same for the reference mechanism.
        tolerance: largest allowed |residual|.

    Raises:
        MatchingError: the closest model is further away than the tolerance.
    """
    with torch.device("meta"), Unstarted():
        if by in ("none", "time"):
            return Matched(by, build(None).trunk.hidden)
        count = num_parameters if by == "params" else _flops
        target = count(build_reference(None))
        one, two = count(build(1)), count(build(2))
        hidden = max(1, round((target - one) / (two - one)) + 1)
        value = count(build(hidden))
    residual = value / target - 1.0
    if abs(residual) > tolerance:
        raise MatchingError(
            f"matching by {by}: the nearest model has {value:,} against {target:,} ({residual:+.1%}, "
            f"tolerance {tolerance:.1%}) at {hidden} hidden units"
        )
    return Matched(by, hidden, target, value, residual)


def _flops(model: Backbone) -> int:
    return model.flops()


@dataclass(frozen=True)
class StepRatio:
    """Training steps of a model against those of its reference, taken in turn.

    Attributes:
        ratio: median over the rounds of the model's seconds over the reference's; each round's two shared the machine's state.
        spread: half of that median's 95 % interval; None with too few rounds to tell.
        rounds: that both took part in.
        seconds: median step of the model.
        reference_seconds: median step of the reference.
    """

    ratio: float
    spread: float | None
    rounds: int
    seconds: float
    reference_seconds: float


def median_with_spread(ratios: Sequence[float]) -> tuple[float, float | None]:
    """Median, and half of its 95 % interval: 1.82 IQR/√n, as of a normal sample; None with fewer than five."""
    middle = statistics.median(ratios)
    if len(ratios) < 5:
        return middle, None
    low, _, high = statistics.quantiles(ratios, n=4)
    return middle, 1.82 * (high - low) / math.sqrt(len(ratios))


def match_time(usual: int, measure: Callable[[int], StepRatio], tolerance: float) -> Matched:
    """Hidden units with which a training step takes as long as the reference's.

    A step's time is nearly linear in the hidden units, so the next try lies on the line between the nearest faster and the
    nearest slower model. A try that lands within the tolerance is measured a second time, since the first measurement was
    chosen for being near: the second one is what the record holds. Where noise or steps in the time keep every try
    outside, the nearest one is measured again and the matching has not converged.

    Args:
        usual: hidden units to begin with.
        measure: times a model with so many hidden units against the reference.
        tolerance: largest |ratio - 1|, and largest spread, of a matching that has converged.

    Raises:
        MatchingError: with a single hidden unit a step still takes longer than the reference's.
    """
    tried: list[tuple[int, StepRatio]] = []
    hidden: int | None = usual
    while hidden is not None and len(tried) < MAX_TRIES:
        tried.append((hidden, measure(hidden)))
        if _off(tried[-1][1]) <= tolerance:
            tried.append((hidden, measure(hidden)))
            if _off(tried[-1][1]) <= tolerance:
                return _timed(tried, _precise(tried[-1][1], tolerance))
        hidden = _next_try(tried, tolerance)
    nearest = min(tried, key=lambda one: _off(one[1]))[0]
    tried.append((nearest, measure(nearest)))
    return _timed(tried, converged=False)


def _next_try(tried: list[tuple[int, StepRatio]], tolerance: float) -> int | None:
    """Hidden units between the nearest faster and the nearest slower try; None where nothing lies between."""
    faster = max((one for one in tried if one[1].ratio < 1.0), key=lambda one: one[0], default=None)
    slower = min((one for one in tried if one[1].ratio >= 1.0), key=lambda one: one[0], default=None)
    if slower is None:
        return 2 * max(hidden for hidden, _ in tried)
    if faster is None:
        hidden, found = slower
        if hidden == 1 and found.ratio - 1.0 > tolerance:
            raise MatchingError(
                f"matching by time: with one hidden unit a training step still takes {found.ratio:.3g} of the reference's"
            )
        return None if hidden == 1 else _downwards(hidden, found.ratio, tried)
    (low, below), (high, above) = faster, slower
    if high - low < 2:  # neighbours, or out of order: noise decides, and no further try would tell
        return None
    middle = low + (1.0 - below.ratio) * (high - low) / (above.ratio - below.ratio)
    return min(max(round(middle), low + 1), high - 1)


def _off(found: StepRatio) -> float:
    return abs(found.ratio - 1.0)


def _downwards(hidden: int, ratio: float, tried: list[tuple[int, StepRatio]]) -> int:
    """Fewer hidden units when all tries were too slow: half, or where the line through the two smallest tries says."""
    wider, slower = min(((h, one.ratio) for h, one in tried if h > hidden), default=(hidden, ratio))
    guess = hidden // 2
    if slower > ratio:
        guess = round(hidden - (ratio - 1.0) * (wider - hidden) / (slower - ratio))
    return min(max(guess, 1), hidden - 1)


def _precise(found: StepRatio, tolerance: float) -> bool:
    return found.spread is not None and found.spread <= tolerance


def _timed(tried: list[tuple[int, StepRatio]], converged: bool) -> Matched:
    """The last measurement as a matching, with all tries."""
    hidden, found = tried[-1]
    return Matched(
        "time",
        hidden,
        target=found.reference_seconds,
        value=found.seconds,
        residual=found.ratio - 1.0,
        spread=found.spread,
        converged=converged,
        details={"rounds": found.rounds, "tried": [[units, one.ratio] for units, one in tried]},
    )

"""Clocks, and the one way in which things are timed against one another: round by round, raw samples kept.

A contender is a call, and if it needs one a preparation that is not timed (the forward pass before a backward pass).
A round visits all contenders, so that whatever slows the machine for a while slows all of them, and the ratio of two
contenders is honest although neither time is. Each round has an order of its own (drawn, the same in every run): in a
fixed one a contender would always find caches and memory as the same neighbour leaves them.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import torch

WARM_UP_SHARE = 0.25
"""Of a contender's time, at most so much goes into warming up."""
STABLE = 0.1
"""Warm: the medians of the last two windows of samples differ by less than this share."""
WINDOW = 3
ENOUGH_S = 2e-3
"""Short calls are repeated inside one sample until it lasts so long, so that reading the clock costs nothing."""
MAX_REPEATS = 1000
FEWEST_SAMPLES = 5
"""Below these a median has no interval."""


@dataclass(frozen=True)
class Contender:
    """Something to time: `run(*prepare())`, of which `prepare` is not timed."""

    run: Callable[..., Any]
    prepare: Callable[[], tuple[Any, ...]] | None = None


class Clock(Protocol):
    """Seconds that a contender takes a call, averaged over so many repeats."""

    name: str

    def sample(self, contender: Contender, repeats: int) -> float:
        """One sample [s]."""


class WallClock:
    """The processor's monotonic clock, for contenders that run on the CPU."""

    name = "perf_counter"

    def sample(self, contender: Contender, repeats: int) -> float:
        """Mean seconds of a call."""
        if contender.prepare is None:
            started = time.perf_counter()
            for _ in range(repeats):
                contender.run()
            return (time.perf_counter() - started) / repeats
        spent = 0.0
        for _ in range(repeats):
            arguments = contender.prepare()
            started = time.perf_counter()
            contender.run(*arguments)
            spent += time.perf_counter() - started
        return spent / repeats


class EventClock:
    """CUDA events around eager calls, each after a clearing of the L2 cache that is not timed."""

    name = "cuda_events"

    def __init__(self, device: torch.device) -> None:
        self.device = device
        size = torch.cuda.get_device_properties(device).L2_cache_size
        self.clearing = torch.empty(2 * size, dtype=torch.int8, device=device)

    def sample(self, contender: Contender, repeats: int) -> float:
        """Mean seconds of a call."""
        pairs = []
        for _ in range(repeats):
            arguments = contender.prepare() if contender.prepare else ()
            self.clearing.zero_()
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            contender.run(*arguments)
            end.record()
            pairs.append((begin, end))
        torch.cuda.synchronize(self.device)
        return float(sum(begin.elapsed_time(end) for begin, end in pairs)) / repeats / 1e3


def captured(contender: Contender) -> Contender:
    """The same call as a CUDA graph, so that only the kernels are timed and not the launching of them.

    The call is kept with it: a graph reads and writes where its tensors lay, and holds none of them.

    Raises:
        ValueError: it needs a preparation, which a graph cannot leave out.
        RuntimeError: it waits for the GPU, which a graph cannot do.
    """
    if contender.prepare is not None:
        raise ValueError("a pass with an untimed preparation cannot be captured as a graph")
    return Contender(partial(_replay, graph_of(contender.run), contender.run))


def _replay(graph: torch.cuda.CUDAGraph, call: Callable[[], Any]) -> None:
    del call  # kept by whoever keeps this
    graph.replay()


def graph_of(call: Callable[[], Any]) -> torch.cuda.CUDAGraph:
    """A call as a CUDA graph, after three that warm it up on another stream.

    Raises:
        RuntimeError: it waits for the GPU. That is found before it is captured: a capture that breaks leaves stream and memory of the
            whole process in its state.
    """
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(2):
            call()
        torch.cuda.set_sync_debug_mode("error")
        try:
            call()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph


def clock_for(device: torch.device) -> Clock:
    """The clock of a device."""
    return EventClock(device) if device.type == "cuda" else WallClock()


@dataclass
class Timed:
    """What timing one contender found.

    Attributes:
        samples: seconds of a call, one a round, in order.
        repeats: calls averaged in one sample.
        warm_up: samples thrown away.
        first: the first of them, which pays for whatever is loaded or compiled lazily.
        converged: the median's 95 % interval is within the precision asked for.
    """

    samples: list[float] = field(default_factory=list)
    repeats: int = 1
    warm_up: int = 0
    first: float = math.nan
    converged: bool = False

    @property
    def median(self) -> float:
        """Seconds of a call."""
        return statistics.median(self.samples)

    def half_width(self) -> float:
        """Half of the median's 95 % interval over the median."""
        return median_half_width(self.samples)


def median_half_width(samples: Sequence[float]) -> float:
    """Half of the 95 % interval of a median over that median: 1.82 IQR/√n; infinite below five samples.

    Of a normal sample the median's standard error is 1.253 σ/√n and σ is IQR/1.349, so that 1.96 of them are 1.82 IQR/√n. The 1.57 of a
    notched box plot is meant for two medians side by side, and covers one at about 91 %.
    """
    if len(samples) < FEWEST_SAMPLES:
        return math.inf
    low, middle, high = statistics.quantiles(samples, n=4)
    return 1.82 * (high - low) / math.sqrt(len(samples)) / max(middle, 1e-12)


def known_half_width(samples: Sequence[float]) -> float | None:
    """The same as a record has it: None where it is not known."""
    return median_half_width(samples) if len(samples) >= FEWEST_SAMPLES else None


@dataclass(frozen=True)
class Effort:
    """How long to try.

    Attributes:
        seconds: of one contender, warming up included.
        min_rounds: rounds that are taken even if the precision is reached sooner.
        max_rounds: never more.
        precision: of the median, relative; where it is not reached in time `converged` is false.
    """

    seconds: float = 10.0
    min_rounds: int = 5
    max_rounds: int = 200
    precision: float = 0.03


def interleave(
    contenders: Mapping[str, Contender],
    clock: Clock,
    effort: Effort,
    now: Callable[[], float] = time.monotonic,
) -> dict[str, Timed]:
    """Warm every contender up, then time them round by round until all are precise or their time is over.

    Each has its own time, so that a slow one leaves after few rounds and the others go on; at least one round is taken,
    however long it lasts. The samples of round i stand at place i of every contender that took part in it.
    """
    found, spent = {}, {}
    for name, contender in contenders.items():
        started = now()
        found[name] = _warm_up(contender, clock, effort, now)
        spent[name] = now() - started
    taking_part, orders = list(contenders), random.Random(0)
    for done in range(1, effort.max_rounds + 1):
        for name in orders.sample(taking_part, len(taking_part)):
            started = now()
            found[name].samples.append(clock.sample(contenders[name], found[name].repeats))
            spent[name] += now() - started
        taking_part = [name for name in taking_part if spent[name] < effort.seconds]
        precise = all(found[name].half_width() <= effort.precision for name in taking_part)
        if not taking_part or (precise and done >= effort.min_rounds):
            break
    for timed in found.values():
        timed.converged = timed.half_width() <= effort.precision
    return found


def _warm_up(contender: Contender, clock: Clock, effort: Effort, now: Callable[[], float]) -> Timed:
    """Sample until two windows agree or the share of the time is used; choose how often a sample repeats."""
    started = now()
    seen = [clock.sample(contender, 1)]
    while now() - started < WARM_UP_SHARE * effort.seconds and len(seen) < effort.max_rounds:
        seen.append(clock.sample(contender, 1))
        last, before = seen[-WINDOW:], seen[-2 * WINDOW : -WINDOW]
        if len(before) == WINDOW and _close(statistics.median(last), statistics.median(before)):
            break
    usual = statistics.median(seen[-WINDOW:])
    repeats = min(MAX_REPEATS, max(1, math.ceil(ENOUGH_S / max(usual, 1e-9))))
    return Timed(repeats=repeats, warm_up=len(seen), first=seen[0])


def _close(a: float, b: float) -> bool:
    return abs(a - b) <= STABLE * max(a, b)


def paired_ratio(numerator: Timed, denominator: Timed) -> list[float]:
    """Ratio of two contenders round by round; each round's two samples shared the machine's state."""
    return [a / b for a, b in zip(numerator.samples, denominator.samples, strict=False)]

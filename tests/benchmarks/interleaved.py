"""Ratios of contenders timed in turns (A B A B …) in one process, best of the rounds; they inform and never gate."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import torch

from oscbench import ops
from oscbench.instruments.peak_memory import peak_in_child

Call = Callable[[], object]


def forward(function: Callable[..., object]) -> Call:
    def run() -> object:
        with torch.no_grad():
            return function()

    return run


def both(function: Callable[..., torch.Tensor]) -> Call:
    """Forward and backward; leaves collect their gradients."""

    def run() -> None:
        out = function()
        out.backward(torch.ones_like(out))

    return run


def race(benchmark, capsys, name: str, slow: Call, fast: Call, rounds: int = 7) -> float:
    """Time two contenders in turns; the ratio of their best goes to the table and to the record.

    On idle cores two threads and the clock on the wall. On a busy machine waiting threads would be most of what is
    measured (ratios fell fivefold), so there one thread and its own processor time.
    """
    threads, load = torch.get_num_threads(), os.getloadavg()[0]
    busy = load > 1.0
    clock = time.process_time if busy else time.perf_counter
    torch.set_num_threads(1 if busy else 2)
    best = {slow: float("inf"), fast: float("inf")}

    def turn() -> None:
        for call in (slow, fast):
            start = clock()
            call()
            best[call] = min(best[call], clock() - start)

    try:
        benchmark.pedantic(turn, rounds=rounds, warmup_rounds=1)
    finally:
        torch.set_num_threads(threads)
    ratio = best[slow] / best[fast]
    how = "processor time, 1 thread" if busy else "wall, 2 threads"
    benchmark.extra_info |= {"ratio": ratio, "slow": best[slow], "fast": best[fast], "load": load, "how": how}
    with capsys.disabled():
        times = f"{best[slow] * 1e3:8.2f} ms / {best[fast] * 1e3:8.2f} ms"
        print(f"\n{name:58s} {times} = {ratio:7.2f}x   ({how}; load {load:.1f} of {os.cpu_count()})")
    return ratio


def working(op: str, backend: str, tokens: int, heads: int, width: int) -> Callable[[], None]:
    """One forward and backward of an op, which the child of `peak_in_child` calls."""

    def draw(last: int = width) -> torch.Tensor:
        return torch.randn(1, heads, tokens, last, requires_grad=True)

    def run() -> None:
        if op == "torus_attention":
            out = ops.torus_attention(draw(width // 2), torch.ones(1), backend=backend)
        elif op == "fixed_query_attention":
            anchors = torch.nn.functional.normalize(torch.randn(heads, tokens, 8), dim=-1).requires_grad_()
            out = ops.fixed_query_attention(draw(), draw(), draw(), anchors, is_causal=True, backend=backend)
        else:
            omega = (torch.randn(1, heads, tokens, width) * 0.08).requires_grad_()
            out = ops.selective_synchronization(
                omega, draw(), draw(), coupling=1.3, alpha=1.3, is_causal=True, backend=backend
            )
        out.sum().backward()

    return run


def show_memory(benchmark, capsys, op: str, heads: int = 4, width: int = 32) -> None:
    """Peaks at N = 4096 and 8192 in fresh processes, inputs and gradients included; wanted: 120 MiB, and at most 80 MiB more."""
    peaks: dict[int, float] = {}

    def measure() -> None:
        for tokens in (4096, 8192):
            found = peak_in_child(working, op, "blocked", tokens, heads, width, threads=2)
            peaks[tokens] = found.above / 2**20

    benchmark.pedantic(measure, rounds=1)
    benchmark.extra_info |= {"op": op, "backend": "blocked", "peaks": peaks}
    with capsys.disabled():
        told = ", ".join(f"N {tokens}: {mebibytes:.0f} MiB" for tokens, mebibytes in peaks.items())
        print(f"\n{op} blocked above the start: {told}")

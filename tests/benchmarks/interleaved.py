"""Ratios of contenders timed in turns (A B A B …) in one process, best of the rounds; they inform and never gate."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

import oscbench

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


def fresh_peak(op: str, backend: str, tokens: int) -> tuple[float, float]:
    """(MiB above the start, seconds) of one forward and backward in a new process."""
    script = Path(__file__).with_name("memory_child.py")
    environment = os.environ | {"PYTHONPATH": str(Path(oscbench.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, script, op, backend, str(tokens)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    mebibytes, seconds = done.stdout.split()
    return float(mebibytes), float(seconds)


def show_memory(benchmark, capsys, op: str, backend: str) -> None:
    """Peaks at N = 4096 and 8192: under 120 MiB, and at most 80 MiB more, is what issue 3 asks."""
    peaks: dict[int, tuple[float, float]] = {}

    def measure() -> None:
        for tokens in (4096, 8192):
            peaks[tokens] = fresh_peak(op, backend, tokens)

    benchmark.pedantic(measure, rounds=1)
    benchmark.extra_info |= {"op": op, "backend": backend, "peaks": peaks}
    with capsys.disabled():
        for tokens, (mebibytes, seconds) in peaks.items():
            print(
                f"\n{op} {backend} N {tokens}: {mebibytes:.0f} MiB above the start, {seconds:.2f} s", end=""
            )
        print()

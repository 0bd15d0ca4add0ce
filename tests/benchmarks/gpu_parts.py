"""A whole session on a lent GPU: its parts as processes, exactness side by side and then times, within one budget.

A part that crashes, or does not end in time, is a line like any other, and the others go on. What all have found is packed into one file.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from oscbench.records import packed

SESSION = Path(__file__).with_name("gpu_session.py")
CHECKS_SHARE = 0.4
"""Of the budget, at most so much goes into exactness."""
PACKED = f"session{packed.SUFFIX}"
POLL_S = 0.1

Start = Callable[[list[str]], "subprocess.Popen[bytes]"]


def start(arguments: list[str]) -> subprocess.Popen[bytes]:
    """A part, in a process of its own."""
    return subprocess.Popen([sys.executable, str(SESSION), *arguments])


def whole(
    shared: list[str],
    cases: Sequence[str],
    races: Sequence[tuple[str, int]],
    *,
    at_once: int,
    budget: float,
    say: Callable[..., None],
    begin: Start = start,
) -> None:
    """Run every part.

    Args:
        shared: arguments of all parts.
        cases: to be checked.
        races: passes and tokens to be timed, each in a process of its own.
        at_once: checks side by side.
        budget: seconds for everything.
        say: is told how each part ended.
        begin: starts a part.
    """
    started = time.monotonic()
    until, last_check = started + budget, started + CHECKS_SHARE * budget

    def part(name: str, *more: str, ends: float) -> Callable[[], Iterator[None]]:
        def run() -> Iterator[None]:
            """Yields while it runs."""
            left = ends - time.monotonic()
            if left <= 0.0:
                say(part="all", of=name, ended="the budget is spent")
                return
            process = begin([*shared, *more, "--budget", f"{left:.1f}"])
            try:
                while process.poll() is None and time.monotonic() < ends:
                    yield
                code = process.poll()
                told = (
                    "in time"
                    if code == 0
                    else "stopped at its budget"
                    if code is None
                    else f"with code {code}"
                )
                say(part="all", of=name, ended=told)
            finally:
                process.kill()
                process.wait()

        return run

    waiting = [part(f"check {case}", "--part", "check", "--case", case, ends=last_check) for case in cases]
    running: list[Iterator[None]] = []
    while waiting or running:
        while waiting and len(running) < at_once:
            running.append(waiting.pop(0)())
        running = [one for one in running if _goes_on(one)]
        time.sleep(POLL_S if running else 0.0)
    for passes, tokens in races:
        what = ("--part", "time", "--passes", passes, "--sizes", str(tokens))
        timing = part(f"time {passes} {tokens}", *what, ends=until)()
        while _goes_on(timing):
            time.sleep(POLL_S)


def _goes_on(part: Iterator[None]) -> bool:
    return next(part, _OVER) is not _OVER


_OVER: Any = object()


def pack(folder: Path) -> int:
    """Put all lines of a session into one file; how many there are."""
    lines = [
        line for path in sorted(folder.glob("*.jsonl")) for line in path.read_bytes().splitlines() if line
    ]
    packed.write(folder / PACKED, lines)
    return len(lines)


def rows_in(folder: Path, part: str) -> list[dict[str, Any]]:
    """All rows that runs of a part have written."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob(f"{part}*.jsonl"))]
    return [json.loads(line) for text in texts for line in text.splitlines()]


def table(folder: Path) -> None:
    """What all parts have found, as text."""
    checks = [row for row in rows_in(folder, "check") if "exact" in row]
    wrong = [row for row in checks if row["exact"] is False]
    print(f"{len(checks)} checks, {len(wrong)} wrong, {sum(row['exact'] is None for row in checks)} refused")
    for row in wrong:
        print("WRONG", row)
    print(f"{'contender':36}{'N':>7}{'causal':>8}{'pass':>10}{'us':>12}{'ratio':>8}")
    for row in rows_in(folder, "time"):
        if "seconds" in row:
            which = "fwd+bwd" if row["backward"] else "fwd"
            ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
            print(
                f"{row['name']:36}{row['tokens']:7}{row['causal']!s:>8}{which:>10}{row['seconds'] * 1e6:12.1f}{ratio:>8}"
            )

"""A whole session on a lent GPU: its parts as processes, exactness side by side and then times, within one budget.

A part that crashes, or does not end in time, is a line like any other, and the others go on. What all have found is packed into one file.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

SESSION = Path(__file__).with_name("gpu_session.py")
CHECKS_SHARE = 0.4
"""Of the budget, at most so much goes into exactness."""
PACKED = "session.jsonl.gz"
POLL_S = 0.1
GRACE_S = 8.0
"""Before its end a part begins nothing more, so that what it is at is written down."""

Start = Callable[[list[str]], "subprocess.Popen[bytes]"]


def start(arguments: list[str]) -> subprocess.Popen[bytes]:
    """A part, in a process of its own; many stand side by side, so that none takes all cores."""
    threads = {"OMP_NUM_THREADS": "2"}
    return subprocess.Popen([sys.executable, str(SESSION), *arguments], env=os.environ | threads)


def whole(
    shared: list[str],
    cases: Sequence[str],
    races: Sequence[tuple[str, int]],
    *,
    at_once: int,
    budget: float,
    say: Callable[..., None],
    begin: Start = start,
    after: Callable[[], object] = lambda: None,
) -> None:
    """Run every part, the checks side by side and then the races, which share what time is left evenly.

    Args:
        shared: arguments of all parts.
        cases: to be checked.
        races: passes and tokens to be timed, each in a process of its own.
        at_once: checks side by side.
        budget: seconds for everything.
        say: is told how each part ended.
        begin: starts a part.
        after: is called after each part, whatever came of it.
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
            process = begin([*shared, *more, "--ends", f"{ends - min(GRACE_S, left / 2):.1f}"])
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
                after()

        return run

    waiting = [part(f"check {case}", "--part", "check", "--case", case, ends=last_check) for case in cases]
    running: list[Iterator[None]] = []
    while waiting or running:
        while waiting and len(running) < at_once:
            running.append(waiting.pop(0)())
        running = [one for one in running if _goes_on(one)]
        time.sleep(POLL_S if running else 0.0)
    for place, (passes, tokens) in enumerate(races):
        what = ("--part", "time", "--passes", passes, "--sizes", str(tokens))
        now = time.monotonic()
        ends = now + (until - now) / (len(races) - place)
        timing = part(f"time {passes} {tokens}", *what, ends=ends)()
        while _goes_on(timing):
            time.sleep(POLL_S)


def _goes_on(part: Iterator[None]) -> bool:
    return next(part, _OVER) is not _OVER


_OVER: Any = object()


def pack(folder: Path, into: Path) -> int:
    """Put all lines of a session into one file, with nothing that a lent machine may lack; how many there are."""
    lines = [
        line for path in sorted(folder.glob("*.jsonl")) for line in path.read_bytes().splitlines() if line
    ]
    into.mkdir(parents=True, exist_ok=True)
    part = into / f"{PACKED}.part"
    part.write_bytes(gzip.compress(b"".join(line + b"\n" for line in lines), mtime=0))
    part.replace(into / PACKED)
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
        elif why := row.get("refused") or row.get("broke"):
            print(f"{row['name']:36}{row['tokens']:7}{row['causal']!s:>8}  not timed: {why}")

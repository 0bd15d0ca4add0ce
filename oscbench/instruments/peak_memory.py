"""Peak memory of a call in a process of its own, above the level before the call.

A process that has worked before keeps freed pages, and what it then takes from them never shows; `ru_maxrss` is
inherited over exec and is no better. So a fresh child builds what it needs, calls once (what loads lazily is not the
call's), hands all free pages back, resets its own high-water mark, calls again, and reads the mark. Its allocator
gives every tensor back when it is freed: the peak is that of what the call needs, not of the gaps between.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TIMEOUT_S = 300.0
PR_SET_THP_DISABLE = 41
MALLOC = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "16384", "MALLOC_TRIM_THRESHOLD_": "0"}
"""glibc maps every tensor of 16 KiB or more by itself and unmaps it when freed, so that no gaps blur the peak."""
Named = Iterator[tuple[str, Callable[[], Any]]]


class PeakError(Exception):
    """The peak could not be measured."""


@dataclass(frozen=True)
class Peak:
    """Bytes of resident memory: before the call, and how far the call went above that."""

    level: int
    above: int


def peak_in_child(build: Callable[..., Callable[[], Any]], *arguments: Any, threads: int = 1) -> Peak:
    """Peak of `build(*arguments)()` above the level after building, in a fresh process.

    Args:
        build: a module's function, which the child imports; its own memory counts as level.
        arguments: of `build`, picklable.
        threads: of torch in the child.

    Raises:
        PeakError: the child failed, or the system does not tell peaks.
    """
    found = peaks_in_child(_alone, build, *arguments, threads=threads)["it"]
    if isinstance(found, PeakError):
        raise found
    return found


def _alone(build: Callable[..., Callable[[], Any]], *arguments: Any) -> Named:
    yield "it", build(*arguments)


def peaks_in_child(
    build: Callable[..., Named], *arguments: Any, threads: int = 1
) -> dict[str, Peak | PeakError]:
    """The same for several calls, one after the other in one child; what one leaves is the next one's level.

    Raises:
        PeakError: the child failed altogether.
    """
    request = pickle.dumps((build, arguments, threads))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "oscbench.instruments.peak_memory"],
            input=request,
            capture_output=True,
            env={**os.environ, **MALLOC, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise PeakError(f"the child took more than {TIMEOUT_S:.0f} s") from error
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        how = f"ended with code {done.returncode}" if done.returncode > 0 else "was killed"
        raise PeakError(f"the child {how}: {lines[-1] if lines else 'no message'}")
    answer: dict[str, Any] = json.loads(done.stdout.decode().strip().splitlines()[-1])
    return {
        name: PeakError(found) if isinstance(found, str) else Peak(*found) for name, found in answer.items()
    }


def status_bytes(key: str) -> int:
    """`VmRSS` or `VmHWM` of this process.

    Raises:
        PeakError: the system does not tell it.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:")) * 1024
    except (OSError, StopIteration, ValueError) as error:
        raise PeakError(f"this system does not tell {key}") from error


def peak_here(run: Callable[[], Any]) -> Peak:
    """The peak of a call in this process, above the level that the same call before it left.

    Raises:
        PeakError: the system does not tell it, or an earlier peak hides this one.
    """
    run()
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)  # freed pages that the process keeps would hide what the call takes
    except (OSError, AttributeError) as error:
        raise PeakError("this system's allocator cannot be told to give freed pages back") from error
    # VmHWM starts again from VmRSS; where that is not allowed, a peak below an earlier one is noticed.
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    level, mark = status_bytes("VmRSS"), status_bytes("VmHWM")
    run()
    highest = status_bytes("VmHWM")
    if highest == mark and mark > level:
        raise PeakError("an earlier peak of the process hides this one, and it may not be reset")
    return Peak(level, highest - level)


def _main() -> None:
    """The child: request on standard input, one line of JSON on standard output."""
    # Huge pages would make every small allocation up to 2 MiB larger, or not, by chance.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)
    import torch

    build, arguments, threads = pickle.loads(sys.stdin.buffer.read())
    torch.set_num_threads(threads)
    answer: dict[str, Any] = {}
    for name, run in build(*arguments):
        try:
            peak = peak_here(run)
            answer[name] = (peak.level, peak.above)
        except PeakError as error:
            answer[name] = str(error)
    print(json.dumps(answer))


if __name__ == "__main__":
    # Under its own name, so that a PeakError raised by what the request imports is the one caught here.
    from oscbench.instruments import peak_memory

    peak_memory._main()

"""A session on a lent GPU, in parts that run side by side and write what they find line by line: exactness first, then times.

    session() { PYTHONPATH=$PWD python tests/benchmarks/gpu_session.py --output /tmp/session --pack "$OUT" "$@"; }
    session --part all --budget 520              # everything that follows, each part a process; $OUT has one packed file after each of them
    session --part truth --device cpu            # before, where time is cheap: float64 results for `check`
    for case in $(session --list); do session --part check --case "$case" & done; wait
    session --part time --sizes 4096,1024        # alone on the GPU: backends found exact, against the fastest fused attention
    session --part once --case ssa-half-locked               # one forward and backward pass, for a profiler
    session --part table                         # what all lines say

With `--device cpu` every part runs small, to see that it works. Every op and backend that can run is compared with the literal
equations in float64: outputs in float32 and bfloat16, gradients in float32, causal and not, ragged N. Times are CUDA-graph
replays over input sets larger than the L2, bfloat16, B 4, H 16, d 64, as ratios to the fastest of FLASH, EFFICIENT and CUDNN, each
forced by name, for the same matmul width. A backend that was not found exact is not timed. A part ends when its budget is spent, and
a backend that fails, in its compiler too, is a line and not the end.

`check` takes ragged sizes and one that 16 divides, for which Triton makes another binary; a kernel's tiles are forced one after the other,
so that whichever is chosen when it is timed was checked; width 128 once; and ends with one pass at the sizes of `time`, all cases side by
side, so that what `time` needs is compiled already. Each size, causal or not, forward or with the backward pass, is timed by a process of
its own, since an error of CUDA ends one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from gpu_cases import CASES, Case, slug
from gpu_checks import SIZES, cast, check, in_order, kept_truths
from gpu_parts import PACKED, pack, rows_in, table, whole
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from oscbench import ops
from oscbench.errors import kind_and_line
from oscbench.instruments.clock import graph_of
from oscbench.machine.environment import environment

SDPA = {
    "FLASH": SDPBackend.FLASH_ATTENTION,
    "EFFICIENT": SDPBackend.EFFICIENT_ATTENTION,
    "CUDNN": SDPBackend.CUDNN_ATTENTION,
}
L2_BYTES = 128 << 20
ROUNDS = 20
PASSES = (False, True)
"""Without the backward pass, and with it."""


class Lines:
    """A file that rows are appended to as they are found, one JSON object a line."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path

    def add(self, **row: Any) -> None:
        """Write one row, and let it be seen."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print({name: value for name, value in row.items() if name != "samples"}, flush=True)


def warm(case: Case, arguments: argparse.Namespace, until: float) -> None:
    """Compile, and choose tiles, for what `time` will ask for: the results lie in the compilers' own folders."""
    for n in arguments.sizes if arguments.device == "cuda" else []:
        inputs = sets_of(case, n, arguments.device, grad=True, small=False)[0]
        for backend in in_order([*map(str, ops.backends(case.op, arguments.device))]):
            for causal in case.causal:
                if backend == "reference" or time.monotonic() > until:
                    continue
                with contextlib.suppress(Exception):  # `time` says why
                    passes(case, inputs, {"is_causal": causal, "backend": backend}, backward=True)()


def exact_backends(folder: Path) -> set[tuple[str, str]]:
    """(case, backend) of which every check that ran was exact, and some did."""
    rows = [row for row in rows_in(folder, "check") if "exact" in row]
    return {(r["case"], r["backend"]) for r in rows if r["exact"]} - {
        (r["case"], r["backend"]) for r in rows if r["exact"] is False
    }


def sets_of(case: Case, n: int, device: str, *, grad: bool, small: bool) -> list[dict[str, Tensor]]:
    """Input sets that together are larger than the L2, so that none is found there by the next replay."""
    b, h, d = (1, 2, 64) if small else (4, 16, 64)
    # One batch drawn and repeated: drawing all of them takes longer than timing them.
    one = case.make(1, h, n, d, torch.Generator().manual_seed(3))
    wide = {
        k: x.repeat(b, 1, 1, 1) if len(x) == 1 and x.ndim == 4 and x.shape[1] == h else x
        for k, x in one.items()
    }
    first = cast(wide, torch.bfloat16, device, grad=grad)
    size = sum(x.numel() * x.element_size() for x in first.values())
    count = 1 if small else max(2, L2_BYTES // size + 1)
    more = [{k: x.detach().clone().requires_grad_(grad) for k, x in first.items()} for _ in range(count - 1)]
    return [first, *more]


def passes(
    case: Case, inputs: dict[str, Tensor], options: dict[str, Any], *, backward: bool
) -> Callable[[], Any]:
    """A call without arguments: forward, or forward and backward."""
    wanted = [x for x in inputs.values() if x.requires_grad]

    def run() -> Any:
        out = case.call(inputs, options)
        return torch.autograd.grad(out.sum(), wanted, allow_unused=True) if backward else out

    return run


def timer(calls: list[Callable[[], Any]], device: str) -> Callable[[], float]:
    """Seconds a call, over one replay of each: CUDA graphs on the GPU, the wall clock elsewhere."""
    for call in calls:
        call()
    if device == "cpu":

        def on_cpu() -> float:
            start = time.perf_counter()
            for call in calls:
                call()
            return (time.perf_counter() - start) / len(calls)

        return on_cpu
    # With the calls, since a graph holds none of the tensors that it reads.
    graphs = [(graph_of(call), call) for call in calls]

    def on_cuda() -> float:
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        for graph, _ in graphs:
            graph.replay()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 1e3 / len(graphs)

    return on_cuda


def contenders(
    cases: list[Case],
    n: int,
    causal: bool,
    backward: bool,
    device: str,
    exact: set[tuple[str, str]],
    small: bool,
    until: float,
    lines: Lines,
) -> dict[str, Any]:
    """Timers by name: fused attention forced by name, and every exact backend of every op, as many as time is left for."""
    found: dict[str, Any] = {}
    reference = CASES[0]
    for name, kernel in SDPA.items() if device == "cuda" else []:

        def forced(x: dict[str, Tensor], o: dict[str, Any], kernel: SDPBackend = kernel) -> Tensor:
            with sdpa_kernel(kernel):
                return scaled_dot_product_attention(x["q"], x["k"], x["v"], is_causal=o["is_causal"])

        plain = Case("sdpa", name, reference.make, forced)
        _add(found, f"sdpa/{name}", plain, n, {"is_causal": causal}, device, backward, small, lines)
    for case in cases:
        for backend in ops.backends(case.op, device):
            left = time.monotonic() < until
            if left and str(backend) != "reference" and (case.label, str(backend)) in exact:
                options = {"is_causal": causal, "backend": str(backend)}
                _add(found, f"{case.label}/{backend}", case, n, options, device, backward, small, lines)
    return found


def _add(
    found: dict[str, Any],
    name: str,
    case: Case,
    n: int,
    options: dict[str, Any],
    device: str,
    backward: bool,
    small: bool,
    lines: Lines,
) -> None:
    try:
        sets = sets_of(case, n, device, grad=backward, small=small)
        found[name] = timer([passes(case, x, options, backward=backward) for x in sets], device)
    except Exception as refused:  # a compiler's errors derive from no common class
        told = {"tokens": n, "causal": options["is_causal"], "backward": backward}
        lines.add(part="time", name=name, **told, refused=kind_and_line(refused))
        _give_back(device)


def _give_back(device: str) -> None:
    """Memory that nobody holds; after an error that stays, nothing can be given back, and what was measured still counts."""
    if device == "cuda":
        with contextlib.suppress(RuntimeError):
            torch.cuda.empty_cache()


def race(timers: dict[str, Any], seconds: float, broke: Callable[[str, str], None]) -> dict[str, list[float]]:
    """Interleaved rounds, each in an order of its own, raw samples kept; `broke` is told who ended before the others, and why."""
    samples: dict[str, list[float]] = {name: [] for name in timers}
    until, orders = time.monotonic() + seconds, random.Random(0)
    for _ in range(ROUNDS):
        for name, once in orders.sample([*timers.items()], len(timers)):
            try:
                samples[name].append(once())
            except Exception as broken:
                broke(name, kind_and_line(broken))
                del timers[name]
        if time.monotonic() > until:
            break
    return samples


def time_all(arguments: argparse.Namespace, lines: Lines, until: float) -> None:
    """Races at each size, forward and with the backward pass."""
    small, exact = arguments.device == "cpu", exact_backends(arguments.output)
    for backward in PASSES if arguments.passes is None else (arguments.passes == "backward",):
        for n in arguments.sizes:
            for causal in (False, True):
                if time.monotonic() > until:
                    return lines.add(part="time", ended="the budget is spent")
                timers = contenders(
                    arguments.cases, n, causal, backward, arguments.device, exact, small, until, lines
                )
                told = partial(lines.add, part="time", tokens=n, causal=causal, backward=backward)
                seconds = min(8.0, max(0.0, until - time.monotonic()))
                samples = race(timers, seconds, lambda name, why, told=told: told(name=name, broke=why))
                medians = {name: statistics.median(values) for name, values in samples.items() if values}
                fused = [value for name, value in medians.items() if name.startswith(("sdpa/", "softmax/"))]
                for name, value in medians.items():
                    told(
                        name=name,
                        seconds=value,
                        ratio=value / min(fused) if fused else None,
                        samples=samples[name],
                    )
                timers.clear()  # graphs hold the memory of their passes
                _give_back(arguments.device)
    return None


def once(arguments: argparse.Namespace, lines: Lines) -> None:
    """One forward and backward pass of every backend, after one that compiles."""
    for case in arguments.cases:
        for backend in map(str, ops.backends(case.op, arguments.device)):
            if backend == "reference":
                continue
            inputs = sets_of(
                case, arguments.sizes[0], arguments.device, grad=True, small=arguments.device == "cpu"
            )[0]
            run = passes(case, inputs, {"is_causal": True, "backend": backend}, backward=True)
            try:
                run(), run()
                lines.add(part="once", case=case.label, backend=backend)
            except Exception as refused:
                lines.add(part="once", case=case.label, backend=backend, refused=kind_and_line(refused))


def main() -> None:
    """One part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--part", choices=("all", "truth", "check", "time", "once", "table"), default="check")
    parser.add_argument("--case", action="append", choices=[slug(case) for case in CASES])
    parser.add_argument("--list", action="store_true", help="names of the cases, one a line")
    parser.add_argument("--sizes", type=lambda text: [int(n) for n in text.split(",")])
    parser.add_argument("--passes", choices=("forward", "backward"), help="of `time`: one alone")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--budget", type=float, default=120.0, help="seconds for this part")
    parser.add_argument("--ends", type=float, help="the same as a time of the machine's monotonic clock")
    parser.add_argument("--pack", type=Path, help="of `all`: folder of the packed file, by default --output")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(slug(case) for case in CASES))
        return
    arguments.cases = [case for case in CASES if arguments.case is None or slug(case) in arguments.case]
    arguments.sizes = arguments.sizes or ([128] if arguments.device == "cpu" else [4096, 1024])
    until = time.monotonic() + arguments.budget if arguments.ends is None else arguments.ends
    if arguments.part == "table":
        table(arguments.output)
        return
    apart = [str(n) for n in arguments.sizes] if arguments.passes else []
    name = "-".join([arguments.part, *(arguments.case or []), *filter(None, [arguments.passes]), *apart])
    lines = Lines(arguments.output / f"{name}.jsonl")
    lines.add(part=arguments.part, environment=environment(torch.device(arguments.device)))
    if arguments.part == "truth":
        for case in arguments.cases:
            for tokens, width in SIZES:
                kept_truths(case, tokens, width, arguments.output, arguments.device)
    elif arguments.part == "check":
        check(arguments, lines.add, until)
        for case in arguments.cases:
            warm(case, arguments, until)
    elif arguments.part == "time":
        time_all(arguments, lines, until)
    elif arguments.part == "once":
        once(arguments, lines)
    else:
        shared = ["--output", str(arguments.output), "--device", arguments.device]
        at_once = len(arguments.cases) if arguments.device == "cuda" else 2
        into = arguments.pack or arguments.output
        whole(
            shared,
            [slug(case) for case in arguments.cases],
            [(passes, n) for passes in ("backward", "forward") for n in arguments.sizes],
            at_once=at_once,
            budget=arguments.budget,
            say=lines.add,
            after=lambda: pack(arguments.output, into),
        )
        table(arguments.output)
        print(f"{pack(arguments.output, into)} lines in {into / PACKED}")


if __name__ == "__main__":
    main()

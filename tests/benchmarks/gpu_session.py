"""A session on a lent GPU, in parts that run side by side and write what they find line by line: exactness first, then times.

    session() { python tests/benchmarks/gpu_session.py --output "$OUT" "$@"; }
    session --part all --budget 240              # everything that follows, each part a process, and one packed file of what they found
    session --part truth --device cpu            # before, where time is cheap: float64 results for `check`
    for case in $(session --list); do session --part check --case "$case" & done; wait
    session --part time --sizes 4096,1024        # alone on the GPU: backends found exact, against the fastest fused attention
    session --part once --case ssa-half-locked               # one forward and backward pass, for a profiler
    session --part table                         # what all lines say

With `--device cpu` every part runs small, to see that it works. Every op and backend that can run is compared with the literal
equations in float64 on the CPU: outputs in float32 and bfloat16, gradients in float32, causal and not, ragged N. Times are CUDA-graph
replays over input sets larger than the L2, bfloat16, B 4, H 16, d 64, as ratios to the fastest of FLASH, EFFICIENT and CUDNN, each
forced by name, for the same matmul width. A backend that was not found exact is not timed. A part ends when its budget is spent, and
a backend that fails, in its compiler too, is a line and not the end.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from gpu_cases import CASES, Case
from gpu_parts import PACKED, pack, rows_in, table, whole
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from oscbench import ops
from oscbench.errors import first_line, kind_and_line
from oscbench.machine.environment import environment

LIMITS = {torch.float32: 2e-5, torch.bfloat16: 2e-2}
SDPA = {
    "FLASH": SDPBackend.FLASH_ATTENTION,
    "EFFICIENT": SDPBackend.EFFICIENT_ATTENTION,
    "CUDNN": SDPBackend.CUDNN_ATTENTION,
}
L2_BYTES = 128 << 20
ROUNDS = 20


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


def error(found: Tensor, truth: Tensor, op: str) -> float:
    """Relative error; torus updates are judged against at least 1e-4 a component, since they can be tiny."""
    found, truth = found.double().cpu(), truth.double().cpu()
    floor = 1e-4 * truth.numel() ** 0.5 if op == "torus_attention" else 1e-12
    return float((found - truth).norm() / max(float(truth.norm()), floor))


def cast(
    inputs: dict[str, Tensor], dtype: torch.dtype, device: str, *, grad: bool = False
) -> dict[str, Tensor]:
    """The same inputs elsewhere, in another precision, asking for gradients if wanted."""
    return {k: x.to(device=device, dtype=dtype).requires_grad_(grad) for k, x in inputs.items()}


def gradients(case: Case, inputs: dict[str, Tensor], options: dict[str, Any]) -> Tensor:
    """All gradients of one fixed random projection of the output, as one vector."""
    out = case.call(inputs, options)
    generator = torch.Generator().manual_seed(1)
    weights = torch.randn(out.shape, generator=generator, dtype=torch.float64).to(out)
    (out * weights).sum().backward()
    return torch.cat([x.grad.double().flatten().cpu() for x in inputs.values() if x.grad is not None])


def truths(case: Case, tokens: int) -> dict[str, Tensor]:
    """Results of the literal equations in float64, for inputs rounded to each precision, and gradients for float32."""
    found = {}
    inputs = check_inputs(case, tokens)
    for causal in case.causal:
        literal = {"is_causal": causal, "backend": "reference"}
        for dtype in LIMITS:
            rounded = cast(cast(inputs, dtype, "cpu"), torch.float64, "cpu", grad=dtype == torch.float32)
            found[f"{dtype} {causal}"] = case.call(rounded, literal).detach()
            if dtype == torch.float32:
                found[f"gradients {causal}"] = gradients(case, rounded, literal)
    return found


def check_inputs(case: Case, tokens: int) -> dict[str, Tensor]:
    """What a case is checked with."""
    return case.make(2, 2, tokens, 64, torch.Generator().manual_seed(7))


def kept_truths(case: Case, tokens: int, folder: Path) -> dict[str, Tensor]:
    """The same from a file, where an earlier part has left one."""
    path = folder / f"truth-{slug(case)}-{tokens}.pt"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(truths(case, tokens), path)
    kept: dict[str, Tensor] = torch.load(path)
    return kept


def slug(case: Case) -> str:
    """A case's name on the command line and in file names."""
    return case.label.lower().replace(",", "").replace(" ", "-")


def check_backend(
    case: Case,
    backend: str,
    causal: bool,
    dtype: torch.dtype,
    device: str,
    inputs: dict[str, Tensor],
    truth: dict[str, Tensor],
) -> dict[str, Any]:
    """Worst relative errors of one backend in one precision, or why it refuses."""
    options = {"is_causal": causal, "backend": backend}
    row: dict[str, Any] = {"exact": None}
    try:
        given = cast(inputs, dtype, device)
        row["forward"] = error(case.call(given, options), truth[f"{dtype} {causal}"], case.op)
        if dtype == torch.float32:
            found = gradients(case, cast(inputs, dtype, device, grad=True), options)
            row["gradients"] = error(found, truth[f"gradients {causal}"], "gradients")
        # SSA at a locking edge keeps fewer digits in float32 gradients (mechanisms.md); `edge` bounds them.
        row["exact"] = max(row["forward"], row.get("gradients", 0.0) / 50) < LIMITS[dtype]
    except Exception as refused:  # a compiler's errors derive from no common class
        row["refused"] = kind_and_line(refused)
    return row


def check(arguments: argparse.Namespace, lines: Lines, until: float) -> None:
    """Exactness of every backend of the chosen cases."""
    for case in arguments.cases:
        for tokens in (77,) if arguments.device == "cpu" else (77, 1000):
            truth, inputs = kept_truths(case, tokens, arguments.output), check_inputs(case, tokens)
            for backend in map(str, ops.backends(case.op, arguments.device)):
                for causal in case.causal:
                    for dtype in LIMITS:
                        if time.monotonic() > until:
                            return lines.add(part="check", case=case.label, ended="the budget is spent")
                        row = check_backend(case, backend, causal, dtype, arguments.device, inputs, truth)
                        name = str(dtype).removeprefix("torch.")
                        lines.add(
                            part="check", op=case.op, case=case.label, backend=backend, causal=causal, tokens=tokens, dtype=name, **row
                        )  # fmt: skip
    return None


def exact_backends(folder: Path) -> set[tuple[str, str]]:
    """(case, backend) of which every check that ran was exact, and some did."""
    rows = [row for row in rows_in(folder, "check") if "exact" in row]
    return {(r["case"], r["backend"]) for r in rows if r["exact"]} - {
        (r["case"], r["backend"]) for r in rows if r["exact"] is False
    }


def sets_of(case: Case, n: int, device: str, *, grad: bool, small: bool) -> list[dict[str, Tensor]]:
    """Input sets that together are larger than the L2, so that none is found there by the next replay."""
    b, h, d = (1, 2, 64) if small else (4, 16, 64)
    generator = torch.Generator().manual_seed(3)
    first = cast(case.make(b, h, n, d, generator), torch.bfloat16, device, grad=grad)
    size = sum(x.numel() * x.element_size() for x in first.values())
    count = 1 if small else min(8, max(2, L2_BYTES // size + 1))
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
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for call in calls * 2:
            call()
    torch.cuda.synchronize()
    graphs = []
    for call in calls:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            call()
        graphs.append(graph)

    def on_cuda() -> float:
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        for graph in graphs:
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
) -> dict[str, Any]:
    """Timers by name: fused attention forced by name, and every exact backend of every op."""
    found: dict[str, Any] = {}
    reference = CASES[0]
    for name, kernel in SDPA.items() if device == "cuda" else []:

        def forced(x: dict[str, Tensor], o: dict[str, Any], kernel: SDPBackend = kernel) -> Tensor:
            with sdpa_kernel(kernel):
                return scaled_dot_product_attention(x["q"], x["k"], x["v"], is_causal=o["is_causal"])

        plain = Case("sdpa", name, reference.make, forced)
        _add(found, f"sdpa/{name}", plain, n, {"is_causal": causal}, device, backward, small)
    for case in cases:
        for backend in ops.backends(case.op, device):
            if str(backend) != "reference" and (case.label, str(backend)) in exact:
                options = {"is_causal": causal, "backend": str(backend)}
                _add(found, f"{case.label}/{backend}", case, n, options, device, backward, small)
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
) -> None:
    try:
        sets = sets_of(case, n, device, grad=backward, small=small)
        found[name] = timer([passes(case, x, options, backward=backward) for x in sets], device)
    except Exception as refused:  # a compiler's errors derive from no common class
        print(f"  not timed: {name} N={n}: {first_line(refused)}", flush=True)
        if device == "cuda":
            torch.cuda.empty_cache()


def race(timers: dict[str, Any], seconds: float) -> dict[str, list[float]]:
    """Interleaved rounds A B C A B C, raw samples kept."""
    samples: dict[str, list[float]] = {name: [] for name in timers}
    until = time.monotonic() + seconds
    for _ in range(ROUNDS):
        for name, once in timers.items():
            samples[name].append(once())
        if time.monotonic() > until:
            break
    return samples


def time_all(arguments: argparse.Namespace, lines: Lines, until: float) -> None:
    """Races at each size, forward and with the backward pass."""
    small, exact = arguments.device == "cpu", exact_backends(arguments.output)
    for backward in (False, True):
        for n in arguments.sizes:
            for causal in (False, True):
                if time.monotonic() > until:
                    return lines.add(part="time", ended="the budget is spent")
                timers = contenders(arguments.cases, n, causal, backward, arguments.device, exact, small)
                samples = race(timers, min(8.0, max(0.0, until - time.monotonic())))
                medians = {name: statistics.median(values) for name, values in samples.items()}
                fused = [value for name, value in medians.items() if name.startswith(("sdpa/", "softmax/"))]
                for name, value in medians.items():
                    lines.add(
                        part="time", name=name, tokens=n, causal=causal, backward=backward, seconds=value,
                        ratio=value / min(fused) if fused else None, samples=samples[name],
                    )  # fmt: skip
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
                lines.add(part="once", case=case.label, backend=backend, refused=first_line(refused))


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
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--budget", type=float, default=120.0, help="seconds for this part")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(slug(case) for case in CASES))
        return
    arguments.cases = [case for case in CASES if arguments.case is None or slug(case) in arguments.case]
    arguments.sizes = arguments.sizes or ([128] if arguments.device == "cpu" else [4096, 1024])
    until = time.monotonic() + arguments.budget
    if arguments.part == "table":
        table(arguments.output)
        return
    name = "-".join([arguments.part, *(arguments.case or [])])
    lines = Lines(arguments.output / f"{name}.jsonl")
    lines.add(part=arguments.part, environment=environment(torch.device(arguments.device)))
    if arguments.part == "truth":
        for case in arguments.cases:
            for tokens in (77, 1000):
                kept_truths(case, tokens, arguments.output)
    elif arguments.part == "check":
        check(arguments, lines, until)
    elif arguments.part == "time":
        time_all(arguments, lines, until)
    elif arguments.part == "once":
        once(arguments, lines)
    else:
        shared = ["--output", str(arguments.output), "--device", arguments.device]
        shared += ["--sizes", ",".join(map(str, arguments.sizes))]
        at_once = len(arguments.cases) if arguments.device == "cuda" else 2
        whole(
            shared,
            [slug(case) for case in arguments.cases],
            at_once=at_once,
            budget=arguments.budget,
            say=lines.add,
        )
        table(arguments.output)
        print(f"{pack(arguments.output)} lines in {arguments.output / PACKED}")


if __name__ == "__main__":
    main()

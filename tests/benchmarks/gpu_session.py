"""One session on a lent GPU: exactness against float64 first, then times against the fastest fused attention, then a short table.

    python tests/benchmarks/gpu_session.py --output "$OUT"          # on the GPU, under ten minutes
    python tests/benchmarks/gpu_session.py --output /tmp/x --device cpu   # the same code, small, to see that it works

Every op and backend that can run is compared with the literal equations in float64 on the CPU: outputs in float32 and bfloat16, gradients in
float32, causal and not, ragged N. Times are CUDA-graph replays over input sets larger than the L2, bfloat16, B 4, H 16, d 64, as ratios
to the fastest of FLASH, EFFICIENT and CUDNN, each forced by name, for the same matmul width. A backend that was not exact is not timed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import normalize, scaled_dot_product_attention

from oscbench import ops
from oscbench.machine.environment import environment

LIMITS = {torch.float32: 2e-5, torch.bfloat16: 2e-2}
SDPA = {
    "FLASH": SDPBackend.FLASH_ATTENTION,
    "EFFICIENT": SDPBackend.EFFICIENT_ATTENTION,
    "CUDNN": SDPBackend.CUDNN_ATTENTION,
}
L2_BYTES = 128 << 20
ROUNDS = 20


@dataclass(frozen=True)
class Case:
    """An op with inputs that stand for its use: names, tensors, and how it is called."""

    op: str
    label: str
    make: Callable[[int, int, int, int, torch.Generator], dict[str, Tensor]]
    call: Callable[[dict[str, Tensor], dict[str, Any]], Any]
    causal: tuple[bool, ...] = (False, True)


def _normal(*shape: int, generator: torch.Generator) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def _qkv(b: int, h: int, n: int, d: int, g: torch.Generator) -> dict[str, Tensor]:
    return {name: _normal(b, h, n, d, generator=g) for name in ("q", "k", "v")}


def _kope(b: int, h: int, n: int, d: int, g: torch.Generator) -> dict[str, Tensor]:
    angle = 3 * _normal(b, h, n, d // 2, generator=g)
    return {**_qkv(b, h, n, d, g), "cos": angle.cos(), "sin": angle.sin()}


def _torus(b: int, h: int, n: int, d: int, g: torch.Generator) -> dict[str, Tensor]:
    # Width 2n is the matmul width, so n = d/2 makes the same product as softmax attention of d channels.
    return {"theta": 3 * _normal(b, h, n, d // 2, generator=g), "gate": _normal(h, 1, d // 2, generator=g)}


def _ssa(b: int, h: int, n: int, d: int, g: torch.Generator) -> dict[str, Tensor]:
    # Half of all pairs lock when a component of omega has this spread (mechanisms.md).
    spread = 0.64 / (2 * d) ** 0.5
    return {
        "omega": spread * _normal(b, h, n, d, generator=g),
        "theta": 0.3 * _normal(b, h, n, d, generator=g),
        "v": _normal(b, h, n, d, generator=g),
    }


def _fixed(b: int, h: int, n: int, d: int, g: torch.Generator) -> dict[str, Tensor]:
    return {**_qkv(b, h, n, d, g), "anchors": normalize(_normal(h, n, 8, generator=g), dim=-1)}


def _fixed_case(coupling: str) -> Case:
    def call(x: dict[str, Tensor], o: dict[str, Any]) -> Any:
        return ops.fixed_query_attention(
            x["q"], x["k"], x["v"], x["anchors"], coupling=coupling, validate=False if _fast(o) else None, **o
        )

    return Case("fixed_query_attention", f"fixed query, {coupling}", _fixed, call)


def _fast(options: dict[str, Any]) -> bool:
    return options.get("backend") not in (None, "auto", "reference")


CASES = [
    Case(
        "softmax_attention", "softmax", _qkv, lambda x, o: ops.softmax_attention(x["q"], x["k"], x["v"], **o)
    ),
    Case(
        "kope_attention",
        "KoPE attention",
        _kope,
        lambda x, o: ops.kope_attention(x["q"], x["k"], x["v"], x["cos"], x["sin"], **o),
    ),
    Case(
        "kuramoto_step",
        "Kuramoto step",
        _kope,
        lambda x, o: torch.cat(
            ops.kuramoto_step(x["q"], x["k"], x["cos"], x["sin"], gamma=0.05, **o), dim=-1
        ),
    ),
    Case(
        "torus_attention",
        "torus, others only",
        _torus,
        lambda x, o: ops.torus_attention(x["theta"], x["gate"], include_self=False, **o),
    ),
    Case(
        "torus_attention",
        "torus, with self",
        _torus,
        lambda x, o: ops.torus_attention(x["theta"], x["gate"], **o),
    ),
    Case(
        "selective_synchronization",
        "SSA, half locked",
        _ssa,
        lambda x, o: ops.selective_synchronization(
            x["omega"], x["theta"], x["v"], coupling=1.3133, alpha=1.3133, edge=0.05, **o
        ),
    ),
    *(_fixed_case(coupling) for coupling in ("softplus", "elu", "relu")),
]


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


def check(case: Case, backend: str, device: str, tokens: int) -> list[dict[str, Any]]:
    """Rows of exactness for one backend: worst relative errors, or why it refuses."""
    rows = []
    generator = torch.Generator().manual_seed(7)
    truth_inputs = case.make(2, 2, tokens, 64, generator)
    for causal in case.causal:
        literal = {"is_causal": causal, "backend": "reference"}
        options = {"is_causal": causal, "backend": backend}
        for dtype, limit in LIMITS.items():
            rounded = cast(truth_inputs, dtype, "cpu")
            truth = case.call(cast(rounded, torch.float64, "cpu"), literal)
            row: dict[str, Any] = {
                "op": case.op, "case": case.label, "backend": backend, "causal": causal, "tokens": tokens,
                "dtype": str(dtype).removeprefix("torch."),
            }  # fmt: skip
            try:
                row["forward"] = error(case.call(cast(rounded, dtype, device), options), truth, case.op)
                if dtype == torch.float32:
                    exact = gradients(case, cast(rounded, torch.float64, "cpu", grad=True), literal)
                    row["gradients"] = error(
                        gradients(case, cast(rounded, dtype, device, grad=True), options), exact, "gradients"
                    )
                # SSA at a locking edge keeps fewer digits in float32 gradients (mechanisms.md); `edge` bounds them.
                worst = max(row["forward"], row.get("gradients", 0.0) / 50)
                row["exact"] = worst < limit
            except (ValueError, RuntimeError) as refused:
                row["exact"], row["refused"] = None, str(refused).splitlines()[0]
            rows.append(row)
    return rows


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
    n: int, causal: bool, backward: bool, device: str, exact: set[tuple[str, str]], small: bool
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
    for case in CASES:
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
    except (ValueError, RuntimeError) as refused:
        print(f"  not timed: {name} N={n}: {str(refused).splitlines()[0][:120]}", flush=True)
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


def main() -> None:
    """Check, then time, then print the table; everything is in <output>/gpu_session.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--budget", type=float, default=540.0, help="seconds in all")
    arguments = parser.parse_args()
    start, device, small = time.monotonic(), arguments.device, arguments.device == "cpu"
    arguments.output.mkdir(parents=True, exist_ok=True)

    checks: list[dict[str, Any]] = []
    for case in CASES:
        for backend in ops.backends(case.op, device):
            for tokens in (77,) if small else (77, 1000):
                checks += check(case, str(backend), device, tokens)
    bad = {(r["case"], r["backend"]) for r in checks if r["exact"] is False}
    refused = {(r["case"], r["backend"]) for r in checks if r["exact"] is None and r["causal"] is True}
    exact = {(r["case"], r["backend"]) for r in checks} - bad - refused
    print(
        f"exactness: {len(checks)} checks, {len(bad)} backends wrong, {time.monotonic() - start:.0f} s",
        flush=True,
    )

    times: list[dict[str, Any]] = []
    sizes = (128,) if small else (4096, 8192, 2048, 1024)
    for backward in (False, True):
        for n in sizes:
            for causal in (False, True):
                if time.monotonic() - start > arguments.budget - 30:
                    break
                samples = race(contenders(n, causal, backward, device, exact, small), 8.0)
                medians = {name: statistics.median(values) for name, values in samples.items()}
                fused = {k: v for k, v in medians.items() if k.startswith(("sdpa/", "softmax/"))}
                best = min(fused.values())
                for name, value in medians.items():
                    times.append(
                        {"name": name, "tokens": n, "causal": causal, "backward": backward, "seconds": value,
                         "ratio": value / best, "samples": samples[name]}
                    )  # fmt: skip
    result = {"environment": environment(torch.device(device)), "checks": checks, "times": times}
    (arguments.output / "gpu_session.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    for r in checks:
        if r["exact"] is False:
            print(f"WRONG {r['case']}/{r['backend']} {r['dtype']} causal={r['causal']} N={r['tokens']}: {r}")
    print(f"{'contender':36}{'N':>7}{'causal':>8}{'pass':>10}{'us':>12}{'ratio':>8}")
    for t in times:
        which = "fwd+bwd" if t["backward"] else "fwd"
        print(
            f"{t['name']:36}{t['tokens']:7}{t['causal']!s:>8}{which:>10}{t['seconds'] * 1e6:12.1f}{t['ratio']:8.2f}"
        )


if __name__ == "__main__":
    main()

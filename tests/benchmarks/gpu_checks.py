"""Exactness on a lent GPU: every op and backend that can run against the literal equations in float64 on the CPU."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from gpu_cases import Case, off_the_edge, slug
from torch import Tensor

from oscbench import ops
from oscbench.errors import kind_and_line
from oscbench.ops import triton_tools
from oscbench.ops.dispatch import UnsupportedError

Say = Callable[..., None]
"""Is told a row, as names and values."""

LIMITS = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
GRADIENTS = {torch.float32: 1e-4, torch.bfloat16: 4e-2}
EDGED = {torch.float32: 1e-3, torch.bfloat16: 4e-2}
"""SSA keeps fewer digits in gradients even off its locking edges (mechanisms.md)."""
TIMED = (1024, 64)
"""Tokens, and width, that 16 divides as it does those that are timed: Triton makes another binary for them."""
SIZES = (TIMED, (77, 64), (1000, 64), (200, 128))
"""Of a check: two ragged ones and a wide one too."""
ON_CPU = ((77, 64),)
REFUSALS = (
    "OutOfResources",
    "CompilationError",
    "CompileTimeAssertionFailure",
    "PTXASError",
    "BackendCompilerFailed",
    "InductorError",
    "LoweringException",
    "Unsupported",
)
"""What compilers raise, which derives from no common class: such a call cannot be had here. Anything else is a mistake of ours."""
COMPILED_LAST = ("sdpa", "blocked", "linear", "dense", "sparse", "triton", "xformers")
"""The order of checks: what compiles nothing, then kernels; what a compiler makes anew for every shape (`flex`) stands after all of them."""


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


def truths(case: Case, tokens: int, width: int, device: str = "cpu") -> dict[str, Tensor]:
    """Results of the literal equations in float64 and their gradients, for inputs rounded to each precision."""
    found = {}
    inputs = check_inputs(case, tokens, width)
    for causal in case.causal:
        literal = {"is_causal": causal, "backend": "reference"}
        for dtype in LIMITS:
            rounded = cast(cast(inputs, dtype, device), torch.float64, device, grad=True)
            found[f"{dtype} {causal}"] = case.call(rounded, literal).detach().cpu()
            found[f"gradients {dtype} {causal}"] = gradients(case, rounded, literal)
    return found


@cache
def check_inputs(case: Case, tokens: int, width: int) -> dict[str, Tensor]:
    """What a case is checked with."""
    batch = 2 if tokens < 1000 else 1
    # As many heads as are timed: Triton makes another binary where 16 divides them.
    heads = 16 if (tokens, width) == TIMED else 2
    generator = torch.Generator().manual_seed(7)
    made = case.make(batch, heads, tokens, width, generator)
    return off_the_edge(made, generator) if case.op == "selective_synchronization" else made


def kept_truths(case: Case, tokens: int, width: int, folder: Path, device: str = "cpu") -> dict[str, Tensor]:
    """The same from a file, where an earlier part has left one; on a GPU they take seconds where a core takes minutes."""
    path = folder / f"truth-{slug(case)}-{tokens}-{width}.pt"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(truths(case, tokens, width, device), path)
    kept: dict[str, Tensor] = torch.load(path)
    return kept


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
    edged = case.op == "selective_synchronization"
    try:
        found = case.call(cast(inputs, dtype, device), options)
        row["forward"] = error(found, truth[f"{dtype} {causal}"], case.op)
        slopes = gradients(case, cast(inputs, dtype, device, grad=True), options)
        row["gradients"] = error(slopes, truth[f"gradients {dtype} {causal}"], "gradients")
        near = row["forward"] < LIMITS[dtype] * (2 if edged else 1)
        row["exact"] = near and row["gradients"] < (EDGED if edged else GRADIENTS)[dtype]
    except Exception as broken:
        refused = (
            isinstance(broken, UnsupportedError | NotImplementedError) or type(broken).__name__ in REFUSALS
        )
        row |= (
            {"refused": kind_and_line(broken)}
            if refused
            else {"exact": False, "broke": kind_and_line(broken)}
        )
    return row


def in_order(backends: list[str]) -> list[str]:
    """What is quick to compile first, so that little is lost where the budget ends."""
    return sorted(
        backends, key=lambda one: COMPILED_LAST.index(one) if one in COMPILED_LAST else len(COMPILED_LAST)
    )


BY_TIME = "by time"
"""The tile that a kernel chooses where nothing has to be the same twice, as in what is timed."""


def tile_choices(backend: str) -> list[int | str | None]:
    """Which of a kernel's tiles to force, one after the other: None is the fixed one, or that of a backend without tiles.

    Last the one chosen by time, when a tuner has every tile compiled already.
    """
    return [None, 0, 1, 2, 3, 4, BY_TIME] if backend == "triton" else [None]


@contextlib.contextmanager
def forced_tile(place: int | str | None) -> Iterator[None]:
    """Every tiled kernel takes its tile at this place, or its last where it has fewer; with None that of training: none is chosen by time."""
    if place == BY_TIME:
        yield
        return

    def chosen(kernel: triton_tools.Tiled, constants: Mapping[str, Any]) -> triton_tools.Tile:
        return (
            kernel.tiles[min(place, len(kernel.tiles) - 1)]
            if isinstance(place, int)
            else usual(kernel, constants)
        )

    usual, was = triton_tools.fixed_tile, torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    triton_tools.fixed_tile = chosen
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        triton_tools.fixed_tile = usual
        torch.use_deterministic_algorithms(was, warn_only=warned)


def check(arguments: argparse.Namespace, say: Say, until: float) -> None:
    """Exactness of every backend of the chosen cases; in what is timed, whichever tile is taken then."""
    for case in arguments.cases:
        for backend in in_order([*map(str, ops.backends(case.op, arguments.device))]):
            for tokens, width in ON_CPU if arguments.device == "cpu" else SIZES:
                truth = kept_truths(case, tokens, width, arguments.output, arguments.device)
                inputs = check_inputs(case, tokens, width)
                for causal in case.causal:
                    for dtype in LIMITS:
                        timed = (tokens, width, dtype) == (*TIMED, torch.bfloat16)
                        for tile in tile_choices(backend) if timed else [None]:
                            if time.monotonic() > until:
                                return say(part="check", case=case.label, ended="the budget is spent")
                            with forced_tile(tile):
                                row = check_backend(
                                    case, backend, causal, dtype, arguments.device, inputs, truth
                                )
                            name = str(dtype).removeprefix("torch.")
                            say(
                                part="check", op=case.op, case=case.label, backend=backend, causal=causal,
                                tokens=tokens, width=width, dtype=name, tile=tile, **row,
                            )  # fmt: skip
    return None

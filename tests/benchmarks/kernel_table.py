"""What compilers make of every Triton kernel for GPUs that need not be here: registers, spills, shared memory, instructions a pair.

    python tests/benchmarks/kernel_table.py            # compile all, show what changed, and write kernels.json
    python tests/benchmarks/kernel_table.py torus      # those alone whose names begin so
    python tests/benchmarks/kernel_table.py --show     # the committed table as text

Kernels are compiled for d 64, with the tiles that training takes. A pair is one receiver with one sender; its instructions are those of
each loop over tiles in turn, shared among the threads: tiles without a mask, which are nearly all, have a loop of their own. Where a
kernel turns phases a pair is one channel pair of a token, and there is no loop.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# By itself it is no test, whose helpers pytest finds.
sys.path.append(str(Path(__file__).parents[1] / "support"))
TABLE = Path(__file__).with_name("kernels.json")
CAPABILITIES = (80, 90)
DTYPES = ("bf16", "fp32")
KEPT = ("registers", "stack_bytes", "shared_bytes", "instructions_a_pair", "special_a_pair")
WIDTH, OSCILLATORS = 64, 8


@dataclass(frozen=True)
class Subject:
    """A kernel with its constants.

    Attributes:
        name: in the table.
        kernel: as its module has it.
        narrow: arguments, less `_pointer`, that are as wide as the inputs; other pointers are float32.
        constants: of the compilation, without tiles.
        numbers: types of arguments that are no pointers.
        pairs: of one turn of a loop, or of a program without one, from the tile's constants.
    """

    name: str
    kernel: Any
    narrow: tuple[str, ...]
    constants: dict[str, Any]
    numbers: dict[str, str]
    pairs: Callable[[dict[str, int]], int]


def square(tile: dict[str, int]) -> int:
    """Pairs of a turn of a loop over tiles."""
    return tile["BLOCK_M"] * tile["BLOCK_N"]


def channel_pairs(tile: dict[str, int]) -> int:
    """Channel pairs of a program that turns phases."""
    return tile["BLOCK"] * tile["PAIRS"]


def channels(tile: dict[str, int]) -> int:
    """Channels of tokens in a program, or in a turn of its loop."""
    return tile["BLOCK"] * tile["D"]


def waves(tile: dict[str, int]) -> int:
    """Angles of a program."""
    return tile["BLOCK"] * tile["WIDTH"]


def subjects(dtype: str) -> Iterator[Subject]:
    """Every kernel, in one precision."""
    import torch
    import triton.language as tl
    from compiled_kernels import bare

    from oscbench.ops.fixed_query import triton_fused_kernel, triton_kernels, triton_pairwise
    from oscbench.ops.kope import triton_kernels as turning
    from oscbench.ops.synchronization import triton_kernels as locking

    wide = dtype == "fp32"
    ssa = {"D": WIDTH, "V": WIDTH, "BLOCK_D": WIDTH, "BLOCK_V": WIDTH, "CAUSAL": False}
    ssa |= {"DOT": tl.float32 if wide else tl.bfloat16, "PRODUCT": "tf32x3" if wide else "ieee"}
    sizes = {"N": "i32", "S": "i32", "slope_bound": "fp32"}
    vectors = ("omega", "value", "grad", "out")
    yield Subject("ssa forward", locking.forward_kernel, vectors, ssa, sizes, square)
    for role, what in enumerate(("all at once", "as receivers", "as senders")):
        constants = ssa | {"ROLE": role}
        yield Subject(f"ssa backward, {what}", locking.backward_kernel, vectors, constants, sizes, square)
    yield from _ready()
    kind = torch.float32 if wide else torch.bfloat16
    sizes = {"N": "i32", "H": "i32", "STATES": "i32", "scale": "fp32"}
    pull = triton_pairwise.settings(kind, WIDTH, OSCILLATORS, "softplus", True, WIDTH**-0.5)
    narrow = ("q", "k", "c", "v", "grad", "grad_q", "grad_k", "grad_c")
    row, column = triton_kernels.row_gradient_kernel, triton_kernels.column_gradient_kernel
    yield Subject("fixed query pull", triton_kernels.forward_kernel, narrow, pull, sizes, square)
    yield Subject("fixed query gradient to q", row, narrow, pull, sizes, square)
    yield Subject("fixed query gradient to k", column, narrow, pull, sizes, square)
    whole = pull | {"V": WIDTH, "BLOCK_V": WIDTH, "STEP": triton_fused_kernel.CHUNK}
    yield Subject("fixed query", triton_fused_kernel.settle_kernel, (*narrow, "out"), whole, sizes, square)
    yield from _torus(wide)
    yield from _kuramoto()
    phases = ("cos", "sin", "mix", "cos_out", "sin_out", "cos_grad", "sin_grad", "d_cos", "d_sin")
    turn = {
        "PAIRS": WIDTH // 2,
        "BLOCK_P": WIDTH // 2,
        "TENSORS": 3,
        "BACK": False,
        "MIX": True,
        "PHASES": True,
    }
    for kernel, name in ((turning.turn_kernel, "turn"), (turning.turn_gradient_kernel, "turn's gradient")):
        names = bare(kernel).arg_names
        pointers = tuple(n.removesuffix("_pointer") for n in names if n.endswith("_pointer"))
        strides = {n: "i32:16" for n in names if n.endswith("stride")} | {"H": "i32", "N": "i32"}
        constants = {key: value for key, value in turn.items() if key in names}
        narrow = tuple(name for name in pointers if name not in phases)
        yield Subject(f"KoPE {name}", kernel, narrow, constants, strides, channel_pairs)


def _ready() -> Iterator[Subject]:
    from compiled_kernels import bare

    from oscbench.ops.synchronization import triton_ready_kernels as ready

    shape: dict[str, Any] = {"D": WIDTH, "BLOCK_D": WIDTH, "PADDED": False}
    sizes = {"H": "i32", "N": "i32", "S": "i32"}
    own = {"shift": {"FIRST": False, "HALF": False}, "numbers a token": {"SHIFTED": True}}
    for kernel, name in ((ready.shift_kernel, "shift"), (ready.ready_kernel, "numbers a token")):
        strides = {n: "i32:16" for n in bare(kernel).arg_names if n.endswith("stride")} | sizes
        constants = shape | own[name]
        yield Subject(f"ssa {name}", kernel, ("omega", "order", "shifted"), constants, strides, channels)


def _torus(wide: bool) -> Iterator[Subject]:
    import triton.language as tl
    from compiled_kernels import bare

    from oscbench.ops.torus import triton_kernels as others
    from oscbench.ops.torus import triton_wave_kernels as around

    sink = {"D": WIDTH, "V": WIDTH, "BLOCK_D": WIDTH, "BLOCK_V": WIDTH, "CAUSAL": False, "PADDED": False}
    sink |= {"DOT": tl.float32 if wide else tl.bfloat16, "PRODUCT": "tf32x3" if wide else "ieee"}
    sizes = {"N": "i32", "H": "i32"}
    narrow = ("q", "k", "v", "out", "grad", "d_q", "d_k", "d_v")
    yield Subject("torus", others.forward_kernel, narrow, sink, sizes, square)
    yield Subject("torus gradient to q", others.row_gradient_kernel, narrow, sink, sizes, square)
    yield Subject("torus gradient to k and v", others.column_gradient_kernel, narrow, sink, sizes, square)
    if not wide:
        return  # waves are float32 whatever the inputs are
    shape = {"WIDTH": WIDTH // 2, "BLOCK_W": WIDTH // 2, "DRIFT": True, "LAG": True}
    for kernel, name in ((around.wave_kernel, "waves"), (around.wave_gradient_kernel, "waves' gradient")):
        strides = {n: "i32:16" for n in bare(kernel).arg_names if n.endswith("stride")} | sizes
        yield Subject(f"torus {name}", kernel, (), shape, strides, waves)
    shape = {"WIDTH": WIDTH // 2, "BLOCK_W": WIDTH // 2}
    for kernel, name in (
        (around.tangent_kernel, "tangent"),
        (around.tangent_gradient_kernel, "tangent's gradient"),
    ):
        yield Subject(f"torus {name}", kernel, (), shape, sizes, waves)


def _kuramoto() -> Iterator[Subject]:
    from compiled_kernels import bare

    from oscbench.ops.kuramoto import triton_kernels as stepping

    sizes = {"PAIRS": WIDTH // 2, "BLOCK_P": WIDTH // 2}
    for kernel, name in ((stepping.step_kernel, "step"), (stepping.step_gradient_kernel, "step's gradient")):
        strides = {n: "i32:16" for n in bare(kernel).arg_names if n.endswith("stride")} | {
            "H": "i32",
            "N": "i32",
        }
        yield Subject(f"Kuramoto {name}", kernel, ("mean", "d_mean"), sizes, strides, channel_pairs)


def compiled(subject: Subject, dtype: str, capability: int) -> dict[str, Any]:
    """A row of the table."""
    from compiled_kernels import bare, compile_for

    from oscbench.ops.triton_tools import fixed_tile

    tile, warps, stages = fixed_tile(subject.kernel, subject.constants)
    names = bare(subject.kernel).arg_names
    types = {
        name: f"*{dtype}" if name.removesuffix("_pointer") in subject.narrow else "*fp32"
        for name in names
        if name.endswith("_pointer")
    }
    types |= {name: kind for name, kind in subject.numbers.items() if name in names}
    constants = subject.constants | tile
    report = compile_for(subject.kernel, types, constants, capability, num_warps=warps, num_stages=stages)
    counted = subject.pairs(constants) / (32 * warps)
    loops = [loop for loop in report["loops"] if loop["tensor_core"]] or [report]
    for key in ("instructions", "special"):
        report[f"{key}_a_pair"] = [round(loop[key] / counted, 2) for loop in loops]
    tiles = ", ".join(f"{key} {value}" for key, value in tile.items())
    return {"tile": f"{tiles}, {warps} warps, {stages} stages"} | {key: report[key] for key in KEPT}


def key_of(subject: Subject, dtype: str, capability: int) -> str:
    """A row's name."""
    return f"{subject.name}, {dtype}, sm_{capability}"


def main() -> None:
    """Write the table row by row, or show it."""
    import triton

    before = json.loads(TABLE.read_text())["rows"] if TABLE.exists() else {}
    if "--show" in sys.argv:
        for name, row in before.items():
            print(f"{name:48}", *(f"{key} {row[key]}" for key in KEPT), sep="  ")
        return
    wanted = [
        (key_of(one, dtype, capability), one, dtype, capability)
        for dtype in DTYPES
        for one in subjects(dtype)
        for capability in CAPABILITIES
    ]
    found: dict[str, Any] = {}
    for name, one, dtype, capability in wanted:
        if not name.startswith(tuple(sys.argv[1:]) or ""):
            continue
        found[name] = compiled(one, dtype, capability)
        told = "as before" if before.get(name) == found[name] else f"{before.get(name)} -> {found[name]}"
        print(f"{name}: {told}", flush=True)
        rest = {key: before[key] for key, *_ in wanted if key in before}
        rows = dict(sorted({**rest, **found}.items()))
        TABLE.write_text(
            json.dumps({"triton": triton.__version__, "width": WIDTH, "rows": rows}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()

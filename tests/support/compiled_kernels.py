"""Machine code of our Triton kernels, compiled for GPUs that need not be here, and read."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from oscbench.ops.triton_tools import Tiled


def bare(kernel: Any) -> Any:
    """The jitted function under its tiles."""
    return kernel.fn if isinstance(kernel, Tiled) else kernel


def compile_for(
    kernel: Any,
    signature: dict[str, str],
    constants: dict[str, Any],
    capability: int,
    *,
    num_warps: int = 4,
    num_stages: int = 2,
) -> dict[str, Any]:
    """Compile a kernel for a GPU that need not be here, and read what the compiler made of it.

    Args:
        kernel: a `triton.jit` function, bare or `Tiled` (not in the interpreter).
        signature: type of each argument, `{"x": "*bf16", "count": "i32"}`, without the constants. Pointers are taken
            for multiples of 16, as PyTorch allocates, and so are integers written `i32:16`; without that a compiler
            cannot load in wide words, and counts come out at up to twice what runs.
        constants: value of each `tl.constexpr` argument.
        capability: 80, 90, …
        num_warps: warps a program.
        num_stages: depth of the software pipeline.

    Returns:
        `capability`, `num_warps`, `shared_bytes`, `registers` (a thread), `stack_bytes` (spills and
        local arrays), `instructions`, `special` (MUFU: exponentials, roots, sines), `tensor_core` (MMA),
        `loops`: a dict of `instructions`, `special` and `tensor_core` for each loop that holds no other, in the
        order of the code (tiles with a mask and tiles without are loops of their own), `loop_instructions`,
        `loop_special` of the longest, which is what a tile of pairs costs, and `counted_in`: `sass`, or `ptx`
        without a disassembler (then registers, stack and loops are None).
    """
    from triton import compile as compile_kernel
    from triton.backends.compiler import GPUTarget

    options = {"num_warps": num_warps, "num_stages": num_stages, "enable_fp_fusion": True}
    source = _source(bare(kernel), signature, constants)
    compiled = compile_kernel(source, target=GPUTarget("cuda", capability, 32), options=options)
    return {
        "capability": capability,
        "num_warps": num_warps,
        "shared_bytes": int(compiled.metadata.shared),
        **_counted(compiled.asm),
    }


def _source(function: Any, signature: dict[str, str], constants: dict[str, Any]) -> Any:
    """A kernel with the types of its arguments, what is known of their values, and the constants."""
    from triton.compiler import ASTSource

    names = function.arg_names
    types = {
        name: "constexpr" if name in constants else signature[name].removesuffix(":16") for name in names
    }
    aligned = [name for name in names if name not in constants and signature[name].startswith("*")]
    aligned += [name for name in names if name not in constants and signature[name].endswith(":16")]
    attributes = {(names.index(name),): [["tt.divisibility", 16]] for name in aligned}
    values = {(names.index(name),): value for name, value in constants.items()}
    return ASTSource(function, types, values, attributes)


def _counted(code: Mapping[str, Any]) -> dict[str, Any]:
    """What machine code takes and holds; of PTX what can be told of it, where nothing disassembles."""
    tool = _disassembler()
    if tool is None:
        return _count_ptx(code["ptx"])
    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder) / "kernel.cubin"
        cubin.write_bytes(code["cubin"])
        usage = _output_of(tool, "-res-usage", cubin)
        sass = _output_of(tool, "-sass", cubin)
    found = {
        name: re.search(rf"{what}:(\d+)", usage)
        for name, what in (("registers", "REG"), ("stack_bytes", "STACK"))
    }
    return {name: int(one.group(1)) if one else None for name, one in found.items()} | count_sass(sass)


def count_sass(code: str) -> dict[str, Any]:
    """Instructions in `cuobjdump -sass` output: in all, in each loop that holds no other, and in the longest of these."""
    lines = re.findall(r"/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)([^;]*);", code)
    addresses = [int(address, 16) for address, _, _ in lines]
    names = [name for _, name, _ in lines]
    spans = set()
    for here, name, rest in zip(addresses, names, (rest for _, _, rest in lines), strict=True):
        target = re.search(r"0x([0-9a-f]+)", rest)
        if name.startswith("BRA") and target and int(target.group(1), 16) < here:
            spans.add((int(target.group(1), 16), here))
    inner = [a for a in spans if not any(b != a and a[0] <= b[0] and b[1] <= a[1] for b in spans)]
    loops = [
        _count_names([name for here, name in zip(addresses, names, strict=True) if start <= here <= end])
        for start, end in sorted(inner)
    ]
    longest = max(loops, key=lambda loop: loop["instructions"], default=_count_names([]))
    return _count_names([name for name in names if name != "NOP"]) | {
        "loops": loops,
        "loop_instructions": longest["instructions"],
        "loop_special": longest["special"],
        "counted_in": "sass",
    }


def _count_names(names: list[str]) -> dict[str, int]:
    # HMMA, HGMMA and their like run on the tensor cores; HFMA2.MMA does not.
    return {
        "instructions": len(names),
        "special": sum(name.startswith("MUFU") for name in names),
        "tensor_core": sum(re.match("[A-Z]*MMA", name) is not None for name in names),
    }


def _count_ptx(code: str) -> dict[str, Any]:
    """The same from PTX, which the assembler may still change: no registers, no loops."""
    lines = [line.strip() for line in code.splitlines()]
    steps = [line for line in lines if line.endswith(";") and not line.startswith((".", "//"))]
    special = re.compile(r"\b(ex2|lg2|rcp|rsqrt|sqrt|sin|cos|tanh)\.approx")
    return {
        "registers": None,
        "stack_bytes": None,
        "instructions": len(steps),
        "special": sum(bool(special.search(line)) for line in steps),
        "tensor_core": sum("mma" in line for line in steps),
        "loops": None,
        "loop_instructions": None,
        "loop_special": None,
        "counted_in": "ptx",
    }


def _disassembler() -> Path | None:
    """`cuobjdump` as shipped inside triton, or None."""
    import triton

    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    return tool if tool.exists() else None


def _output_of(tool: Path, option: str, cubin: Path) -> str:
    return subprocess.run([tool, option, cubin], capture_output=True, text=True, check=True).stdout

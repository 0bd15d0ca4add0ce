"""What the Triton backends share: whether Triton runs here, and tuning. Nothing here imports triton until a function is called."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from oscbench.ops.dispatch import Call, constant_to_compilers

MAX_WIDTH = 128
WIDTH_STEP = 8
OLDEST_CAPABILITY = (8, 0)
MOST_IN_A_GRID = 65_535
"""Programs along a grid's second and third side."""


@constant_to_compilers
def installed() -> bool:
    """Whether triton can be imported; it is not imported to find out."""
    return importlib.util.find_spec("triton") is not None


@constant_to_compilers
def interpreting() -> bool:
    """Whether kernels run in Triton's interpreter. It counts only if set before triton is first imported."""
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "on", "yes")


def may_serve(device: torch.device) -> bool:
    """Whether it is worth asking `why_not`: on the CPU, where time counts and a compiler looks on, only in the interpreter."""
    return device.type == "cuda" or (
        device.type == "cpu" and not torch.compiler.is_compiling() and interpreting()
    )


def why_not(call: Call) -> str | None:
    """Why a Triton backend cannot run this call, or None. In the interpreter it runs on the CPU too."""
    if not installed():
        return "triton is not installed (pip install 'oscbench[triton]')"
    if not interpreting():
        if call.device.type != "cuda":
            return f"it needs a CUDA device, the inputs are on {call.device.type}"
        capability = torch.cuda.get_device_capability(call.device)
        if capability < OLDEST_CAPABILITY:
            return f"it needs compute capability 8.0, this GPU has {capability[0]}.{capability[1]}"
    if call.dtype == torch.float64:
        return "it computes in float32; float64 inputs need another backend"
    if call.width is not None and (call.width % WIDTH_STEP or call.width > MAX_WIDTH):
        return f"it takes widths that are a multiple of {WIDTH_STEP} up to {MAX_WIDTH}, got {call.width}"
    return None


Tile = tuple[dict[str, int], int, int]
"""Meta-parameters, warps and pipeline stages of a program."""

NARROW_BYTES = 128
"""A row of d 64 in half precision: up to there the first tile of a kernel fits."""


class Tiled:
    """A kernel and the tiles that it may be cut into.

    Where results are to be the same twice (`torch.use_deterministic_algorithms`, as in every cell that trains), one fixed tile: another
    one rounds otherwise, and each cell would spend its first steps on choosing. Elsewhere the fastest, timed once for sizes within a
    factor of four.

    Args:
        kernel: a `triton.jit` function.
        tiles: the first for narrow rows, the last, which is the smallest, for the widest.
        key: names of the arguments whose change calls for timing again.
        size: name of the argument that says how many tokens there are; None where that does not matter.
        rows: bytes of a row up to which the first tile fits, the second, …; the last one beyond.
    """

    def __init__(
        self,
        kernel: Any,
        tiles: Sequence[Tile],
        key: list[str],
        size: str | None,
        rows: Sequence[int] = (NARROW_BYTES,),
    ) -> None:
        self.fn = kernel
        self.tiles = list(tiles)
        self.rows = tuple(rows)
        self._key = key
        self._size = size
        self._tuners: dict[tuple[int, torch.device], Any] = {}

    def __getitem__(self, grid: Any) -> Callable[..., Any]:
        """What launches the kernel over a grid."""
        return partial(self._launch, grid)

    def _launch(self, grid: Any, *args: Any, **constants: Any) -> Any:
        if interpreting():
            _read_loop_bounds_of_one_element()
        device = next(one.device for one in args if isinstance(one, Tensor))
        # Triton launches on the current GPU, which need not be the one that holds the tensors.
        with torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext():
            if interpreting() or torch.are_deterministic_algorithms_enabled():
                tile, warps, stages = fixed_tile(self, constants)
                return self.fn[grid](*args, **constants, **tile, num_warps=warps, num_stages=stages)
            return self._tuner(args, device)[grid](*args, **constants)

    def _tuner(self, args: tuple[Any, ...], device: torch.device) -> Any:
        import triton

        count = 1 if self._size is None else int(args[self.fn.arg_names.index(self._size)])
        near = ((count - 1).bit_length() // 2, device)
        if near not in self._tuners:
            configs = [
                triton.Config(meta, num_warps=warps, num_stages=stages) for meta, warps, stages in self.tiles
            ]
            self._tuners[near] = triton.autotune(configs=configs, key=self._key)(self.fn)
        return self._tuners[near]


@cache
def _read_loop_bounds_of_one_element() -> None:
    """Triton 3.6 reads a loop's bound in its interpreter as `int` of an array of one element, which NumPy 2.5 refuses."""
    from triton.runtime import interpreter

    patch = interpreter._patch_lang_tensor

    def patched(tensor: Any, scope: Any) -> None:
        patch(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))

    interpreter._patch_lang_tensor = patched


def tiled(
    tiles: Sequence[Tile], key: list[str], size: str | None = None, rows: Sequence[int] = (NARROW_BYTES,)
) -> Callable[[Any], Tiled]:
    """`Tiled` as a decorator."""
    return lambda kernel: Tiled(kernel, tiles, key, size, rows)


def fixed_tile(kernel: Tiled, constants: Mapping[str, Any]) -> Tile:
    """The tile of a kernel whose constants say how wide rows are (`BLOCK_D`, `BLOCK_V`, …) and in what (`DOT`)."""
    blocks = [value for name, value in constants.items() if name.startswith("BLOCK_")]
    bits = getattr(constants.get("DOT"), "primitive_bitwidth", 16)
    place = bisect_left(kernel.rows, max(blocks, default=0) * bits // 8)
    return kernel.tiles[place if place < len(kernel.rows) else -1]


def power_of_two(width: int) -> int:
    """The smallest tile width that holds so many numbers."""
    return 1 << (width - 1).bit_length()


def block_width(width: int) -> int:
    """The same for a tensor core, which takes 16 at least."""
    return max(16, power_of_two(width))


def product_settings(q: Tensor, v: Tensor, is_causal: bool) -> dict[str, Any]:
    """Constants of kernels that multiply tiles of q's width and sum tiles of v's.

    Products of float32 are three products of tf32: as exact as float32's own up to the sums (the rest is 2^-22 of a product).
    """
    width, value_width = q.shape[-1], v.shape[-1]
    return {
        "D": width,
        "V": value_width,
        "BLOCK_D": block_width(width),
        "BLOCK_V": block_width(value_width),
        "CAUSAL": is_causal,
        "DOT": dot_type(q.dtype),
        "PRODUCT": "tf32x3" if q.dtype == torch.float32 else "ieee",
    }


def dot_type(dtype: torch.dtype) -> Any:
    """What tiles of a dtype are multiplied in; in the interpreter float32, which multiplies the bit patterns of bfloat16."""
    import triton.language as tl

    name = "float32" if interpreting() else str(dtype).removeprefix("torch.")
    return getattr(tl, name)


def flat(x: Tensor) -> Tensor:
    """Heads flattened, (B·H, N, ·), contiguous."""
    return x.reshape(-1, *x.shape[-2:]).contiguous()


def grid(problems: int, tokens: int) -> Callable[[Mapping[str, int]], tuple[int, int, int]]:
    """Blocks of a head, and heads as a product of two numbers, as `triton_tiles.place` reads them: no more than 65,535 fit one.

    Raises:
        ValueError: they do not fit two either.
    """
    inner = next(count for count in range(min(problems, MOST_IN_A_GRID), 0, -1) if problems % count == 0)
    if problems // inner > MOST_IN_A_GRID:
        raise ValueError(
            f"{problems:,} heads of a batch do not fit a grid, whose sides hold {MOST_IN_A_GRID:,}: their number has too large a divisor"
        )
    return lambda meta: (-(-tokens // meta["BLOCK_M"]), inner, problems // inner)


def token_grid(x: Tensor) -> Callable[[Mapping[str, int]], tuple[int, int]]:
    """Heads of (B, H, N, ·), blocks of tokens of a head."""
    batch, heads, tokens, _ = x.shape
    return lambda meta: (batch * heads, -(-tokens // meta["BLOCK"]))


def padding_bytes(padding: Tensor | None, like: Tensor) -> Tensor:
    """Padding (B, N) as bytes; where there is none a pointer that is not read."""
    return like if padding is None else padding.to(torch.uint8).contiguous()

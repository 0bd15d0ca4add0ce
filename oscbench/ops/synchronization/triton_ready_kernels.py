"""Triton kernels of what comes before selective synchronization: the frequencies' shift, and what the main kernels read, in two launches.

All arithmetic is float32; `prepare` and `Ready` in triton.py say what they give. A problem is one head of one sequence.
"""

# Triton reads these functions as its own language, so they carry no annotations but constexpr.
# ruff: noqa: N803
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc"

import triton
import triton.language as tl

from oscbench.ops.triton_tools import tiled

UNHEARD = tl.constexpr(1e30)
"""A sender with this squared norm locks to nobody."""
LARGEST_REACH = tl.constexpr(1e20)
SMALLEST_REACH = tl.constexpr(1e-30)
RATE = tl.constexpr(-2.885390081777927)
"""-2 log₂e."""
# The kernels move memory: what counts is how many rows a program has on the way.
TILES = [
    ({"BLOCK": 32}, 4, 1),
    ({"BLOCK": 64}, 8, 1),
    ({"BLOCK": 16}, 4, 1),
]


@triton.jit
def _real(padding_base, tokens, N, PADDED: tl.constexpr):
    """Which tokens are there and no padding."""
    real = tokens < N
    if PADDED:
        real = real & (tl.load(padding_base + tokens, mask=real, other=1) == 0)
    return real


@tiled(TILES, key=["D"], size="N")
@triton.jit
def shift_kernel(
    omega_pointer, padding_pointer, shift_pointer, batch_stride, head_stride, token_stride, H, N,
    D: tl.constexpr, BLOCK_D: tl.constexpr, FIRST: tl.constexpr, HALF: tl.constexpr, PADDED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Each channel's shift of a head: the first real token's frequency, or the middle of all where that may be taken off.

    Grid: (problems,). HALF: the inputs are in half precision, in which a middle is taken off only if that is exact.
    """
    problem = tl.program_id(0).to(tl.int64)
    batch, head = problem // H, problem % H
    base = omega_pointer + batch * batch_stride + head * head_stride
    padding_base = padding_pointer + batch * N
    channels = tl.arange(0, BLOCK_D)
    places = tl.arange(0, BLOCK)
    if FIRST:
        earliest = N
        for start in range(0, N, BLOCK):
            real = _real(padding_base, start + places, N, PADDED)
            earliest = tl.minimum(earliest, tl.min(tl.where(real, start + places, N), 0))
        row = base + tl.minimum(earliest, N - 1).to(tl.int64) * token_stride
        shift = tl.load(row + channels, mask=channels < D, other=0.0).to(tl.float32)
        shift = tl.where(earliest < N, shift, 0.0)
    else:
        least = tl.full([BLOCK_D], float("inf"), tl.float32)
        largest = tl.full([BLOCK_D], float("-inf"), tl.float32)
        for start in range(0, N, BLOCK):
            tokens = start + places
            real = _real(padding_base, tokens, N, PADDED)[:, None] & (channels[None, :] < D)
            rows = tl.load(
                base + tokens[:, None].to(tl.int64) * token_stride + channels[None, :], mask=real, other=0.0
            ).to(tl.float32)
            least = tl.minimum(least, tl.min(tl.where(real, rows, float("inf")), 0))
            largest = tl.maximum(largest, tl.max(tl.where(real, rows, float("-inf")), 0))
        shift = least / 2 + largest / 2
        if HALF:
            shift = shift.to(omega_pointer.dtype.element_ty).to(tl.float32)
        # False for NaN too, which all padding gives.
        usable = tl.abs(shift) < float("inf")
        if HALF:
            usable = usable & (largest - least < tl.abs(shift))
        shift = tl.where(usable, shift, 0.0)
    tl.store(shift_pointer + problem * D + channels, shift, mask=channels < D)


@tiled(TILES, key=["D"])
@triton.jit
def ready_kernel(
    omega_pointer, order_pointer, coupling_pointer, alpha_pointer, padding_pointer, shift_pointer, shifted_pointer, plain_pointer,
    norm_pointer, near_pointer, spent_pointer, fade_pointer, rate_pointer, batch_stride, head_stride, token_stride,
    order_batch_stride, order_head_stride, order_token_stride, H, N, S, D: tl.constexpr, BLOCK_D: tl.constexpr, SHIFTED: tl.constexpr,
    PADDED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Shifted frequencies of one block of tokens, and the numbers a token up to S. Grid: (problems, blocks of S)."""
    problem = tl.program_id(0).to(tl.int64)
    batch, head = problem // H, problem % H
    tokens, channels = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK), tl.arange(0, BLOCK_D)
    far = tokens.to(tl.int64)
    inside = tokens < N
    real = _real(padding_pointer + batch * N, tokens, N, PADDED)
    within = channels[None, :] < D
    base = omega_pointer + batch * batch_stride + head * head_stride
    # Padding may be NaN, and counts as 0.
    rows = tl.load(
        base + far[:, None] * token_stride + channels[None, :], mask=real[:, None] & within, other=0.0
    ).to(tl.float32)
    if SHIFTED:
        rows -= tl.load(shift_pointer + problem * D + channels, mask=channels < D, other=0.0)[None, :]
    rows = rows.to(shifted_pointer.dtype.element_ty)
    tl.store(
        shifted_pointer + (problem * N + far[:, None]) * D + channels[None, :],
        rows,
        mask=inside[:, None] & within,
    )
    wide = tl.where(within, rows.to(tl.float32), 0.0)
    plain = tl.sum(wide * wide, 1)
    order_base = order_pointer + batch * order_batch_stride + head * order_head_stride
    order = tl.load(order_base + far * order_token_stride, mask=inside, other=0.0).to(tl.float32)
    reach = tl.load(coupling_pointer + head).to(tl.float32) * order
    reach = reach * reach
    nothing = reach <= SMALLEST_REACH
    bounded = tl.minimum(reach, LARGEST_REACH, propagate_nan=tl.PropagateNan.ALL)
    near = tl.where(
        nothing, 0.0, 1.0 / tl.maximum(bounded, SMALLEST_REACH, propagate_nan=tl.PropagateNan.ALL)
    )
    rate = tl.load(alpha_pointer + head).to(tl.float32) * RATE
    out = problem * S + far
    there = tokens < S
    tl.store(plain_pointer + out, tl.where(inside, plain, 0.0), mask=there)
    tl.store(norm_pointer + out, tl.where(real, plain, UNHEARD), mask=there)
    tl.store(near_pointer + out, near, mask=there)
    tl.store(
        spent_pointer + out, tl.where(inside, near * plain, 0.0) + tl.where(nothing, 2.0, 0.0), mask=there
    )
    tl.store(fade_pointer + out, tl.where(inside, rate * plain, 0.0), mask=there)
    tl.store(rate_pointer + problem, rate, mask=tl.program_id(1) == 0)

"""The Triton kernel of the pull with the linear read-out (p = 1) as its epilogue: a token's state never leaves the chip.

The read-out needs sums over the senders that the epilogue may take as a whole: all of them, or causal those before the
receivers' block. They come ready made; the pairs within the block are formed here.
"""

# Triton reads these functions as its own language, so they carry no annotations but constexpr.
# ruff: noqa: N803
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc"

import triton
import triton.language as tl

from oscbench.ops.fixed_query.triton_kernels import _pull
from oscbench.ops.triton_tiles import keep, place, take
from oscbench.ops.triton_tools import tiled

# As in blocked.py; the norm's floor squared.
SQUARE_FLOOR = tl.constexpr(1e-16)
SUM_FLOOR = tl.constexpr(1e-8)
# Tokens between two prefix sums; blocks of receivers are multiples of it.
CHUNK = 64
LOCAL = tl.constexpr(32)

TILES = [
    ({"BLOCK_M": 64, "BLOCK_N": 64}, 4, 3),
    ({"BLOCK_M": 128, "BLOCK_N": 64}, 8, 3),
    ({"BLOCK_M": 64, "BLOCK_N": 32}, 4, 2),
]


@triton.jit
def _read_state(x, state, M: tl.constexpr, V: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_V: tl.constexpr):
    """(Σ_j (1 + x·r_j) v_j, Σ_j (1 + x·r_j)) over the senders that are in the sums (1 + M, V + 1)."""
    rows, columns = tl.arange(0, BLOCK_C), tl.arange(0, BLOCK_V)
    inside = (rows[:, None] < M) & (columns[None, :] < V)
    places = (rows[:, None] + 1) * (V + 1) + columns[None, :]
    turned = tl.load(state + places, mask=inside, other=0.0)
    values = tl.load(state + columns, mask=columns < V, other=0.0)
    counts = tl.load(state + (rows + 1) * (V + 1) + V, mask=rows < M, other=0.0)
    sums = tl.dot(x, turned, input_precision="tf32x3") + values[None, :]
    return sums, tl.sum(x * counts[None, :], 1) + tl.load(state + V)


@tiled(TILES, size="N", key=["D", "M", "V", "FUNCTION", "CAUSAL"])
@triton.jit
def settle_kernel(
    q_pointer, k_pointer, c_pointer, v_pointer, anchor_pointer, heard_pointer, state_pointer,
    out_pointer, h_pointer, total_pointer, N, H, STATES, scale,
    D: tl.constexpr, M: tl.constexpr, V: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_C: tl.constexpr,
    BLOCK_V: tl.constexpr, FUNCTION: tl.constexpr, CAUSAL: tl.constexpr, DOT: tl.constexpr, PRODUCT: tl.constexpr,
    PRECISE: tl.constexpr, FOLD: tl.constexpr, STEP: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Receivers of one block of one head: pull as in `forward_kernel`, settle, read out; grid (blocks, P)."""
    problem, block = place(N, BLOCK_M, CAUSAL)
    own = block * BLOCK_M + tl.arange(0, BLOCK_M)
    q = take(q_pointer + problem * N * D, own, N, D, BLOCK_D, DOT)
    h = _pull(
        q, k_pointer + problem * N * D, c_pointer + problem * N * M, own, block, N, scale, D, M, BLOCK_D, BLOCK_C,
        FUNCTION, CAUSAL, DOT, PRODUCT, PRECISE, FOLD, BLOCK_M, BLOCK_N,
    )  # fmt: skip
    keep(h_pointer + problem * N * M, h, own, N, M, BLOCK_C)
    square = tl.maximum(tl.sum(h * h, 1), SQUARE_FLOOR, propagate_nan=tl.PropagateNan.ALL)
    x = h * tl.rsqrt(square)[:, None]
    chunk = block * (BLOCK_M // STEP) if CAUSAL else 0
    state = state_pointer + (problem * STATES + chunk) * ((M + 1) * (V + 1))
    sums, total = _read_state(x, state, M, V, BLOCK_C, BLOCK_V)
    if CAUSAL:
        # Few senders at a time, so that the epilogue takes no registers from the loop above.
        for start in tl.range(block * BLOCK_M, tl.minimum((block + 1) * BLOCK_M, N), LOCAL, num_stages=1):
            senders = start + tl.arange(0, LOCAL)
            anchors = take(anchor_pointer + problem % H * N * M, senders, N, M, BLOCK_C, tl.float32)
            values = take(v_pointer + problem * N * V, senders, N, V, BLOCK_V, DOT)
            heard = tl.load(heard_pointer + problem // H * N + senders, mask=senders < N, other=0.0)
            near = (1.0 + tl.dot(x, tl.trans(anchors), input_precision="tf32x3")) * heard[None, :]
            near = tl.where(own[:, None] >= senders[None, :], near, 0.0)
            total += tl.sum(near, 1)
            sums = tl.dot(near.to(DOT), values, sums, input_precision=PRODUCT)
    total = tl.maximum(total, SUM_FLOOR, propagate_nan=tl.PropagateNan.ALL)
    tl.store(total_pointer + problem * N + own, total, mask=own < N)
    keep(out_pointer + problem * N * V, sums / total[:, None], own, N, V, BLOCK_V)

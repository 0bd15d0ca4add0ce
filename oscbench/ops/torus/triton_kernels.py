"""Triton kernels of attention over the others with a silent self: forward, the gradient to q (a row each), and to k and v (a column each).

Flash attention's streaming softmax with two changes: it starts from the sink's score, whose value is 0, as if it were the first tile; and
only the tiles on the diagonal are masked. Scores are kept in units of log 2, so that a weight is one multiply-add and one exp2. No atomics:
two runs agree bit by bit.
"""

# Triton reads these functions as its own language, so they carry no annotations but constexpr.
# ruff: noqa: N803
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc"

import triton
import triton.language as tl

from oscbench.ops.triton_tiles import keep, place, take
from oscbench.ops.triton_tools import tiled

LOG2_E = tl.constexpr(1.4426950408889634)
SILENCE = tl.constexpr(float("-inf"))

# Up to 128 and 256 bytes a row, and beyond.
TILES = [
    ({"BLOCK_M": 128, "BLOCK_N": 64}, 8, 3),
    ({"BLOCK_M": 64, "BLOCK_N": 32}, 4, 2),
    ({"BLOCK_M": 32, "BLOCK_N": 32}, 4, 1),
]
ROWS = (128, 256)


@triton.jit
def _hears(receivers, senders, N, CAUSAL: tl.constexpr):
    """Which receiver (row) hears which sender (column), on the diagonal and at the end."""
    if CAUSAL:
        return (senders < receivers) & (senders < N)
    return (senders != receivers) & (senders < N)


@triton.jit
def _scored(
    senders, q, k_base, v_base, padding, own, N, D: tl.constexpr, V: tl.constexpr, BLOCK_D: tl.constexpr,
    BLOCK_V: tl.constexpr, MASKED: tl.constexpr, PADDED: tl.constexpr, CAUSAL: tl.constexpr, DOT: tl.constexpr,
    PRODUCT: tl.constexpr,
):  # fmt: skip
    """Keys and values of a tile of senders, and their scores at the receivers, SILENCE for whom these do not hear."""
    k = take(k_base, senders, N, D, BLOCK_D, DOT)
    v = take(v_base, senders, N, V, BLOCK_V, DOT)
    scores = tl.dot(q, tl.trans(k), input_precision=PRODUCT)
    if MASKED:
        scores = tl.where(_hears(own[:, None], senders[None, :], N, CAUSAL), scores, SILENCE)
    if PADDED:
        heard = tl.load(padding + senders, mask=senders < N, other=1) == 0
        scores = tl.where(heard[None, :], scores, SILENCE)
    return k, v, scores


@triton.jit
def _forward_tiles(
    acc, total, top, first, last, q, k_base, v_base, padding, own, N, D: tl.constexpr, V: tl.constexpr,
    BLOCK_D: tl.constexpr, BLOCK_V: tl.constexpr, MASKED: tl.constexpr, PADDED: tl.constexpr, CAUSAL: tl.constexpr,
    DOT: tl.constexpr, PRODUCT: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Add senders first..last to a block of receivers: weighted values, sum of weights, and the largest score so far."""
    for start in range(first, last, BLOCK_N):
        _, v, scores = _scored(
            start + tl.arange(0, BLOCK_N), q, k_base, v_base, padding, own, N, D, V, BLOCK_D, BLOCK_V, MASKED, PADDED,
            CAUSAL, DOT, PRODUCT,
        )  # fmt: skip
        higher = tl.maximum(top, tl.max(scores, 1) * LOG2_E)
        # Who has heard nobody yet has no largest score to count from.
        base = tl.where(higher == SILENCE, 0.0, higher) if MASKED or PADDED else higher
        weights = tl.exp2(scores * LOG2_E - base[:, None])
        kept = tl.exp2(top - base)
        total = total * kept + tl.sum(weights, 1)
        acc = tl.dot(weights.to(DOT), v, acc * kept[:, None], input_precision=PRODUCT)
        top = higher
    return acc, total, top


@tiled(TILES, size="N", key=["D", "V", "CAUSAL", "PADDED"], rows=ROWS)
@triton.jit
def forward_kernel(
    q_pointer, k_pointer, v_pointer, sink_pointer, padding_pointer, out_pointer, lse_pointer, N, H,
    D: tl.constexpr, V: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_V: tl.constexpr, CAUSAL: tl.constexpr,
    PADDED: tl.constexpr, DOT: tl.constexpr, PRODUCT: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Receivers of one block of one head; tensors (P, N, ·), padding (B, N), grid (blocks, P)."""
    problem, block = place(N, BLOCK_M, CAUSAL)
    own = block * BLOCK_M + tl.arange(0, BLOCK_M)
    q = take(q_pointer + problem * N * D, own, N, D, BLOCK_D, DOT)
    k_base, v_base = k_pointer + problem * N * D, v_pointer + problem * N * V
    padding = padding_pointer + problem // H * N
    top = tl.load(sink_pointer + problem * N + own, mask=own < N, other=0.0) * LOG2_E
    total = tl.where(top == SILENCE, 0.0, 1.0)
    acc = tl.zeros([BLOCK_M, BLOCK_V], tl.float32)
    before = block * BLOCK_M // BLOCK_N * BLOCK_N
    after = tl.minimum((block + 1) * BLOCK_M, N)
    acc, total, top = _forward_tiles(
        acc, total, top, 0, before, q, k_base, v_base, padding, own, N, D, V, BLOCK_D, BLOCK_V, False, PADDED, CAUSAL,
        DOT, PRODUCT, BLOCK_N,
    )  # fmt: skip
    acc, total, top = _forward_tiles(
        acc, total, top, before, after, q, k_base, v_base, padding, own, N, D, V, BLOCK_D, BLOCK_V, True, PADDED,
        CAUSAL, DOT, PRODUCT, BLOCK_N,
    )  # fmt: skip
    if not CAUSAL:
        after = tl.cdiv(after, BLOCK_N) * BLOCK_N
        whole = tl.maximum(after, N // BLOCK_N * BLOCK_N)
        acc, total, top = _forward_tiles(
            acc, total, top, after, whole, q, k_base, v_base, padding, own, N, D, V, BLOCK_D, BLOCK_V, False, PADDED,
            CAUSAL, DOT, PRODUCT, BLOCK_N,
        )  # fmt: skip
        acc, total, top = _forward_tiles(
            acc, total, top, whole, N, q, k_base, v_base, padding, own, N, D, V, BLOCK_D, BLOCK_V, True, PADDED,
            CAUSAL, DOT, PRODUCT, BLOCK_N,
        )  # fmt: skip
    # Who has heard nobody has 0 to divide, and -inf for its largest score.
    total = tl.where(total == 0.0, 1.0, total)
    tl.store(lse_pointer + problem * N + own, (top + tl.log2(total)) / LOG2_E, mask=own < N)
    keep(out_pointer + problem * N * V, acc * (1.0 / total)[:, None], own, N, V, BLOCK_V)


@triton.jit
def _row_tiles(
    acc, first, last, q, grad, along, lse, k_base, v_base, padding, own, N, D: tl.constexpr, V: tl.constexpr,
    BLOCK_D: tl.constexpr, BLOCK_V: tl.constexpr, MASKED: tl.constexpr, PADDED: tl.constexpr, CAUSAL: tl.constexpr,
    DOT: tl.constexpr, PRODUCT: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Add senders first..last to the gradient of a block of receivers."""
    for start in range(first, last, BLOCK_N):
        k, v, scores = _scored(
            start + tl.arange(0, BLOCK_N), q, k_base, v_base, padding, own, N, D, V, BLOCK_D, BLOCK_V, MASKED, PADDED,
            CAUSAL, DOT, PRODUCT,
        )  # fmt: skip
        weights = tl.exp2(scores * LOG2_E - lse[:, None])
        slopes = weights * (tl.dot(grad, tl.trans(v), input_precision=PRODUCT) - along[:, None])
        acc = tl.dot(slopes.to(DOT), k, acc, input_precision=PRODUCT)
    return acc


@tiled(TILES, size="N", key=["D", "V", "CAUSAL", "PADDED"], rows=ROWS)
@triton.jit
def row_gradient_kernel(
    q_pointer, k_pointer, v_pointer, grad_pointer, along_pointer, lse_pointer, padding_pointer, d_q_pointer, N, H,
    D: tl.constexpr, V: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_V: tl.constexpr, CAUSAL: tl.constexpr,
    PADDED: tl.constexpr, DOT: tl.constexpr, PRODUCT: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Σ_u A_tu (grad_t·v_u - grad_t·out_t) k_u for the receivers of one block; `along` is grad·out, `lse` +inf where nobody is heard."""
    problem, block = place(N, BLOCK_M, CAUSAL)
    own = block * BLOCK_M + tl.arange(0, BLOCK_M)
    q = take(q_pointer + problem * N * D, own, N, D, BLOCK_D, DOT)
    grad = take(grad_pointer + problem * N * V, own, N, V, BLOCK_V, DOT)
    along = tl.load(along_pointer + problem * N + own, mask=own < N, other=0.0)
    lse = tl.load(lse_pointer + problem * N + own, mask=own < N, other=float("inf")) * LOG2_E
    k_base, v_base = k_pointer + problem * N * D, v_pointer + problem * N * V
    padding = padding_pointer + problem // H * N
    acc = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    before = block * BLOCK_M // BLOCK_N * BLOCK_N
    after = tl.minimum((block + 1) * BLOCK_M, N)
    acc = _row_tiles(
        acc, 0, before, q, grad, along, lse, k_base, v_base, padding, own, N, D, V, BLOCK_D, BLOCK_V, False, PADDED,
        CAUSAL, DOT, PRODUCT, BLOCK_N,
    )  # fmt: skip
    acc = _row_tiles(
        acc, before, after, q, grad, along, lse, k_base, v_base, padding, own, N, D, V, BLOCK_D, BLOCK_V, True, PADDED,
        CAUSAL, DOT, PRODUCT, BLOCK_N,
    )  # fmt: skip
    if not CAUSAL:
        after = tl.cdiv(after, BLOCK_N) * BLOCK_N
        whole = tl.maximum(after, N // BLOCK_N * BLOCK_N)
        acc = _row_tiles(
            acc, after, whole, q, grad, along, lse, k_base, v_base, padding, own, N, D, V, BLOCK_D, BLOCK_V, False,
            PADDED, CAUSAL, DOT, PRODUCT, BLOCK_N,
        )  # fmt: skip
        acc = _row_tiles(
            acc, whole, N, q, grad, along, lse, k_base, v_base, padding, own, N, D, V, BLOCK_D, BLOCK_V, True, PADDED,
            CAUSAL, DOT, PRODUCT, BLOCK_N,
        )  # fmt: skip
    keep(d_q_pointer + problem * N * D, acc, own, N, D, BLOCK_D)


@triton.jit
def _column_tiles(
    acc_k, acc_v, first, last, k, v, q_base, grad_base, along_base, lse_base, own, N, D: tl.constexpr, V: tl.constexpr,
    BLOCK_D: tl.constexpr, BLOCK_V: tl.constexpr, MASKED: tl.constexpr, CAUSAL: tl.constexpr, DOT: tl.constexpr,
    PRODUCT: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Add receivers first..last to the gradients of a block of senders. Past the last token the log-sum-exp makes all weights 0."""
    for start in range(first, last, BLOCK_N):
        receivers = start + tl.arange(0, BLOCK_N)
        q = take(q_base, receivers, N, D, BLOCK_D, DOT)
        grad = take(grad_base, receivers, N, V, BLOCK_V, DOT)
        along = tl.load(along_base + receivers, mask=receivers < N, other=0.0)
        lse = tl.load(lse_base + receivers, mask=receivers < N, other=float("inf")) * LOG2_E
        scores = tl.dot(k, tl.trans(q), input_precision=PRODUCT)
        if MASKED:
            scores = tl.where(_hears(receivers[None, :], own[:, None], N, CAUSAL), scores, SILENCE)
        weights = tl.exp2(scores * LOG2_E - lse[None, :])
        acc_v = tl.dot(weights.to(DOT), grad, acc_v, input_precision=PRODUCT)
        slopes = weights * (tl.dot(v, tl.trans(grad), input_precision=PRODUCT) - along[None, :])
        acc_k = tl.dot(slopes.to(DOT), q, acc_k, input_precision=PRODUCT)
    return acc_k, acc_v


@tiled(TILES, size="N", key=["D", "V", "CAUSAL", "PADDED"], rows=ROWS)
@triton.jit
def column_gradient_kernel(
    q_pointer, k_pointer, v_pointer, grad_pointer, along_pointer, lse_pointer, padding_pointer, d_k_pointer, d_v_pointer,
    N, H, D: tl.constexpr, V: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_V: tl.constexpr, CAUSAL: tl.constexpr,
    PADDED: tl.constexpr, DOT: tl.constexpr, PRODUCT: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Σ_t A_tu (grad_t·v_u - grad_t·out_t) q_t and Σ_t A_tu grad_t for the senders of one block of BLOCK_M, 0 for padding."""
    problem, block = place(N, BLOCK_M, False)
    own = block * BLOCK_M + tl.arange(0, BLOCK_M)
    k = take(k_pointer + problem * N * D, own, N, D, BLOCK_D, DOT)
    v = take(v_pointer + problem * N * V, own, N, V, BLOCK_V, DOT)
    q_base, grad_base = q_pointer + problem * N * D, grad_pointer + problem * N * V
    along_base, lse_base = along_pointer + problem * N, lse_pointer + problem * N
    acc_k = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    acc_v = tl.zeros([BLOCK_M, BLOCK_V], tl.float32)
    before = block * BLOCK_M // BLOCK_N * BLOCK_N
    after = tl.cdiv(tl.minimum((block + 1) * BLOCK_M, N), BLOCK_N) * BLOCK_N
    if not CAUSAL:
        acc_k, acc_v = _column_tiles(
            acc_k, acc_v, 0, before, k, v, q_base, grad_base, along_base, lse_base, own, N, D, V, BLOCK_D, BLOCK_V,
            False, CAUSAL, DOT, PRODUCT, BLOCK_N,
        )  # fmt: skip
    acc_k, acc_v = _column_tiles(
        acc_k, acc_v, before, after, k, v, q_base, grad_base, along_base, lse_base, own, N, D, V, BLOCK_D, BLOCK_V,
        True, CAUSAL, DOT, PRODUCT, BLOCK_N,
    )  # fmt: skip
    acc_k, acc_v = _column_tiles(
        acc_k, acc_v, after, N, k, v, q_base, grad_base, along_base, lse_base, own, N, D, V, BLOCK_D, BLOCK_V, False,
        CAUSAL, DOT, PRODUCT, BLOCK_N,
    )  # fmt: skip
    if PADDED:
        padded = tl.load(padding_pointer + problem // H * N + own, mask=own < N, other=1) != 0
        acc_k, acc_v = tl.where(padded[:, None], 0.0, acc_k), tl.where(padded[:, None], 0.0, acc_v)
    keep(d_k_pointer + problem * N * D, acc_k, own, N, D, BLOCK_D)
    keep(d_v_pointer + problem * N * V, acc_v, own, N, V, BLOCK_V)

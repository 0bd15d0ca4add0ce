"""Triton kernels of Σ_j f(q_i·k_j scale) c_j: forward, the gradient to q (a row each), and to k and c (a column each).

log(1 + t) on t = exp(-|x|) in [0, 1] is t times a polynomial: its relative error is 1.3e-7 at degree 9 and 6e-5 at
degree 4, it keeps the tail of softplus relative, and it saves one of three special functions a pair. No
atomics: two runs agree bit by bit. Senders past the end need no mask, because what they would add is multiplied by c = 0.
"""

# Triton reads these functions as its own language, so they carry no annotations but constexpr.
# ruff: noqa: N803
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc"

import triton
import triton.language as tl

from oscbench.ops.triton_tiles import keep, place, take
from oscbench.ops.triton_tools import tiled

# The order of FUNCTIONS in triton_pairwise.py.
SOFTPLUS = tl.constexpr(0)
RELU = tl.constexpr(1)
ELU = tl.constexpr(2)
SQUARE = tl.constexpr(3)
LOG2_E = tl.constexpr(1.4426950408889634)
RELU_FLOOR = tl.constexpr(1e-3)
# 2 to this power is the smallest normal number: exponents below are clamped, denormals cost time and hold no
# digits.
LOWEST = tl.constexpr(-126.0)

TILES = [
    ({"BLOCK_M": 128, "BLOCK_N": 64}, 8, 3),
    ({"BLOCK_M": 128, "BLOCK_N": 64}, 4, 3),
    ({"BLOCK_M": 64, "BLOCK_N": 64}, 4, 3),
    ({"BLOCK_M": 64, "BLOCK_N": 32}, 4, 2),
]


@triton.jit
def _decay(x):
    """exp(x) for x ≤ 0; NaN stays NaN."""
    power = tl.maximum(x * LOG2_E, LOWEST, propagate_nan=tl.PropagateNan.ALL)
    return tl.exp2(power)


@triton.jit
def _log1p(t, PRECISE: tl.constexpr):
    """log(1 + t), 0 ≤ t ≤ 1."""
    if PRECISE:
        p = t * -0.0031760570127516985 + 0.019542528316378593
        p = p * t - 0.05637361481785774
        p = p * t + 0.10543623566627502
        p = p * t - 0.1526966691017151
        p = p * t + 0.1966327428817749
        p = p * t - 0.24951615929603577
        p = p * t + 0.33329710364341736
        p = p * t - 0.49999892711639404
        return t * (p * t + 1.0)
    p = t * 0.04066343605518341 - 0.15602952241897583
    p = p * t + 0.30539998412132263
    p = p * t - 0.49678874015808105
    return t * (p * t + 0.9999368190765381)


@triton.jit
def _value(x, FUNCTION: tl.constexpr, PRECISE: tl.constexpr):
    """The function f of a tile of scores."""
    if FUNCTION == SOFTPLUS:
        return tl.maximum(x, 0.0, propagate_nan=tl.PropagateNan.ALL) + _log1p(_decay(-tl.abs(x)), PRECISE)
    if FUNCTION == RELU:
        return tl.maximum(x, 0.0, propagate_nan=tl.PropagateNan.ALL) + RELU_FLOOR
    if FUNCTION == ELU:
        return tl.where(x > 0.0, x + 1.0, _decay(tl.minimum(x, 0.0, propagate_nan=tl.PropagateNan.ALL)))
    base = tl.maximum(x + 1.0, 0.0, propagate_nan=tl.PropagateNan.ALL)
    base = base * base
    if FUNCTION == SQUARE:
        return base
    return base * base


@triton.jit
def _slope(x, FUNCTION: tl.constexpr):
    """The slope f' of a tile of scores."""
    if FUNCTION == SOFTPLUS:
        t = _decay(-tl.abs(x))
        return tl.where(x >= 0.0, 1.0, t) / (1.0 + t)
    if FUNCTION == RELU:
        return tl.where(x > 0.0, 1.0, 0.0 * x)
    if FUNCTION == ELU:
        return _decay(tl.minimum(x, 0.0, propagate_nan=tl.PropagateNan.ALL))
    base = tl.maximum(x + 1.0, 0.0, propagate_nan=tl.PropagateNan.ALL)
    if FUNCTION == SQUARE:
        return 2.0 * base
    return 4.0 * base * base * base


@triton.jit
def _scaled(x, scale, DOT: tl.constexpr, FOLD: tl.constexpr):
    """A block's own vectors times the scale, where that loses nothing; else every score is multiplied."""
    return (x * scale).to(DOT) if FOLD else x


@triton.jit
def _scores(own, others, scale, PRODUCT: tl.constexpr, FOLD: tl.constexpr):
    scores = tl.dot(own, tl.trans(others), input_precision=PRODUCT)
    return scores if FOLD else scores * scale


@triton.jit
def _pull_tiles(
    acc, first, last, q, k_base, c_base, own, N, scale, D: tl.constexpr, M: tl.constexpr, BLOCK_D: tl.constexpr,
    BLOCK_C: tl.constexpr, FUNCTION: tl.constexpr, MASKED: tl.constexpr, DOT: tl.constexpr, PRODUCT: tl.constexpr,
    PRECISE: tl.constexpr, FOLD: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Add senders first..last to what pulls a block of receivers; MASKED where some of them are in the future."""
    for start in range(first, last, BLOCK_N):
        senders = start + tl.arange(0, BLOCK_N)
        k = take(k_base, senders, N, D, BLOCK_D, DOT)
        c = take(c_base, senders, N, M, BLOCK_C, DOT)
        weights = _value(_scores(q, k, scale, PRODUCT, FOLD), FUNCTION, PRECISE)
        if MASKED:
            weights = tl.where(own[:, None] >= senders[None, :], weights, 0.0)
        acc = tl.dot(weights.to(DOT), c, acc, input_precision=PRODUCT)
    return acc


@triton.jit
def _pull(
    q, k_base, c_base, own, block, N, scale, D: tl.constexpr, M: tl.constexpr, BLOCK_D: tl.constexpr,
    BLOCK_C: tl.constexpr, FUNCTION: tl.constexpr, CAUSAL: tl.constexpr, DOT: tl.constexpr, PRODUCT: tl.constexpr,
    PRECISE: tl.constexpr, FOLD: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """What pulls a block of receivers, (BLOCK_M, BLOCK_C); causal, tiles before their own need no mask."""
    q = _scaled(q, scale, DOT, FOLD)
    acc = tl.zeros([BLOCK_M, BLOCK_C], tl.float32)
    whole = block * BLOCK_M // BLOCK_N * BLOCK_N if CAUSAL else N
    acc = _pull_tiles(
        acc, 0, whole, q, k_base, c_base, own, N, scale, D, M, BLOCK_D, BLOCK_C, FUNCTION, False, DOT, PRODUCT,
        PRECISE, FOLD, BLOCK_N,
    )  # fmt: skip
    if CAUSAL:
        acc = _pull_tiles(
            acc, whole, tl.minimum((block + 1) * BLOCK_M, N), q, k_base, c_base, own, N, scale, D, M, BLOCK_D,
            BLOCK_C, FUNCTION, True, DOT, PRODUCT, PRECISE, FOLD, BLOCK_N,
        )  # fmt: skip
    return acc


@tiled(TILES, size="N", key=["D", "M", "FUNCTION", "CAUSAL"])
@triton.jit
def forward_kernel(
    q_pointer, k_pointer, c_pointer, out_pointer, N, scale,
    D: tl.constexpr, M: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_C: tl.constexpr, FUNCTION: tl.constexpr,
    CAUSAL: tl.constexpr, DOT: tl.constexpr, PRODUCT: tl.constexpr, PRECISE: tl.constexpr,
    FOLD: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Receivers of one block of one head; tensors (P, N, ·), grid (blocks, P)."""
    problem, block = place(N, BLOCK_M, CAUSAL)
    own = block * BLOCK_M + tl.arange(0, BLOCK_M)
    q = take(q_pointer + problem * N * D, own, N, D, BLOCK_D, DOT)
    acc = _pull(
        q, k_pointer + problem * N * D, c_pointer + problem * N * M, own, block, N, scale, D, M, BLOCK_D, BLOCK_C,
        FUNCTION, CAUSAL, DOT, PRODUCT, PRECISE, FOLD, BLOCK_M, BLOCK_N,
    )  # fmt: skip
    keep(out_pointer + problem * N * M, acc, own, N, M, BLOCK_C)


@triton.jit
def _row_tiles(
    acc, first, last, q, grad, k_base, c_base, own, N, scale, D: tl.constexpr, M: tl.constexpr, BLOCK_D: tl.constexpr,
    BLOCK_C: tl.constexpr, FUNCTION: tl.constexpr, MASKED: tl.constexpr, DOT: tl.constexpr, PRODUCT: tl.constexpr,
    FOLD: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Add senders first..last to the gradient of a block of receivers."""
    for start in range(first, last, BLOCK_N):
        senders = start + tl.arange(0, BLOCK_N)
        k = take(k_base, senders, N, D, BLOCK_D, DOT)
        c = take(c_base, senders, N, M, BLOCK_C, DOT)
        slopes = _slope(_scores(q, k, scale, PRODUCT, FOLD), FUNCTION)
        slopes = slopes * tl.dot(grad, tl.trans(c), input_precision=PRODUCT)
        if MASKED:
            slopes = tl.where(own[:, None] >= senders[None, :], slopes, 0.0)
        acc = tl.dot(slopes.to(DOT), k, acc, input_precision=PRODUCT)
    return acc


@tiled(TILES, size="N", key=["D", "M", "FUNCTION", "CAUSAL"])
@triton.jit
def row_gradient_kernel(
    q_pointer, k_pointer, c_pointer, grad_pointer, grad_q_pointer, N, scale,
    D: tl.constexpr, M: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_C: tl.constexpr, FUNCTION: tl.constexpr,
    CAUSAL: tl.constexpr, DOT: tl.constexpr, PRODUCT: tl.constexpr, PRECISE: tl.constexpr,
    FOLD: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Σ_j (grad_i·c_j) f'(s_ij) k_j scale for the receivers of one block."""
    problem, block = place(N, BLOCK_M, CAUSAL)
    own = block * BLOCK_M + tl.arange(0, BLOCK_M)
    q = take(q_pointer + problem * N * D, own, N, D, BLOCK_D, DOT)
    grad = take(grad_pointer + problem * N * M, own, N, M, BLOCK_C, DOT)
    q = _scaled(q, scale, DOT, FOLD)
    acc = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    whole = block * BLOCK_M // BLOCK_N * BLOCK_N if CAUSAL else N
    k_base, c_base = k_pointer + problem * N * D, c_pointer + problem * N * M
    acc = _row_tiles(
        acc, 0, whole, q, grad, k_base, c_base, own, N, scale, D, M, BLOCK_D, BLOCK_C, FUNCTION, False, DOT, PRODUCT,
        FOLD, BLOCK_N,
    )  # fmt: skip
    if CAUSAL:
        acc = _row_tiles(
            acc, whole, tl.minimum((block + 1) * BLOCK_M, N), q, grad, k_base, c_base, own, N, scale, D, M, BLOCK_D,
            BLOCK_C, FUNCTION, True, DOT, PRODUCT, FOLD, BLOCK_N,
        )  # fmt: skip
    keep(grad_q_pointer + problem * N * D, acc * scale, own, N, D, BLOCK_D)


@triton.jit
def _column_tiles(
    acc_k, acc_c, first, last, k, c, q_base, grad_base, own, N, scale, D: tl.constexpr, M: tl.constexpr,
    BLOCK_D: tl.constexpr, BLOCK_C: tl.constexpr, FUNCTION: tl.constexpr, MASKED: tl.constexpr, DOT: tl.constexpr,
    PRODUCT: tl.constexpr, PRECISE: tl.constexpr, FOLD: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Add receivers first..last to the gradients of a block of senders."""
    for start in range(first, last, BLOCK_N):
        receivers = start + tl.arange(0, BLOCK_N)
        q = take(q_base, receivers, N, D, BLOCK_D, DOT)
        grad = take(grad_base, receivers, N, M, BLOCK_C, DOT)
        scores = _scores(k, q, scale, PRODUCT, FOLD)
        weights = _value(scores, FUNCTION, PRECISE)
        slopes = _slope(scores, FUNCTION) * tl.dot(c, tl.trans(grad), input_precision=PRODUCT)
        if MASKED:
            heard = receivers[None, :] >= own[:, None]
            weights, slopes = tl.where(heard, weights, 0.0), tl.where(heard, slopes, 0.0)
        acc_c = tl.dot(weights.to(DOT), grad, acc_c, input_precision=PRODUCT)
        acc_k = tl.dot(slopes.to(DOT), q, acc_k, input_precision=PRODUCT)
    return acc_k, acc_c


@tiled(TILES, size="N", key=["D", "M", "FUNCTION", "CAUSAL"])
@triton.jit
def column_gradient_kernel(
    q_pointer, k_pointer, c_pointer, grad_pointer, grad_k_pointer, grad_c_pointer, N, scale,
    D: tl.constexpr, M: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_C: tl.constexpr, FUNCTION: tl.constexpr,
    CAUSAL: tl.constexpr, DOT: tl.constexpr, PRODUCT: tl.constexpr, PRECISE: tl.constexpr,
    FOLD: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Σ_i (grad_i·c_j) f'(s_ij) q_i scale and Σ_i f(s_ij) grad_i for the senders of one block of BLOCK_M."""
    problem, block = place(N, BLOCK_M, False)
    own = block * BLOCK_M + tl.arange(0, BLOCK_M)
    k = take(k_pointer + problem * N * D, own, N, D, BLOCK_D, DOT)
    c = take(c_pointer + problem * N * M, own, N, M, BLOCK_C, DOT)
    k = _scaled(k, scale, DOT, FOLD)
    acc_k = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    acc_c = tl.zeros([BLOCK_M, BLOCK_C], tl.float32)
    q_base, grad_base = q_pointer + problem * N * D, grad_pointer + problem * N * M
    whole = 0
    if CAUSAL:
        whole = tl.cdiv(tl.minimum((block + 1) * BLOCK_M, N), BLOCK_N) * BLOCK_N
        acc_k, acc_c = _column_tiles(
            acc_k, acc_c, block * BLOCK_M // BLOCK_N * BLOCK_N, whole, k, c, q_base, grad_base, own, N, scale, D, M,
            BLOCK_D, BLOCK_C, FUNCTION, True, DOT, PRODUCT, PRECISE, FOLD, BLOCK_N,
        )  # fmt: skip
    acc_k, acc_c = _column_tiles(
        acc_k, acc_c, whole, N, k, c, q_base, grad_base, own, N, scale, D, M, BLOCK_D, BLOCK_C, FUNCTION, False, DOT,
        PRODUCT, PRECISE, FOLD, BLOCK_N,
    )  # fmt: skip
    keep(grad_k_pointer + problem * N * D, acc_k * scale, own, N, D, BLOCK_D)
    keep(grad_c_pointer + problem * N * M, acc_c, own, N, M, BLOCK_C)

"""Selective synchronization for CUDA: the forward kernel and the kernel that serves the backward pass.

With t = |ω_j|² - 2 ω_i·ω_j, Δ² = t + |ω_i|²; the exponent -2αΔ² log₂e is `rate` t + `fade` and Δ²/(Kr)² is `near` t + `spent`,
one multiply-add each. What must not be heard (padding, places past the end) comes with a sender's norm so large that
it cannot lock, so that inner tiles need no mask. No running maximum: 0 ≤ S ≤ 1. No atomics: two runs agree bit by bit.
"""

# Triton reads these functions as its own language, so they carry no annotations but constexpr.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc"

# ruff: noqa: N803 (compile-time constants are written in capitals, as Triton's own tutorials do)

import triton
import triton.language as tl

from oscbench.ops.triton_tiles import place
from oscbench.ops.triton_tools import tiled

SUM_EPSILON = tl.constexpr(1e-8)
ROWS = (128, 256)
"""Bytes of a row up to which a kernel's first tile is taken, and its second; wider ones have the last, which fits 99 KB of shared memory."""


@triton.jit
def _locking(
    dot,
    sender_norms,
    near,
    spent,
    rate,
    fade,
    receivers,
    senders,
    SPECIAL: tl.constexpr,
    CAUSAL: tl.constexpr,
):
    """(S², e, t) of a tile, S² not below 0; receivers' and senders' vectors come shaped to broadcast."""
    t = sender_norms - 2.0 * dot
    e = tl.exp2(rate * t + fade)
    square = e - (near * t + spent)
    if SPECIAL:
        # A token hears itself whatever r is, unless it is padding; its 0 · t lets NaN through.
        heard = sender_norms < 1e29
        square = tl.where((receivers == senders) & heard, 1.0 + 0.0 * t, square)
        if CAUSAL:
            square = tl.where(receivers >= senders, square, 0.0)
        square = tl.minimum(square, 1.0, propagate_nan=tl.PropagateNan.ALL)
    # Elsewhere e is at most 1 but for its rounding.
    square = tl.maximum(square, 0.0, propagate_nan=tl.PropagateNan.ALL)
    return square, e, t


@triton.jit
def _rows(base, tokens, columns, N, D: tl.constexpr, EVEN: tl.constexpr, DOT: tl.constexpr):
    """Tokens' vectors (block, columns), 0 past the end."""
    inside = tokens[:, None] < N
    if not EVEN:
        inside = inside & (columns[None, :] < D)
    return tl.load(base + tokens[:, None].to(tl.int64) * D + columns[None, :], mask=inside, other=0.0).to(DOT)


@triton.jit
def _forward_tiles(
    acc, total, first, last, own, omega, near, spent, rate, fade, omega_base, value_base, norm_base, N,
    D: tl.constexpr, V: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_V: tl.constexpr, BLOCK_N: tl.constexpr,
    SPECIAL: tl.constexpr, CAUSAL: tl.constexpr, DOT: tl.constexpr, PRODUCT: tl.constexpr,
):  # fmt: skip
    """Add senders first..last to the sums of a block of receivers."""
    channels, value_channels = tl.arange(0, BLOCK_D), tl.arange(0, BLOCK_V)
    for start in range(first, last, BLOCK_N):
        senders = start + tl.arange(0, BLOCK_N)
        other = _rows(omega_base, senders, channels, N, D, D == BLOCK_D, DOT)
        norms = tl.load(norm_base + senders)[None, :]
        values = _rows(value_base, senders, value_channels, N, V, V == BLOCK_V, DOT)
        dot = tl.dot(omega, tl.trans(other), input_precision=PRODUCT)
        square, _, _ = _locking(
            dot, norms, near, spent, rate, fade, own[:, None], senders[None, :], SPECIAL, CAUSAL
        )
        strength = tl.sqrt(square)
        total += tl.sum(strength, 1)
        acc = tl.dot(strength.to(DOT), values, acc, input_precision=PRODUCT)
    return acc, total


@tiled(
    [
        ({"BLOCK_M": 128, "BLOCK_N": 64}, 8, 3),
        ({"BLOCK_M": 64, "BLOCK_N": 32}, 4, 2),
        ({"BLOCK_M": 128, "BLOCK_N": 64}, 4, 3),
        ({"BLOCK_M": 128, "BLOCK_N": 128}, 8, 2),
        ({"BLOCK_M": 64, "BLOCK_N": 64}, 4, 3),
        ({"BLOCK_M": 32, "BLOCK_N": 32}, 4, 1),
    ],
    size="N",
    key=["D", "V", "CAUSAL"],
    rows=ROWS,
)
@triton.jit
def forward_kernel(
    omega_pointer, value_pointer, norm_pointer, near_pointer, spent_pointer, fade_pointer, rate_pointer,
    out_pointer, total_pointer, N, S,
    D: tl.constexpr, V: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_V: tl.constexpr, CAUSAL: tl.constexpr,
    DOT: tl.constexpr, PRODUCT: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """out_i = Σ_j S_ij v_j / T_i and T_i = Σ_j S_ij + 1e-8 for BLOCK_M receivers of one head.

    Vectors are (P, N, D), numbers a token (P, S) with S a multiple of 128, `rate` (P,). Grid: (blocks of receivers, P).
    """
    problem, block = place(N, BLOCK_M, CAUSAL)
    first = block * BLOCK_M
    own = first + tl.arange(0, BLOCK_M)
    omega_base, value_base = omega_pointer + problem * N * D, value_pointer + problem * N * V
    norm_base = norm_pointer + problem * S
    inside = own < N
    omega = _rows(omega_base, own, tl.arange(0, BLOCK_D), N, D, D == BLOCK_D, DOT)
    near = tl.load(near_pointer + problem * S + own)[:, None]
    spent = tl.load(spent_pointer + problem * S + own)[:, None]
    fade = tl.load(fade_pointer + problem * S + own)[:, None]
    rate = tl.load(rate_pointer + problem)
    acc = tl.zeros([BLOCK_M, BLOCK_V], tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    # Tiles before the receivers' own, their own, and (not causal) those after.
    begin = first // BLOCK_N * BLOCK_N
    end = tl.cdiv(tl.minimum(first + BLOCK_M, N), BLOCK_N) * BLOCK_N
    acc, total = _forward_tiles(
        acc, total, 0, begin, own, omega, near, spent, rate, fade, omega_base, value_base, norm_base, N,
        D, V, BLOCK_D, BLOCK_V, BLOCK_N, False, CAUSAL, DOT, PRODUCT,
    )  # fmt: skip
    acc, total = _forward_tiles(
        acc, total, begin, end, own, omega, near, spent, rate, fade, omega_base, value_base, norm_base, N,
        D, V, BLOCK_D, BLOCK_V, BLOCK_N, True, CAUSAL, DOT, PRODUCT,
    )  # fmt: skip
    if not CAUSAL:
        acc, total = _forward_tiles(
            acc, total, end, N, own, omega, near, spent, rate, fade, omega_base, value_base, norm_base, N,
            D, V, BLOCK_D, BLOCK_V, BLOCK_N, False, CAUSAL, DOT, PRODUCT,
        )  # fmt: skip
    total += SUM_EPSILON
    columns = tl.arange(0, BLOCK_V)
    where = out_pointer + problem * N * V + own[:, None] * V + columns[None, :]
    tl.store(where, acc / total[:, None], mask=inside[:, None] & (columns[None, :] < V))
    tl.store(total_pointer + problem * N + own, total, mask=inside)


@triton.jit
def _pull_tiles(
    d_values, pulled, pulls, gaps, faded, first, last, own, omega, values, grads, near, spent, fade, norms, push,
    omega_base, value_base, grad_base, norm_base, near_base, spent_base, fade_base, push_base, rate, slope_bound,
    N, ROLE: tl.constexpr, D: tl.constexpr, V: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_V: tl.constexpr,
    BLOCK_N: tl.constexpr, SPECIAL: tl.constexpr, CAUSAL: tl.constexpr, DOT: tl.constexpr, PRODUCT: tl.constexpr,
):  # fmt: skip
    """Add partners first..last to the sums of a block of tokens; see `backward_kernel`."""
    channels, value_channels = tl.arange(0, BLOCK_D), tl.arange(0, BLOCK_V)
    for start in range(first, last, BLOCK_N):
        partners = start + tl.arange(0, BLOCK_N)
        other = _rows(omega_base, partners, channels, N, D, D == BLOCK_D, DOT)
        dot = tl.dot(omega, tl.trans(other), input_precision=PRODUCT)
        if ROLE == 2:  # mine are the senders; the receivers' numbers run along the columns
            near_here = tl.load(near_base + partners)[None, :]
            spent_here = tl.load(spent_base + partners)[None, :]
            fade_here = tl.load(fade_base + partners)[None, :]
            square, e, t = _locking(
                dot, norms, near_here, spent_here, rate, fade_here, partners[None, :], own[:, None], SPECIAL, CAUSAL
            )  # fmt: skip
        else:
            near_here = near
            their_norms = tl.load(norm_base + partners)[None, :]
            square, e, t = _locking(
                dot, their_norms, near, spent, rate, fade, own[:, None], partners[None, :], SPECIAL, CAUSAL
            )
        inverse = tl.rsqrt(tl.where(square <= 0.0, float("inf"), square))  # NaN is not <= 0 and stays
        strength = square * inverse
        inverse = tl.minimum(inverse, slope_bound, propagate_nan=tl.PropagateNan.ALL)
        if SPECIAL:
            inverse = tl.where(own[:, None] == partners[None, :], 0.0 * inverse, inverse)
        weight = tl.zeros_like(dot)
        if ROLE != 2:
            weight -= push
        if ROLE != 1:
            weight -= tl.load(push_base + partners)[None, :]
        if ROLE != 2:  # I hear them
            theirs = _rows(value_base, partners, value_channels, N, V, V == BLOCK_V, DOT)
            weight = tl.dot(grads, tl.trans(theirs), weight, input_precision=PRODUCT)
        if ROLE != 1:  # they hear me
            theirs = _rows(grad_base, partners, value_channels, N, V, V == BLOCK_V, DOT)
            weight = tl.dot(values, tl.trans(theirs), weight, input_precision=PRODUCT)
            d_values = tl.dot(strength.to(DOT), theirs, d_values, input_precision=PRODUCT)
        weight *= inverse
        # 2 alpha = -rate ln 2. The factor 1/2 of the slope goes with the 2 of the squared distance's.
        pull = weight * (near_here - 0.6931471805599453 * rate * e)
        pulled = tl.dot(pull.to(DOT), other, pulled, input_precision=PRODUCT)
        pulls += tl.sum(pull, 1)
        if ROLE != 2:
            weight *= t + norms
            gaps += tl.sum(weight, 1)
            faded += tl.sum(weight * e, 1)
    return d_values, pulled, pulls, gaps, faded


@tiled(
    [
        ({"BLOCK_M": 64, "BLOCK_N": 64}, 4, 2),
        ({"BLOCK_M": 32, "BLOCK_N": 32}, 4, 2),
        ({"BLOCK_M": 128, "BLOCK_N": 64}, 8, 2),
        ({"BLOCK_M": 64, "BLOCK_N": 32}, 4, 3),
        ({"BLOCK_M": 32, "BLOCK_N": 32}, 4, 1),
    ],
    size="N",
    key=["D", "V", "CAUSAL", "ROLE"],
    rows=ROWS,
)
@triton.jit
def backward_kernel(
    omega_pointer, value_pointer, grad_pointer, norm_pointer, plain_pointer, near_pointer, spent_pointer,
    fade_pointer, push_pointer, rate_pointer, d_value_pointer, d_omega_pointer, gap_pointer, faded_pointer,
    slope_bound, N, S,
    ROLE: tl.constexpr, D: tl.constexpr, V: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_V: tl.constexpr,
    CAUSAL: tl.constexpr, DOT: tl.constexpr, PRODUCT: tl.constexpr, BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Gradients of BLOCK_M tokens of one head, from all their partners; S is computed again.

    ROLE 0: as receivers and as senders at once (S symmetric, no padding); ROLE 1: as receivers; ROLE 2: as senders.
    Written: dv (roles 0, 2), dω, and a token's sums over what it hears (roles 0, 1; in role 0 also over what hears it),
    with w = dL/dS / max(S, edge): sum of w Δ² and of w Δ² e. Grid: (blocks of tokens, P).
    """
    problem, block = place(N, BLOCK_M, CAUSAL and ROLE == 1)
    first = block * BLOCK_M
    own = first + tl.arange(0, BLOCK_M)
    inside = own < N
    at = problem * N + own
    channels, value_channels = tl.arange(0, BLOCK_D), tl.arange(0, BLOCK_V)
    omega_base = omega_pointer + problem * N * D
    value_base, grad_base = value_pointer + problem * N * V, grad_pointer + problem * N * V
    norm_base, near_base = norm_pointer + problem * S, near_pointer + problem * S
    spent_base, fade_base, push_base = (
        spent_pointer + problem * S, fade_pointer + problem * S, push_pointer + problem * S
    )  # fmt: skip
    omega = _rows(omega_base, own, channels, N, D, D == BLOCK_D, DOT)
    values = _rows(value_base, own, value_channels, N, V, V == BLOCK_V, DOT)
    grads = _rows(grad_base, own, value_channels, N, V, V == BLOCK_V, DOT)
    near = tl.load(near_base + own)[:, None]
    spent = tl.load(spent_base + own)[:, None]
    fade = tl.load(fade_base + own)[:, None]
    push = tl.load(push_base + own)[:, None]
    # A sender's norm says whether it is heard; a receiver's is plain.
    norms = tl.load(norm_base + own if ROLE == 2 else plain_pointer + problem * S + own)[:, None]
    rate = tl.load(rate_pointer + problem)
    d_values = tl.zeros([BLOCK_M, BLOCK_V], tl.float32)
    pulled = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    pulls, gaps = tl.zeros([BLOCK_M], tl.float32), tl.zeros([BLOCK_M], tl.float32)
    faded = tl.zeros([BLOCK_M], tl.float32)
    begin = first // BLOCK_N * BLOCK_N
    end = tl.cdiv(tl.minimum(first + BLOCK_M, N), BLOCK_N) * BLOCK_N
    for piece in tl.static_range(3):  # before my own tiles, my own, after them
        if piece == 1 or not CAUSAL or (piece == 0 and ROLE == 1) or (piece == 2 and ROLE == 2):
            low = 0 if piece == 0 else (begin if piece == 1 else end)
            high = begin if piece == 0 else (end if piece == 1 else N)
            d_values, pulled, pulls, gaps, faded = _pull_tiles(
                d_values, pulled, pulls, gaps, faded, low, high, own, omega, values, grads, near, spent, fade,
                norms, push, omega_base, value_base, grad_base, norm_base, near_base, spent_base, fade_base,
                push_base, rate, slope_bound, N, ROLE, D, V, BLOCK_D, BLOCK_V, BLOCK_N, piece == 1, CAUSAL, DOT,
                PRODUCT,
            )  # fmt: skip
    result = pulled - pulls[:, None] * omega.to(tl.float32)
    where = d_omega_pointer + at[:, None] * D + channels[None, :]
    tl.store(where, result, mask=inside[:, None] & (channels[None, :] < D))
    if ROLE != 1:
        where = d_value_pointer + at[:, None] * V + value_channels[None, :]
        tl.store(where, d_values, mask=inside[:, None] & (value_channels[None, :] < V))
    if ROLE != 2:
        tl.store(gap_pointer + at, gaps, mask=inside)
        tl.store(faded_pointer + at, faded, mask=inside)

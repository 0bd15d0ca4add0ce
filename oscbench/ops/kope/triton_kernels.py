"""Triton kernels of KoPE's rotations: up to three tensors turned by phases that are read (and mixed) once, and the gradient.

A token's channels are read as one contiguous row and split into pairs in registers. All arithmetic is float32. No atomics:
two runs agree bit by bit. The grid is (problems, blocks of tokens), a problem being one head of one sequence.
"""

# Triton reads these functions as its own language, so they carry no annotations but constexpr.
# ruff: noqa: N803
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc"

import triton
import triton.language as tl

from oscbench.ops.triton_tools import tiled

# PHASE_EPSILON of phases.py, under the root of the mixed phases' length.
LENGTH_FLOOR = tl.constexpr(1e-5)

# The kernels move memory: what counts is how many rows a program has on the way.
TILES = [
    ({"BLOCK": 32}, 8, 1),
    ({"BLOCK": 32}, 4, 1),
    ({"BLOCK": 16}, 4, 1),
    ({"BLOCK": 64}, 8, 1),
]


@triton.jit
def _rows(tokens, stride, columns):
    """Offsets of tokens' rows (tokens, columns)."""
    return tokens[:, None].to(tl.int64) * stride + columns[None, :]


@triton.jit
def _inside(tokens, columns, N, WIDTH: tl.constexpr, BLOCK_W: tl.constexpr):
    """Which places of a tile exist."""
    inside = (tokens[:, None] < N) & (columns[None, :] >= 0)
    if WIDTH != BLOCK_W:
        inside = inside & (columns[None, :] < WIDTH)
    return inside


@triton.jit
def _take(base, tokens, stride, N, WIDTH: tl.constexpr, BLOCK_W: tl.constexpr):
    """Tokens' vectors in float32, 0 past the last token and the last channel."""
    columns = tl.arange(0, BLOCK_W)
    inside = _inside(tokens, columns, N, WIDTH, BLOCK_W)
    return tl.load(base + _rows(tokens, stride, columns), mask=inside, other=0.0).to(tl.float32)


@triton.jit
def _keep(base, tile, tokens, stride, N, WIDTH: tl.constexpr, BLOCK_W: tl.constexpr):
    columns = tl.arange(0, BLOCK_W)
    inside = _inside(tokens, columns, N, WIDTH, BLOCK_W)
    tl.store(base + _rows(tokens, stride, columns), tile.to(base.dtype.element_ty), mask=inside)


@triton.jit
def _take_pairs(base, tokens, stride, N, PAIRS: tl.constexpr, BLOCK_P: tl.constexpr):
    """First and second channels of the pairs, (tokens, BLOCK_P) each."""
    tile = _take(base, tokens, stride, N, 2 * PAIRS, 2 * BLOCK_P)
    return tl.split(tl.reshape(tile, [tokens.shape[0], BLOCK_P, 2]))


@triton.jit
def _keep_pairs(base, first, second, tokens, stride, N, PAIRS: tl.constexpr, BLOCK_P: tl.constexpr):
    tile = tl.reshape(tl.join(first, second), [tokens.shape[0], 2 * BLOCK_P])
    _keep(base, tile, tokens, stride, N, 2 * PAIRS, 2 * BLOCK_P)


@triton.jit
def _mixed(base, cos, sin, PAIRS: tl.constexpr, BLOCK_P: tl.constexpr):
    """(c', s', c'² + s'²) of the phases mixed by one head's matrix, not normalised."""
    rows, columns = tl.arange(0, BLOCK_P), tl.arange(0, BLOCK_P)
    matrix = _take(base, rows, PAIRS, PAIRS, PAIRS, BLOCK_P)
    matrix = tl.where(columns[None, :] < PAIRS, matrix, 0.0)
    cos = tl.dot(cos, matrix, input_precision="tf32x3")
    sin = tl.dot(sin, matrix, input_precision="tf32x3")
    return cos, sin, cos * cos + sin * sin


@triton.jit
def _rounded(x, pointer):
    """x as it will be read again from a tensor of the pointer's dtype."""
    return x.to(pointer.dtype.element_ty).to(tl.float32)


@triton.jit
def _turn(into, source, cos, sin, tokens, stride, out_stride, N, PAIRS: tl.constexpr, BLOCK_P: tl.constexpr):
    first, second = _take_pairs(source, tokens, stride, N, PAIRS, BLOCK_P)
    ahead, aside = first * cos - second * sin, first * sin + second * cos
    _keep_pairs(into, ahead, aside, tokens, out_stride, N, PAIRS, BLOCK_P)


@tiled(TILES, key=["PAIRS", "TENSORS", "MIX"])
@triton.jit
def turn_kernel(
    q_pointer, k_pointer, v_pointer, cos_pointer, sin_pointer, mix_pointer,
    q_out_pointer, k_out_pointer, v_out_pointer, cos_out_pointer, sin_out_pointer,
    batch_stride, head_stride, token_stride, out_batch_stride, out_head_stride, out_token_stride,
    phase_batch_stride, phase_head_stride, phase_token_stride, H, N,
    PAIRS: tl.constexpr, BLOCK_P: tl.constexpr, TENSORS: tl.constexpr, BACK: tl.constexpr, MIX: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Mix and normalise the phases (MIX), then turn the first TENSORS of q, k, v by them, or BACK."""
    problem = tl.program_id(0).to(tl.int64)
    batch, head = problem // H, problem % H
    tokens = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    start = batch * batch_stride + head * head_stride
    out = batch * out_batch_stride + head * out_head_stride
    phase = batch * phase_batch_stride + head * phase_head_stride
    cos = _take(cos_pointer + phase, tokens, phase_token_stride, N, PAIRS, BLOCK_P)
    sin = _take(sin_pointer + phase, tokens, phase_token_stride, N, PAIRS, BLOCK_P)
    if MIX:
        cos, sin, square = _mixed(mix_pointer + head * PAIRS * PAIRS, cos, sin, PAIRS, BLOCK_P)
        scale = tl.rsqrt(tl.maximum(square, LENGTH_FLOOR, propagate_nan=tl.PropagateNan.ALL))
        cos, sin = _rounded(cos * scale, cos_out_pointer), _rounded(sin * scale, cos_out_pointer)
        mixed = problem * N * PAIRS
        _keep(cos_out_pointer + mixed, cos, tokens, PAIRS, N, PAIRS, BLOCK_P)
        _keep(sin_out_pointer + mixed, sin, tokens, PAIRS, N, PAIRS, BLOCK_P)
    if BACK:
        sin = -sin
    _turn(
        q_out_pointer + out, q_pointer + start, cos, sin, tokens, token_stride, out_token_stride, N, PAIRS, BLOCK_P
    )  # fmt: skip
    if TENSORS > 1:
        _turn(
            k_out_pointer + out, k_pointer + start, cos, sin, tokens, token_stride, out_token_stride, N, PAIRS, BLOCK_P
        )  # fmt: skip
    if TENSORS > 2:
        _turn(
            v_out_pointer + out, v_pointer + start, cos, sin, tokens, token_stride, out_token_stride, N, PAIRS, BLOCK_P
        )  # fmt: skip


@triton.jit
def _pull_back(
    into, grad, source, cos, sin, d_cos, d_sin, tokens, stride, grad_stride, N,
    PAIRS: tl.constexpr, BLOCK_P: tl.constexpr, PHASES: tl.constexpr,
):  # fmt: skip
    """Turn a gradient back, and add what it says of the phases."""
    ahead, aside = _take_pairs(grad, tokens, grad_stride, N, PAIRS, BLOCK_P)
    if PHASES:
        first, second = _take_pairs(source, tokens, stride, N, PAIRS, BLOCK_P)
        d_cos += ahead * first + aside * second
        d_sin += aside * first - ahead * second
    _keep_pairs(
        into, ahead * cos + aside * sin, aside * cos - ahead * sin, tokens, grad_stride, N, PAIRS, BLOCK_P
    )
    return d_cos, d_sin


@tiled(TILES, key=["PAIRS", "TENSORS", "MIX"])
@triton.jit
def turn_gradient_kernel(
    q_grad_pointer, k_grad_pointer, v_grad_pointer, cos_grad_pointer, sin_grad_pointer,
    q_pointer, k_pointer, v_pointer, cos_pointer, sin_pointer, mix_pointer,
    d_q_pointer, d_k_pointer, d_v_pointer, d_cos_pointer, d_sin_pointer,
    grad_batch_stride, grad_head_stride, grad_token_stride, batch_stride, head_stride, token_stride,
    phase_batch_stride, phase_head_stride, phase_token_stride, H, N,
    PAIRS: tl.constexpr, BLOCK_P: tl.constexpr, TENSORS: tl.constexpr, BACK: tl.constexpr, MIX: tl.constexpr,
    PHASES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradients to q, k, v; with PHASES also to cos and sin, with MIX to the mixed ones before they were normalised."""
    problem = tl.program_id(0).to(tl.int64)
    batch, head = problem // H, problem % H
    tokens = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    grad = batch * grad_batch_stride + head * grad_head_stride
    start = batch * batch_stride + head * head_stride
    phase = batch * phase_batch_stride + head * phase_head_stride
    own = problem * N * PAIRS
    cos = _take(cos_pointer + phase, tokens, phase_token_stride, N, PAIRS, BLOCK_P)
    sin = _take(sin_pointer + phase, tokens, phase_token_stride, N, PAIRS, BLOCK_P)
    d_cos = tl.zeros([BLOCK, BLOCK_P], tl.float32)
    d_sin = tl.zeros([BLOCK, BLOCK_P], tl.float32)
    if MIX:
        cos, sin, square = _mixed(mix_pointer + head * PAIRS * PAIRS, cos, sin, PAIRS, BLOCK_P)
        scale = tl.rsqrt(tl.maximum(square, LENGTH_FLOOR, propagate_nan=tl.PropagateNan.ALL))
        cos, sin = _rounded(cos * scale, cos_pointer), _rounded(sin * scale, cos_pointer)
        d_cos += _take(cos_grad_pointer + own, tokens, PAIRS, N, PAIRS, BLOCK_P)
        d_sin += _take(sin_grad_pointer + own, tokens, PAIRS, N, PAIRS, BLOCK_P)
    signed = -sin if BACK else sin
    if BACK:
        d_sin = -d_sin
    d_cos, d_sin = _pull_back(
        d_q_pointer + grad, q_grad_pointer + grad, q_pointer + start, cos, signed, d_cos, d_sin, tokens,
        token_stride, grad_token_stride, N, PAIRS, BLOCK_P, PHASES,
    )  # fmt: skip
    if TENSORS > 1:
        d_cos, d_sin = _pull_back(
            d_k_pointer + grad, k_grad_pointer + grad, k_pointer + start, cos, signed, d_cos, d_sin, tokens,
            token_stride, grad_token_stride, N, PAIRS, BLOCK_P, PHASES,
        )  # fmt: skip
    if TENSORS > 2:
        d_cos, d_sin = _pull_back(
            d_v_pointer + grad, v_grad_pointer + grad, v_pointer + start, cos, signed, d_cos, d_sin, tokens,
            token_stride, grad_token_stride, N, PAIRS, BLOCK_P, PHASES,
        )  # fmt: skip
    if BACK:
        d_sin = -d_sin
    if MIX:
        # What lengthens a phase is lost in the normalisation, unless the length was at its floor.
        along = tl.where(square >= LENGTH_FLOOR, d_cos * cos + d_sin * sin, 0.0)
        d_cos, d_sin = (d_cos - along * cos) * scale, (d_sin - along * sin) * scale
    if PHASES:
        _keep(d_cos_pointer + own, d_cos, tokens, PAIRS, N, PAIRS, BLOCK_P)
        _keep(d_sin_pointer + own, d_sin, tokens, PAIRS, N, PAIRS, BLOCK_P)

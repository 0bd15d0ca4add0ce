"""Triton kernels of what torus attention does before and after its attention: score features from waves, and the tangent.

A wave is (cos θ, sin θ). All arithmetic is float32. The grid is (problems, blocks of tokens), a problem being one head of one sequence. No
atomics: what a gate, drift or lag shares among tokens is summed afterwards.
"""

# Triton reads these functions as its own language, so they carry no annotations but constexpr.
# ruff: noqa: N803
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc"

import triton
import triton.language as tl

from oscbench.ops.triton_tools import tiled

# The kernels move memory: what counts is how many rows a program has on the way.
TILES = [
    ({"BLOCK": 32}, 4, 1),
    ({"BLOCK": 64}, 8, 1),
    ({"BLOCK": 16}, 4, 1),
]


@triton.jit
def _places(batch, head, tokens, columns, batch_stride, head_stride, token_stride):
    far = tokens[:, None].to(tl.int64)
    return batch * batch_stride + head * head_stride + far * token_stride + columns[None, :]


@triton.jit
def _read(base, places, inside):
    return tl.load(base + places, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def _write(base, places, tile, inside):
    tl.store(base + places, tile.to(base.dtype.element_ty), mask=inside)


@triton.jit
def _forward(cos, sin, by_cos, by_sin):
    """A wave turned by another's angle."""
    return cos * by_cos - sin * by_sin, cos * by_sin + sin * by_cos


@tiled(TILES, key=["WIDTH", "DRIFT", "LAG"])
@triton.jit
def wave_kernel(
    cos_pointer, sin_pointer, gate_pointer, drift_cos_pointer, drift_sin_pointer, lag_cos_pointer, lag_sin_pointer,
    q_pointer, k_pointer, v_pointer, batch_stride, head_stride, token_stride, gate_batch_stride, gate_head_stride,
    gate_token_stride, drift_batch_stride, drift_head_stride, drift_token_stride, lag_batch_stride, lag_head_stride,
    lag_token_stride, H, N, WIDTH: tl.constexpr, BLOCK_W: tl.constexpr, DRIFT: tl.constexpr, LAG: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """(g cos φ', g sin φ'), (cos φ, sin φ), (cos θ, sin θ), φ being θ and the drift, φ' φ and the lag."""
    problem = tl.program_id(0).to(tl.int64)
    batch, head = problem // H, problem % H
    tokens, columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK), tl.arange(0, BLOCK_W)
    inside = (tokens[:, None] < N) & (columns[None, :] < WIDTH)
    place = _places(batch, head, tokens, columns, batch_stride, head_stride, token_stride)
    cos, sin = _read(cos_pointer, place, inside), _read(sin_pointer, place, inside)
    out = (problem * N + tokens[:, None].to(tl.int64)) * (2 * WIDTH) + columns[None, :]
    _write(v_pointer, out, cos, inside)
    _write(v_pointer, out + WIDTH, sin, inside)
    if DRIFT:
        place = _places(
            batch, head, tokens, columns, drift_batch_stride, drift_head_stride, drift_token_stride
        )
        cos, sin = _forward(
            cos, sin, _read(drift_cos_pointer, place, inside), _read(drift_sin_pointer, place, inside)
        )
    _write(k_pointer, out, cos, inside)
    _write(k_pointer, out + WIDTH, sin, inside)
    if LAG:
        place = _places(batch, head, tokens, columns, lag_batch_stride, lag_head_stride, lag_token_stride)
        cos, sin = _forward(
            cos, sin, _read(lag_cos_pointer, place, inside), _read(lag_sin_pointer, place, inside)
        )
    place = _places(batch, head, tokens, columns, gate_batch_stride, gate_head_stride, gate_token_stride)
    gate = _read(gate_pointer, place, inside)
    _write(q_pointer, out, gate * cos, inside)
    _write(q_pointer, out + WIDTH, gate * sin, inside)


@tiled(TILES, key=["WIDTH", "DRIFT", "LAG"])
@triton.jit
def wave_gradient_kernel(
    d_q_pointer, d_k_pointer, d_v_pointer, cos_pointer, sin_pointer, gate_pointer, drift_cos_pointer, drift_sin_pointer,
    lag_cos_pointer, lag_sin_pointer, d_cos_pointer, d_sin_pointer, d_gate_pointer, d_drift_cos_pointer,
    d_drift_sin_pointer, d_lag_cos_pointer, d_lag_sin_pointer, batch_stride, head_stride, token_stride,
    gate_batch_stride, gate_head_stride, gate_token_stride, drift_batch_stride, drift_head_stride, drift_token_stride,
    lag_batch_stride, lag_head_stride, lag_token_stride, H, N, WIDTH: tl.constexpr, BLOCK_W: tl.constexpr,
    DRIFT: tl.constexpr, LAG: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradients to a token's wave and to its own part of gate, drift and lag."""
    problem = tl.program_id(0).to(tl.int64)
    batch, head = problem // H, problem % H
    tokens, columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK), tl.arange(0, BLOCK_W)
    inside = (tokens[:, None] < N) & (columns[None, :] < WIDTH)
    place = _places(batch, head, tokens, columns, batch_stride, head_stride, token_stride)
    cos, sin = _read(cos_pointer, place, inside), _read(sin_pointer, place, inside)
    row = problem * N + tokens[:, None].to(tl.int64)
    own, pair = row * WIDTH + columns[None, :], row * (2 * WIDTH) + columns[None, :]
    key_cos, key_sin = cos, sin
    if DRIFT:
        place = _places(
            batch, head, tokens, columns, drift_batch_stride, drift_head_stride, drift_token_stride
        )
        by_cos, by_sin = _read(drift_cos_pointer, place, inside), _read(drift_sin_pointer, place, inside)
        key_cos, key_sin = _forward(cos, sin, by_cos, by_sin)
    bare_cos, bare_sin = key_cos, key_sin
    if LAG:
        place = _places(batch, head, tokens, columns, lag_batch_stride, lag_head_stride, lag_token_stride)
        lag_cos, lag_sin = _read(lag_cos_pointer, place, inside), _read(lag_sin_pointer, place, inside)
        bare_cos, bare_sin = _forward(key_cos, key_sin, lag_cos, lag_sin)
    place = _places(batch, head, tokens, columns, gate_batch_stride, gate_head_stride, gate_token_stride)
    gate = _read(gate_pointer, place, inside)
    d_cos, d_sin = _read(d_q_pointer, pair, inside), _read(d_q_pointer, pair + WIDTH, inside)
    _write(d_gate_pointer, own, d_cos * bare_cos + d_sin * bare_sin, inside)
    d_cos, d_sin = d_cos * gate, d_sin * gate
    if LAG:
        _write(d_lag_cos_pointer, own, d_cos * key_cos + d_sin * key_sin, inside)
        _write(d_lag_sin_pointer, own, d_sin * key_cos - d_cos * key_sin, inside)
        d_cos, d_sin = d_cos * lag_cos + d_sin * lag_sin, d_sin * lag_cos - d_cos * lag_sin
    d_cos += _read(d_k_pointer, pair, inside)
    d_sin += _read(d_k_pointer, pair + WIDTH, inside)
    if DRIFT:
        _write(d_drift_cos_pointer, own, d_cos * cos + d_sin * sin, inside)
        _write(d_drift_sin_pointer, own, d_sin * cos - d_cos * sin, inside)
        d_cos, d_sin = d_cos * by_cos + d_sin * by_sin, d_sin * by_cos - d_cos * by_sin
    _write(d_cos_pointer, own, d_cos + _read(d_v_pointer, pair, inside), inside)
    _write(d_sin_pointer, own, d_sin + _read(d_v_pointer, pair + WIDTH, inside), inside)


@tiled(TILES, key=["WIDTH"])
@triton.jit
def tangent_kernel(
    mean_pointer, v_pointer, tangent_pointer, N, WIDTH: tl.constexpr, BLOCK_W: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """S cos θ - C sin θ of a block of tokens, from the means (C, S) and the waves (cos θ, sin θ)."""
    tokens, columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK), tl.arange(0, BLOCK_W)
    inside = (tokens[:, None] < N) & (columns[None, :] < WIDTH)
    row = tl.program_id(0).to(tl.int64) * N + tokens[:, None].to(tl.int64)
    own, pair = row * WIDTH + columns[None, :], row * (2 * WIDTH) + columns[None, :]
    cos, sin = _read(v_pointer, pair, inside), _read(v_pointer, pair + WIDTH, inside)
    mean_cos, mean_sin = _read(mean_pointer, pair, inside), _read(mean_pointer, pair + WIDTH, inside)
    _write(tangent_pointer, own, mean_sin * cos - mean_cos * sin, inside)


@tiled(TILES, key=["WIDTH"])
@triton.jit
def tangent_gradient_kernel(
    grad_pointer, mean_pointer, v_pointer, d_mean_pointer, d_v_pointer, N, WIDTH: tl.constexpr, BLOCK_W: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Its gradients to means and waves."""
    tokens, columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK), tl.arange(0, BLOCK_W)
    inside = (tokens[:, None] < N) & (columns[None, :] < WIDTH)
    row = tl.program_id(0).to(tl.int64) * N + tokens[:, None].to(tl.int64)
    own, pair = row * WIDTH + columns[None, :], row * (2 * WIDTH) + columns[None, :]
    grad = _read(grad_pointer, own, inside)
    cos, sin = _read(v_pointer, pair, inside), _read(v_pointer, pair + WIDTH, inside)
    mean_cos, mean_sin = _read(mean_pointer, pair, inside), _read(mean_pointer, pair + WIDTH, inside)
    _write(d_mean_pointer, pair, -grad * sin, inside)
    _write(d_mean_pointer, pair + WIDTH, grad * cos, inside)
    _write(d_v_pointer, pair, grad * mean_sin, inside)
    _write(d_v_pointer, pair + WIDTH, -grad * mean_cos, inside)

"""Triton kernels of what follows the attention of a Kuramoto step: tangent, step and norm in one, and their gradient in another.

All arithmetic is float32. With u the phase, m the mean heard, y = u + γ (m - (m·u) u) and u' = y / ‖y‖, backwards:
dy = (du' - (du'·u') u') / ‖y‖, dm = γ (dy - (dy·u) u), du = (1 - γ m·u) dy - γ (dy·u) m, dγ = dm·m / γ.
The grid is (problems, blocks of tokens), a problem being one head of one sequence. No atomics: two runs agree bit by bit.
"""

# Triton reads these functions as its own language, so they carry no annotations but constexpr.
# ruff: noqa: N803
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc"

import triton
import triton.language as tl

from oscbench.ops.triton_tools import tiled

# The square of PHASE_EPSILON of phases.py: the norm's floor.
SQUARE_FLOOR = tl.constexpr(1e-10)

# The kernels move memory: what counts is how many rows a program has on the way.
TILES = [
    ({"BLOCK": 32}, 4, 1),
    ({"BLOCK": 64}, 8, 1),
    ({"BLOCK": 16}, 4, 1),
]


@triton.jit
def _read(base, places, inside):
    return tl.load(base + places, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def _stepped(cos, sin, mean_cos, mean_sin, gamma):
    """(m·u, ‖y‖² before its floor, 1/‖y‖, u')."""
    along = mean_cos * cos + mean_sin * sin
    new_cos = cos + gamma * (mean_cos - along * cos)
    new_sin = sin + gamma * (mean_sin - along * sin)
    square = new_cos * new_cos + new_sin * new_sin
    scale = tl.rsqrt(tl.maximum(square, SQUARE_FLOOR, propagate_nan=tl.PropagateNan.ALL))
    return along, square, scale, new_cos * scale, new_sin * scale


@tiled(TILES, key=["PAIRS"])
@triton.jit
def step_kernel(
    mean_pointer, cos_pointer, sin_pointer, gamma_pointer, new_cos_pointer, new_sin_pointer, mean_batch_stride,
    mean_head_stride, mean_token_stride, batch_stride, head_stride, token_stride, H, N, PAIRS: tl.constexpr,
    BLOCK_P: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """New phases of one block of tokens; means are (cos, sin) side by side."""
    problem = tl.program_id(0).to(tl.int64)
    batch, head = problem // H, problem % H
    tokens, pairs = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK), tl.arange(0, BLOCK_P)
    inside = (tokens[:, None] < N) & (pairs[None, :] < PAIRS)
    far = tokens[:, None].to(tl.int64)
    phases = batch * batch_stride + head * head_stride + far * token_stride + pairs[None, :]
    means = batch * mean_batch_stride + head * mean_head_stride + far * mean_token_stride + pairs[None, :]
    cos, sin = _read(cos_pointer, phases, inside), _read(sin_pointer, phases, inside)
    mean_cos, mean_sin = _read(mean_pointer, means, inside), _read(mean_pointer, means + PAIRS, inside)
    _, _, _, cos, sin = _stepped(cos, sin, mean_cos, mean_sin, tl.load(gamma_pointer))
    out = (problem * N + far) * PAIRS + pairs[None, :]
    tl.store(new_cos_pointer + out, cos.to(new_cos_pointer.dtype.element_ty), mask=inside)
    tl.store(new_sin_pointer + out, sin.to(new_sin_pointer.dtype.element_ty), mask=inside)


@tiled(TILES, key=["PAIRS"])
@triton.jit
def step_gradient_kernel(
    grad_cos_pointer, grad_sin_pointer, mean_pointer, cos_pointer, sin_pointer, gamma_pointer, d_mean_pointer,
    d_cos_pointer, d_sin_pointer, d_gamma_pointer, mean_batch_stride, mean_head_stride, mean_token_stride, batch_stride,
    head_stride, token_stride, H, N, PAIRS: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradients to means and phases, and each token's part of that to γ."""
    problem = tl.program_id(0).to(tl.int64)
    batch, head = problem // H, problem % H
    tokens, pairs = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK), tl.arange(0, BLOCK_P)
    inside = (tokens[:, None] < N) & (pairs[None, :] < PAIRS)
    far = tokens[:, None].to(tl.int64)
    phases = batch * batch_stride + head * head_stride + far * token_stride + pairs[None, :]
    means = batch * mean_batch_stride + head * mean_head_stride + far * mean_token_stride + pairs[None, :]
    out = (problem * N + far) * PAIRS + pairs[None, :]
    gamma = tl.load(gamma_pointer)
    cos, sin = _read(cos_pointer, phases, inside), _read(sin_pointer, phases, inside)
    mean_cos, mean_sin = _read(mean_pointer, means, inside), _read(mean_pointer, means + PAIRS, inside)
    along, square, scale, new_cos, new_sin = _stepped(cos, sin, mean_cos, mean_sin, gamma)
    grad_cos, grad_sin = _read(grad_cos_pointer, out, inside), _read(grad_sin_pointer, out, inside)
    # At its floor the norm is a constant, and lengthening is not lost.
    radial = tl.where(square <= SQUARE_FLOOR, 0.0, grad_cos * new_cos + grad_sin * new_sin)
    d_cos, d_sin = (grad_cos - radial * new_cos) * scale, (grad_sin - radial * new_sin) * scale
    pulled = d_cos * cos + d_sin * sin
    d_mean_cos, d_mean_sin = d_cos - pulled * cos, d_sin - pulled * sin
    part = tl.where(inside, d_mean_cos * mean_cos + d_mean_sin * mean_sin, 0.0)
    tl.store(d_gamma_pointer + problem * N + tokens, tl.sum(part, 1), mask=tokens < N)
    kept = 1.0 - gamma * along
    d_means = (problem * N + far) * (2 * PAIRS) + pairs[None, :]
    kind = d_mean_pointer.dtype.element_ty
    tl.store(d_mean_pointer + d_means, (gamma * d_mean_cos).to(kind), mask=inside)
    tl.store(d_mean_pointer + d_means + PAIRS, (gamma * d_mean_sin).to(kind), mask=inside)
    kind = d_cos_pointer.dtype.element_ty
    tl.store(d_cos_pointer + out, (d_cos * kept - gamma * pulled * mean_cos).to(kind), mask=inside)
    tl.store(d_sin_pointer + out, (d_sin * kept - gamma * pulled * mean_sin).to(kind), mask=inside)

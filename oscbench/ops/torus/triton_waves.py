"""What torus attention does before and after its attention, each in one kernel, and its gradient in another.

The custom ops `oscbench::torus_waves_triton`, score features from waves, and `oscbench::torus_tangent_triton`, the tangent.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from oscbench.ops.torus import triton_wave_kernels
from oscbench.ops.triton_tools import power_of_two, token_grid


def _spread(x: Tensor, like: Tensor) -> Tensor:
    """A view with a row for every token of every head, its numbers side by side."""
    x = x if x.dim() else x.reshape(1)
    if x.shape[-1] != like.shape[-1] or x.stride(-1) != 1:
        x = x.expand(*x.shape[:-1], like.shape[-1]).contiguous()
    return x.expand(like.shape)


def _arguments(
    cos: Tensor,
    sin: Tensor,
    gate: Tensor,
    drift: tuple[Tensor, Tensor] | None,
    lag: tuple[Tensor, Tensor] | None,
) -> tuple[list[Tensor], list[int], dict[str, Any]]:
    """The kernels' tensors, strides and constants; for what there is none of, pointers that are not read."""
    cos, sin = (
        x if x.stride(-1) == 1 and cos.stride() == sin.stride() else x.contiguous() for x in (cos, sin)
    )
    gate = _spread(gate, cos)
    turns = [
        tuple(_spread(x.contiguous(), cos) for x in pair) if pair else (cos, cos) for pair in (drift, lag)
    ]
    tensors = [cos, sin, gate, *turns[0], *turns[1]]
    strides = [n for x in (cos, gate, turns[0][0], turns[1][0]) for n in x.stride()[:3]]
    width = cos.shape[-1]
    sizes = {"WIDTH": width, "BLOCK_W": power_of_two(width)}
    return tensors, [*strides, *cos.shape[1:3]], sizes | {"DRIFT": drift is not None, "LAG": lag is not None}


def _pair(cos: Tensor | None, sin: Tensor | None) -> tuple[Tensor, Tensor] | None:
    return None if cos is None or sin is None else (cos, sin)


@torch.library.custom_op("oscbench::torus_waves_triton", mutates_args=())
def waves(
    cos: Tensor,
    sin: Tensor,
    gate: Tensor,
    drift_cos: Tensor | None,
    drift_sin: Tensor | None,
    lag_cos: Tensor | None,
    lag_sin: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """(g cos φ', g sin φ'), (cos φ, sin φ) and (cos θ, sin θ), each (B, H, N, 2n) in float32.

    Args:
        cos: of the angles θ, (B, H, N, n) float32.
        sin: same shape.
        gate: g, float32, broadcastable to it, like all that follows.
        drift_cos: of φ - θ, or None.
        drift_sin: same.
        lag_cos: of φ' - φ, or None.
        lag_sin: same.
    """
    tensors, numbers, sizes = _arguments(cos, sin, gate, _pair(drift_cos, drift_sin), _pair(lag_cos, lag_sin))
    out = _features_like(cos)
    triton_wave_kernels.wave_kernel[token_grid(cos)](*tensors, *out, *numbers, **sizes)
    return out


def _features_like(cos: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    shape = (*cos.shape[:-1], 2 * cos.shape[-1])
    made = [torch.empty(shape, dtype=torch.float32, device=cos.device) for _ in range(3)]
    return made[0], made[1], made[2]


@waves.register_fake
def _(cos: Tensor, *rest: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    del rest
    return _features_like(cos)


@torch.library.custom_op("oscbench::torus_waves_triton_backward", mutates_args=())
def waves_backward(
    d_q: Tensor,
    d_k: Tensor,
    d_v: Tensor,
    cos: Tensor,
    sin: Tensor,
    gate: Tensor,
    drift_cos: Tensor | None,
    drift_sin: Tensor | None,
    lag_cos: Tensor | None,
    lag_sin: Tensor | None,
) -> list[Tensor]:
    """Each token's gradients to all that `waves` takes, (B, H, N, n) float32; empty for what there is none of."""
    tensors, numbers, sizes = _arguments(cos, sin, gate, _pair(drift_cos, drift_sin), _pair(lag_cos, lag_sin))
    found = _gradients_like(cos, drift_cos, lag_cos)
    given = [x.contiguous() for x in (d_q, d_k, d_v)]
    triton_wave_kernels.wave_gradient_kernel[token_grid(cos)](*given, *tensors, *found, *numbers, **sizes)
    return found


def _gradients_like(cos: Tensor, drift: Tensor | None, lag: Tensor | None) -> list[Tensor]:
    there = [True] * 3 + [drift is not None] * 2 + [lag is not None] * 2
    shapes = [cos.shape if one else (0,) for one in there]
    return [torch.empty(shape, dtype=torch.float32, device=cos.device) for shape in shapes]


@waves_backward.register_fake
def _(
    d_q: Tensor,
    d_k: Tensor,
    d_v: Tensor,
    cos: Tensor,
    sin: Tensor,
    gate: Tensor,
    drift_cos: Tensor | None,
    drift_sin: Tensor | None,
    lag_cos: Tensor | None,
    lag_sin: Tensor | None,
) -> list[Tensor]:
    del d_q, d_k, d_v, sin, gate, drift_sin, lag_sin
    return _gradients_like(cos, drift_cos, lag_cos)


def _remember(ctx: Any, inputs: tuple[Tensor | None, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    del output
    ctx.save_for_backward(*inputs)


def _differentiate(ctx: Any, d_q: Tensor, d_k: Tensor, d_v: Tensor) -> tuple[Tensor | None, ...]:
    given = ctx.saved_tensors
    found = waves_backward(d_q, d_k, d_v, *given)
    return tuple(
        None if x is None or not wanted else grad.sum_to_size(x.shape)
        for x, grad, wanted in zip(given, found, ctx.needs_input_grad, strict=True)
    )


waves.register_autograd(_differentiate, setup_context=_remember)


@torch.library.custom_op("oscbench::torus_tangent_triton", mutates_args=())
def tangent(means: Tensor, v: Tensor) -> Tensor:
    """Δ = S cos θ - C sin θ, (B, H, N, n) in float32.

    Args:
        means: (C, S) side by side, (B, H, N, 2n).
        v: (cos θ, sin θ), same shape, float32.
    """
    out = _tangent_like(v)
    sizes = _tangent_sizes(v)
    triton_wave_kernels.tangent_kernel[token_grid(v)](
        means.contiguous(), v.contiguous(), out, v.shape[-2], **sizes
    )
    return out


def _tangent_like(v: Tensor) -> Tensor:
    return torch.empty((*v.shape[:-1], v.shape[-1] // 2), dtype=torch.float32, device=v.device)


def _tangent_sizes(v: Tensor) -> dict[str, int]:
    width = v.shape[-1] // 2
    return {"WIDTH": width, "BLOCK_W": power_of_two(width)}


@tangent.register_fake
def _(means: Tensor, v: Tensor) -> Tensor:
    del means
    return _tangent_like(v)


@torch.library.custom_op("oscbench::torus_tangent_triton_backward", mutates_args=())
def tangent_backward(grad: Tensor, means: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients to means, in their dtype, and v."""
    found = _tangent_gradients_like(means, v)
    triton_wave_kernels.tangent_gradient_kernel[token_grid(v)](
        grad.contiguous(), means.contiguous(), v.contiguous(), *found, v.shape[-2], **_tangent_sizes(v)
    )
    return found


def _tangent_gradients_like(means: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    return (
        torch.empty(means.shape, dtype=means.dtype, device=means.device),
        torch.empty(v.shape, dtype=v.dtype, device=v.device),
    )


@tangent_backward.register_fake
def _(grad: Tensor, means: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    del grad
    return _tangent_gradients_like(means, v)


def _remember_tangent(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    del output
    ctx.save_for_backward(*inputs)


def _differentiate_tangent(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
    found: tuple[Tensor, Tensor] = tangent_backward(grad, *ctx.saved_tensors)
    return found


tangent.register_autograd(_differentiate_tangent, setup_context=_remember_tangent)

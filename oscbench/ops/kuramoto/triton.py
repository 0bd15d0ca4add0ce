"""The Kuramoto step with what follows its attention in one Triton kernel: CUDA, or the CPU in Triton's interpreter."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from oscbench.ops import fused
from oscbench.ops.kuramoto import triton_kernels
from oscbench.ops.triton_tools import power_of_two, token_grid


def _sizes(cos: Tensor) -> dict[str, int]:
    pairs = cos.shape[-1]
    return {"PAIRS": pairs, "BLOCK_P": power_of_two(pairs)}


def _laid_out(means: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Contiguous rows, and one layout for both parts of the phases."""
    means = means if means.stride(-1) == 1 else means.contiguous()
    if cos.stride() != sin.stride() or cos.stride(-1) != 1:
        cos, sin = cos.contiguous(), sin.contiguous()
    return means, cos, sin


@torch.library.custom_op("oscbench::kuramoto_update_triton", mutates_args=())
def update(means: Tensor, cos: Tensor, sin: Tensor, gamma: Tensor) -> tuple[Tensor, Tensor]:
    """u ← normalise(u + γ (m - (m·u) u)).

    Args:
        means: (cos, sin) heard, side by side, (B, H, N, 2m).
        cos: (B, H, N, m), expanded views are welcome.
        sin: same shape.
        gamma: one number, float32.

    Returns:
        New cos and sin in the phases' dtype.
    """
    means, cos, sin = _laid_out(means, cos, sin)
    new = [torch.empty(cos.shape, dtype=cos.dtype, device=cos.device) for _ in range(2)]
    triton_kernels.step_kernel[token_grid(cos)](
        means, cos, sin, gamma, *new, *means.stride()[:3], *cos.stride()[:3], *cos.shape[1:3], **_sizes(cos)
    )
    return new[0], new[1]


@update.register_fake
def _(means: Tensor, cos: Tensor, sin: Tensor, gamma: Tensor) -> tuple[Tensor, Tensor]:
    del means, sin, gamma
    new = [torch.empty(cos.shape, dtype=cos.dtype, device=cos.device) for _ in range(2)]
    return new[0], new[1]


@torch.library.custom_op("oscbench::kuramoto_update_triton_backward", mutates_args=())
def update_backward(
    grad_cos: Tensor, grad_sin: Tensor, means: Tensor, cos: Tensor, sin: Tensor, gamma: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients to means, cos and sin, and each token's part of that to γ, (B, H, N) float32."""
    means, cos, sin = _laid_out(means, cos, sin)
    found = _like(means, cos)
    triton_kernels.step_gradient_kernel[token_grid(cos)](
        grad_cos.contiguous(), grad_sin.contiguous(), means, cos, sin, gamma, *found, *means.stride()[:3],
        *cos.stride()[:3], *cos.shape[1:3], **_sizes(cos),
    )  # fmt: skip
    return found


def _like(means: Tensor, cos: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return (
        torch.empty(means.shape, dtype=means.dtype, device=means.device),
        torch.empty(cos.shape, dtype=cos.dtype, device=cos.device),
        torch.empty(cos.shape, dtype=cos.dtype, device=cos.device),
        torch.empty(cos.shape[:3], dtype=torch.float32, device=cos.device),
    )


@update_backward.register_fake
def _(
    grad_cos: Tensor, grad_sin: Tensor, means: Tensor, cos: Tensor, sin: Tensor, gamma: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    del grad_cos, grad_sin, sin, gamma
    return _like(means, cos)


def _remember(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
    del output
    ctx.save_for_backward(*inputs)


def _differentiate(ctx: Any, grad_cos: Tensor, grad_sin: Tensor) -> tuple[Tensor | None, ...]:
    d_means, d_cos, d_sin, parts = update_backward(grad_cos, grad_sin, *ctx.saved_tensors)
    gamma = ctx.saved_tensors[3]
    return d_means, d_cos, d_sin, parts.sum().reshape(gamma.shape) if ctx.needs_input_grad[3] else None


update.register_autograd(_differentiate, setup_context=_remember)


def run(
    q: Tensor,
    k: Tensor,
    cos: Tensor,
    sin: Tensor,
    *,
    gamma: float | Tensor,
    is_causal: bool,
    key_padding_mask: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """One fused attention over the phases, one kernel after it."""
    cos, sin = cos.expand(*q.shape[:-1], -1), sin.expand(*q.shape[:-1], -1)
    means = fused.attention(
        q,
        k,
        torch.cat((cos, sin), dim=-1).to(q.dtype),
        scale=q.shape[-1] ** -0.5,
        is_causal=is_causal,
        key_padding_mask=key_padding_mask,
    )
    rate = gamma if isinstance(gamma, Tensor) else torch.full((), gamma, device=q.device)
    new: tuple[Tensor, Tensor] = update(means, cos, sin, rate.to(q.device, torch.float32))
    return new

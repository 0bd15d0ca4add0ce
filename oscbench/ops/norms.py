"""RMS norm with a scale as one autograd function."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from oscbench.ops.derivatives import first_only


def scaled_rms_norm(x: Tensor, scale: Tensor | None = None) -> Tensor:
    """x / √(mean x² + ε) over the last axis, times `scale` (broadcastable to x); ε is the dtype's machine epsilon.

    Source: Root mean square layer normalization, arXiv 1910.07467, eq. 4.
    """
    whole = x.dtype in (torch.float32, torch.float64) and (scale is None or scale.dtype == x.dtype)
    if torch.compiler.is_compiling() or not whole:
        normed: Tensor = torch.nn.functional.rms_norm(x, x.shape[-1:])
        return (normed if scale is None else normed * scale).to(x.dtype)
    made: Tensor = _ScaledRMSNorm.apply(x, scale)  # type: ignore[no-untyped-call]
    return made


class _ScaledRMSNorm(torch.autograd.Function):
    """With y = x / r: dx = (g - y mean(g·y)) / r, g the gradient to y."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor | None) -> Tensor:
        size = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        inverse = size.square_().div_(x.shape[-1]).add_(torch.finfo(x.dtype).eps).rsqrt_()
        normed: Tensor = x * inverse
        ctx.save_for_backward(normed, inverse, scale)
        return normed if scale is None else normed * scale

    @staticmethod
    @first_only
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None]:
        normed, inverse, scale = ctx.saved_tensors
        d_scale = None
        if scale is not None:
            if ctx.needs_input_grad[1]:
                d_scale = (grad * normed).sum_to_size(scale.shape)
            grad = grad * scale
        along = (grad * normed).mean(-1, keepdim=True)
        return torch.addcmul(grad, normed, along, value=-1).mul_(inverse), d_scale

"""The Kuramoto step as one fused attention over values (cos, sin); on the CPU one autograd function: attention, tangent, step and norm.

Backward, with u the phase, m the mean heard, y = u + γ (m - (m·u) u) and u' = y / ‖y‖:
dy = (du' - (du'·u') u') / ‖y‖, dm = γ (dy - (dy·u) u), dγ = dm·m / γ, du = (1 - γ m·u) dy - γ (dy·u) m and what comes through the mean.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from oscbench.ops import fused
from oscbench.ops.derivatives import first_only
from oscbench.ops.fused import SHORT
from oscbench.ops.phases import PHASE_EPSILON, at_least_float32, normalise_phases

_kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_kernel_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def serves(q: Tensor, k: Tensor, cos: Tensor) -> bool:
    """Whether the one function runs: eager, on the CPU, all in the width of its sums, and channels side by side.

    The kernel that it calls reads queries and keys as if they were, where PyTorch's own function looks first.
    """
    return (
        q.device.type == "cpu"
        and q.dtype == cos.dtype
        and q.dtype in (torch.float32, torch.float64)
        and q.stride(-1) == k.stride(-1) == 1
        and not torch.compiler.is_compiling()
    )


def step(
    q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, gamma: float | Tensor, is_causal: bool
) -> tuple[Tensor, Tensor]:
    """`oscbench.ops.kuramoto_step` without padding."""
    new: tuple[Tensor, Tensor] = _Step.apply(q, k, cos, sin, gamma, is_causal)  # type: ignore[no-untyped-call]
    return new


class _Step(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, gamma: float | Tensor, is_causal: bool
    ) -> tuple[Tensor, Tensor]:
        ctx.phase_shape, ctx.is_causal, ctx.scale = cos.shape, is_causal, q.shape[-1] ** -0.5
        ctx.gamma_shape = gamma.shape if isinstance(gamma, Tensor) else None
        ctx.gamma = rate = float(gamma)
        cos, sin = cos.expand(*q.shape[:-1], -1), sin.expand(*q.shape[:-1], -1)
        phases = torch.cat((cos, sin), dim=-1)
        means, lse = _kernel(q, k, phases, 0.0, is_causal, scale=ctx.scale)
        if q.shape[-2] <= SHORT:  # see `oscbench.ops.fused.keep_nan`
            means.add_(q, alpha=0.0)
        # Copied apart: rows of half a head are short, and each is read five times.
        mean_cos, mean_sin = (part.contiguous() for part in means.chunk(2, dim=-1))
        kept = torch.mul(mean_cos, cos).addcmul_(mean_sin, sin).mul_(-rate).add_(1.0)  # 1 - γ m·u
        new_cos = torch.mul(cos, kept).add_(mean_cos, alpha=rate)
        new_sin = torch.mul(sin, kept).add_(mean_sin, alpha=rate)
        length = torch.mul(new_cos, new_cos).addcmul_(new_sin, new_sin).clamp_min_(PHASE_EPSILON**2).sqrt_()
        new_cos.div_(length)
        new_sin.div_(length)
        ctx.save_for_backward(
            q, k, cos, sin, phases, means, mean_cos, mean_sin, lse, kept, new_cos, new_sin, length
        )
        return new_cos, new_sin

    @staticmethod
    @first_only
    def backward(ctx: Any, grad_cos: Tensor, grad_sin: Tensor) -> tuple[Tensor | None, ...]:
        q, k, cos, sin, phases, means, mean_cos, mean_sin, lse, kept, new_cos, new_sin, length = (
            ctx.saved_tensors
        )
        radial = torch.mul(grad_cos, new_cos).addcmul_(grad_sin, new_sin)
        radial.masked_fill_(length <= PHASE_EPSILON, 0.0)  # there the norm is the constant floor
        d_cos = torch.addcmul(grad_cos, radial, new_cos, value=-1).div_(length)
        d_sin = torch.addcmul(grad_sin, radial, new_sin, value=-1).div_(length)
        along = torch.mul(d_cos, cos).addcmul_(d_sin, sin)
        d_means = torch.cat(
            (torch.addcmul(d_cos, along, cos, value=-1), torch.addcmul(d_sin, along, sin, value=-1)), dim=-1
        )
        d_gamma = None
        if ctx.needs_input_grad[4]:
            d_gamma = (d_means * means).sum().reshape(ctx.gamma_shape)
        d_means.mul_(ctx.gamma)
        found = _kernel_backward(d_means, q, k, phases, means, lse, 0.0, ctx.is_causal, scale=ctx.scale)
        through_cos, through_sin = found[2].chunk(2, dim=-1)
        d_cos = d_cos.mul_(kept).addcmul_(along, mean_cos, value=-ctx.gamma).add_(through_cos)
        d_sin = d_sin.mul_(kept).addcmul_(along, mean_sin, value=-ctx.gamma).add_(through_sin)
        shape = ctx.phase_shape
        return found[0], found[1], d_cos.sum_to_size(shape), d_sin.sum_to_size(shape), d_gamma, None


def run(
    q: Tensor,
    k: Tensor,
    cos: Tensor,
    sin: Tensor,
    *,
    gamma: float | Tensor,
    is_causal: bool,
    key_padding_mask: Tensor | None,
    attend: fused.Attend = scaled_dot_product_attention,
) -> tuple[Tensor, Tensor]:
    """Both means come from one attention of width d; memory linear in N."""
    default = attend is scaled_dot_product_attention
    if default and key_padding_mask is None and serves(q, k, cos):
        return step(q, k, cos, sin, gamma, is_causal)
    dtype = cos.dtype
    cos, sin = at_least_float32(cos), at_least_float32(sin)
    cos, sin = cos.expand(*q.shape[:-1], -1), sin.expand(*q.shape[:-1], -1)
    means = fused.attention(
        q,
        k,
        torch.cat((cos, sin), dim=-1).to(q.dtype),
        scale=q.shape[-1] ** -0.5,
        is_causal=is_causal,
        key_padding_mask=key_padding_mask,
        attend=attend,
    )
    mean_cos, mean_sin = at_least_float32(means).to(cos.dtype).chunk(2, dim=-1)
    # The radial part is taken away as written, not as a rotation by C sin - S cos: that is the same for unit
    # phases only, and bfloat16 phases are unit to three digits.
    along = mean_cos * cos + mean_sin * sin
    new_cos, new_sin = normalise_phases(
        cos + gamma * (mean_cos - along * cos), sin + gamma * (mean_sin - along * sin)
    )
    return new_cos.to(dtype), new_sin.to(dtype)

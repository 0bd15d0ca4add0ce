"""KoPE attention as rotations around one fused attention; on the CPU one autograd function, all of it backward as complex products.

A channel pair is one complex number x and a turn by φ the product x·z, z = cos φ + i sin φ. For y = x·z the gradients, read as complex
numbers too, are dx = dy·z* and dz = x*·dy; the turn back, y = x·z*, gives dx = dy·z and dz = dy*·x. Through single operations
autograd copies a conjugate for each of these products and keeps their sums in places of their own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from oscbench.ops import fused
from oscbench.ops.derivatives import first_only
from oscbench.ops.fused import SHORT
from oscbench.ops.phases import Turn, pairs_as_complex

_kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_kernel_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def serves(q: Tensor, v: Tensor, cos: Tensor) -> bool:
    """Whether the one function runs: eager, on the CPU, all in the width of its sums, values as wide as queries, and channels side by side.

    The kernel that it calls reads values as if they were, where PyTorch's own function looks first.
    """
    return (
        q.device.type == "cpu"
        and q.dtype == cos.dtype
        and q.dtype in (torch.float32, torch.float64)
        and q.shape == v.shape
        and v.stride(-1) == 1
        and not torch.compiler.is_compiling()
    )


def turned_attention(
    q: Tensor, k: Tensor, v: Tensor, cos: Tensor, sin: Tensor, rotate_values: bool, is_causal: bool
) -> Tensor:
    """`oscbench.ops.kope_attention` without padding."""
    made: Tensor = _Attend.apply(q, k, v, cos, sin, rotate_values, is_causal)  # type: ignore[no-untyped-call]
    return made


def _real(x: Tensor) -> Tensor:
    return torch.view_as_real(x).flatten(-2)


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        cos: Tensor,
        sin: Tensor,
        rotate_values: bool,
        is_causal: bool,
    ) -> Tensor:
        z = torch.complex(cos, sin)
        scale = q.shape[-1] ** -0.5
        turned_q, turned_k = (_real(pairs_as_complex(x) * z) for x in (q, k))
        turned_v = _real(pairs_as_complex(v) * z) if rotate_values else v
        heard, lse = _kernel(turned_q, turned_k, turned_v, 0.0, is_causal, scale=scale)
        if q.shape[-2] <= SHORT:  # see `oscbench.ops.fused.keep_nan`
            heard.add_(turned_q, alpha=0.0)
        ctx.save_for_backward(q, k, v, z, turned_q, turned_k, turned_v, heard, lse)
        ctx.options = rotate_values, is_causal, scale, cos.shape
        return _real(pairs_as_complex(heard) * z.conj_physical()) if rotate_values else heard.clone()

    @staticmethod
    @first_only
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, z, turned_q, turned_k, turned_v, heard, lse = ctx.saved_tensors
        rotate_values, is_causal, scale, phase_shape = ctx.options
        given = pairs_as_complex(grad)
        d_heard = _real(given * z) if rotate_values else grad
        found = _kernel_backward(
            d_heard, turned_q, turned_k, turned_v, heard, lse, 0.0, is_causal, scale=scale
        )
        d_q, d_k, d_v = (pairs_as_complex(x) for x in found)
        d_cos = d_sin = None
        if ctx.needs_input_grad[3] or ctx.needs_input_grad[4]:
            d_z = pairs_as_complex(q).conj_physical().mul_(d_q)
            d_z.addcmul_(pairs_as_complex(k).conj_physical(), d_k)
            if rotate_values:
                d_z.addcmul_(pairs_as_complex(v).conj_physical(), d_v)
                d_z.addcmul_(given.conj_physical(), pairs_as_complex(heard))
            d_cos, d_sin = (part.sum_to_size(phase_shape) for part in torch.view_as_real(d_z).unbind(-1))
        back = z.conj_physical()
        last = _real(d_v.mul_(back)) if rotate_values else found[2]
        return _real(d_q.mul_(back)), _real(d_k.mul_(back)), last, d_cos, d_sin, None, None


def run(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cos: Tensor,
    sin: Tensor,
    *,
    rotate_values: bool,
    is_causal: bool,
    key_padding_mask: Tensor | None,
    attend: fused.Attend = scaled_dot_product_attention,
) -> Tensor:
    """Rotate q, k (and v), attend, rotate back; memory linear in N."""
    default = attend is scaled_dot_product_attention
    if default and key_padding_mask is None and serves(q, v, cos):
        return turned_attention(q, k, v, cos, sin, rotate_values, is_causal)
    turn = Turn(cos, sin)
    q, k = turn(q), turn(k)
    if rotate_values:
        v = turn(v)
    out = fused.attention(
        q,
        k,
        v,
        scale=q.shape[-1] ** -0.5,
        is_causal=is_causal,
        key_padding_mask=key_padding_mask,
        attend=attend,
    )
    return turn.back(out) if rotate_values else out

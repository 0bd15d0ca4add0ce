"""Floating-point operations of the ops: closed forms, and a counter that sees fused and custom kernels.

The rule: FLOPs are those of the cheapest exact dense algorithm. A multiply-add is two, causality is not halved, nothing
is skipped, the backward pass is twice the forward pass (recomputation is how a kernel saves memory, not work of the
mechanism), and sines, exponentials and divisions count 0.
"""

from __future__ import annotations

from math import comb
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, flop_registry, register_flop_formula

Shape = tuple[int, ...]

_FORWARD_KERNELS = (
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_flash_attention_for_cpu",
)


def attention_flops(
    op_name: str,
    batch: int,
    heads: int,
    tokens: int,
    width: int,
    value_width: int | None = None,
    oscillator_width: int | None = None,
    exponent: int = 1,
) -> int:
    """FLOPs of one forward call of an op, with B = batch, H = heads, N = tokens, d = width, d_v = value width.

    softmax and KoPE attention 2BHN²(d + d_v), which is 4BHN²d; Kuramoto step 4BHN²d; torus 8BHN²n; selective
    synchronization 2BHN²(d + d_v); fixed query 2BHN²(d + d_osc) for the pull and, for the read-out, 4BHN·F(d_v + 1) where
    F = C(d_osc + p, p) is the number of monomials in the polynomial (1 + x·r)^p, d_osc + 1 for p = 1. For p = 2 and 4 the
    quadratic read-out 2BHN²(d_osc + d_v + 1) is taken instead where it is cheaper.

    Args:
        op_name: one of `oscbench.ops.op_names()`.
        batch: B.
        heads: H.
        tokens: N, CLS and registers included.
        width: d, channels per head of q and k or of ω; for torus n, angles per head.
        value_width: d_v, `width` by default (unused by torus and Kuramoto step, whose values are phases).
        oscillator_width: d_osc; fixed query only, where it is required.
        exponent: p of the fixed-query read-out.

    Raises:
        ValueError: no such op, or fixed query without `oscillator_width`.
    """
    pairs = batch * heads * tokens * tokens
    value_width = width if value_width is None else value_width
    if op_name in ("softmax_attention", "kope_attention", "selective_synchronization"):
        return 2 * pairs * (width + value_width)
    if op_name == "kuramoto_step":
        return 4 * pairs * width
    if op_name == "torus_attention":
        return 8 * pairs * width
    if op_name == "fixed_query_attention":
        if oscillator_width is None:
            raise ValueError(
                "fixed_query_attention: FLOPs need oscillator_width, the dimension of the anchors"
            )
        monomials = comb(oscillator_width + exponent, exponent)
        linear = 4 * batch * heads * tokens * monomials * (value_width + 1)
        quadratic = 2 * pairs * (oscillator_width + value_width + 1)
        read_out = linear if exponent == 1 else min(linear, quadratic)
        return 2 * pairs * (width + oscillator_width) + read_out
    raise ValueError(f'no closed form for op "{op_name}"')


def fused_attention_flops(query: Shape, key: Shape, value: Shape, *args: Any, **kwargs: Any) -> int:
    """Forward FLOPs of a fused attention kernel, from its shapes (B, H, N, d)."""
    del args, kwargs
    batch, heads, receivers, width = query
    return 2 * batch * heads * receivers * key[-2] * (width + value[-1])


def fused_attention_backward_flops(
    gradient: Shape, query: Shape, key: Shape, value: Shape, *args: Any, **kwargs: Any
) -> int:
    """Backward FLOPs of a fused attention kernel: twice the forward (the kernel itself does 2.5 times)."""
    del gradient, args, kwargs
    return 2 * fused_attention_flops(query, key, value)


def _kernel_formulas() -> dict[Any, Any]:
    """Our formula for each fused attention kernel of this PyTorch."""
    formulas: dict[Any, Any] = {}
    for name in _FORWARD_KERNELS:
        formulas[getattr(torch.ops.aten, name)] = fused_attention_flops
        formulas[getattr(torch.ops.aten, f"{name}_backward")] = fused_attention_backward_flops
    return formulas


# PyTorch 2.13 counts 0 for attention on the CPU; a plain FlopCounterMode sees it once this module is imported.
for _kernel, _formula in _kernel_formulas().items():
    if _kernel not in flop_registry:
        register_flop_formula(_kernel)(_formula)


def flop_counter() -> FlopCounterMode:
    """A quiet `FlopCounterMode` under the rule above, with every backend's custom kernels known to it.

    Use it around eager calls: it cannot look into a compiled function.

    Example:
        >>> import torch, oscbench.ops
        >>> q = torch.randn(1, 2, 8, 4)
        >>> with flop_counter() as counter:
        ...     _ = oscbench.ops.softmax_attention(q, q, q)
        >>> counter.get_total_flops() == attention_flops("softmax_attention", 1, 2, 8, 4)
        True
    """
    from oscbench import ops

    # The counter copies the registry when made, so kernels that register on first use are loaded first.
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    for op in ops._OPS.values():
        for device in devices:
            for name in op.available(torch.device(device)):
                op.backends[name].load()
    return FlopCounterMode(display=False, custom_mapping=_kernel_formulas())

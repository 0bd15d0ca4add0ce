"""Floating-point operations of the ops: closed forms, and a counter that sees fused and custom kernels.

The rule: FLOPs are those of the cheapest exact dense algorithm. A multiply-add is two, causality is not halved, nothing
is skipped, the backward pass is twice the forward pass (recomputation is how a kernel saves memory, not work of the
mechanism), and sines, exponentials and divisions count 0.
"""

from __future__ import annotations

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


def attention_flops(op_name: str, batch: int, heads: int, tokens: int, width: int, **sizes: Any) -> int:
    """FLOPs of one forward call of an op, as the op's own closed form has them: two for each multiply-add.

    Args:
        op_name: one of `oscbench.ops.op_names()`.
        batch: B.
        heads: H.
        tokens: N, CLS and registers included.
        width: d, channels per head of q and k or of ω; for torus n, angles per head.
        sizes: what else the op's cost depends on, as its file says: `value_width`, `oscillator_width`, `exponent`.

    Raises:
        ValueError: no such op, or a size that its cost depends on is missing.
    """
    from oscbench import ops

    return ops.op_of(op_name).flops(batch, heads, tokens, width, **sizes)


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
    for op in map(ops.op_of, ops.op_names()):
        for device in devices:
            for name in op.available(torch.device(device)):
                op.backends[name].load()
    return FlopCounterMode(display=False, custom_mapping=_kernel_formulas())

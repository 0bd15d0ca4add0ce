"""What custom operations of selective synchronization share beside their two passes: what is kept, shapes of gradients, FLOPs.

Their first six inputs are ω, r, v, K, α and the padding mask; options follow. They return the mean that is heard and the sum of its
weights, and no gradient flows into the sum.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._library.custom_ops import CustomOpDef
from torch.utils.flop_counter import register_flop_formula

from oscbench.ops.flops import attention_flops

Backward = Callable[..., tuple[Tensor, Tensor, Tensor, Tensor, Tensor]]
"""∂L/∂out, mean, sum, the six inputs, options -> gradients to ω, r, v, K and α."""


def differentiate(forward: CustomOpDef, backward: Backward) -> None:
    """Make a backward pass that of an operation."""

    def pull_back(ctx: Any, grad: Tensor, grad_total: Tensor | None) -> tuple[Tensor | None, ...]:
        del grad_total
        *inputs, mean, total = ctx.saved_tensors
        found = backward(grad.contiguous(), mean, total, *inputs, *ctx.options)
        return (*found, None, *(None for _ in ctx.options))

    forward.register_autograd(pull_back, setup_context=_keep)


def register(name: str, forward: CustomOpDef, backward: CustomOpDef) -> None:
    """Make `oscbench::NAME_backward` the backward pass of `oscbench::NAME`, and tell what both cost."""
    backward.register_fake(_gradients_like)
    differentiate(forward, backward)
    count_forward(name)

    @register_flop_formula(getattr(torch.ops.oscbench, f"{name}_backward"))
    def backward_flops(
        grad: Any, mean: Any, total: Any, omega: Any, order: Any, v: Any, *rest: Any, **named: Any
    ) -> int:
        return 2 * _flops(omega, v)


def mean_and_sum_like(omega: Tensor, order: Tensor, v: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    """Shapes of what a forward pass gives: the mean in v's type, the sum of weights in float32."""
    del omega, order, rest
    return v.new_empty(v.shape), v.new_empty((*v.shape[:3], 1), dtype=torch.float32)


def count_forward(name: str) -> None:
    """Tell the FLOPs of `oscbench::NAME`."""

    @register_flop_formula(getattr(torch.ops.oscbench, name))
    def forward_flops(omega: Any, order: Any, v: Any, *rest: Any, **named: Any) -> int:
        return _flops(omega, v)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs[:6], *output)
    ctx.options = inputs[6:]
    ctx.mark_non_differentiable(output[1])


def _gradients_like(grad: Tensor, mean: Tensor, total: Tensor, *inputs: Any) -> tuple[Tensor, ...]:
    del grad, mean, total
    return tuple(x.new_empty(x.shape) for x in inputs[:5])


def _flops(omega_shape: torch.Size, v_shape: torch.Size) -> int:
    batch, heads, tokens, width = omega_shape
    return attention_flops(
        "selective_synchronization", batch, heads, tokens, width, value_width=int(v_shape[-1])
    )

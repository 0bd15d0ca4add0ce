"""The pull of few tokens as one autograd function that keeps its N × N couplings, which tiles compute twice."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from oscbench.ops.derivatives import first_only
from oscbench.ops.fixed_query.pairwise import POWERS, RELU_FLOOR, flat, pairwise, value

MOST_PAIRS = 1 << 21
"""Most B·H·N² pairs: one matrix of 8 MB a layer in float32, as softmax keeps."""


def sums_over_pairs(q: Tensor, k: Tensor, c: Tensor, function: str, is_causal: bool) -> Tensor:
    """Σ_j f(q_i·k_j) c_j as `pairwise`; dense where it runs eagerly on the CPU and the pairs are few."""
    batch, heads, tokens, _ = q.shape
    few = batch * heads * tokens**2 <= MOST_PAIRS and function not in POWERS
    if few and q.device.type == "cpu" and not torch.compiler.is_compiling():
        dense: Tensor = _Dense.apply(q, k, c, function, is_causal)  # type: ignore[no-untyped-call]
        return dense
    tiled: Tensor = pairwise(q, k, c, function, is_causal)
    return tiled


class _Dense(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, c: Tensor, function: str, is_causal: bool) -> Tensor:
        flat_q, flat_k, flat_c = flat(q), flat(k), flat(c)
        weights = value(torch.bmm(flat_q, flat_k.mT), function)
        if is_causal:
            weights = weights.tril_()
        ctx.save_for_backward(flat_q, flat_k, flat_c, weights)
        ctx.function, ctx.is_causal = function, is_causal
        return torch.bmm(weights, flat_c).view(c.shape)

    @staticmethod
    @first_only
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        flat_q, flat_k, flat_c, weights = ctx.saved_tensors
        batch, heads = grad.shape[:2]
        flat_grad = flat(grad)
        d_c = torch.bmm(weights.mT, flat_grad) if ctx.needs_input_grad[2] else None
        pull = torch.bmm(flat_grad, flat_c.mT).mul_(_slope(weights, ctx.function))
        if ctx.is_causal:
            pull = pull.tril_()
        found = (torch.bmm(pull, flat_k), torch.bmm(pull.mT, flat_q), d_c)
        return (*(None if x is None else x.unflatten(0, (batch, heads)) for x in found), None, None)


def _slope(weights: Tensor, function: str) -> Tensor:
    """Slopes f' from the values f, so that the scores need not be kept: softplus' = 1 − exp(−softplus)."""
    if function == "softplus":
        return weights.neg().expm1_().neg_()
    if function == "relu":
        return (weights > RELU_FLOOR).to(weights.dtype)
    return weights.clamp_max(1.0)

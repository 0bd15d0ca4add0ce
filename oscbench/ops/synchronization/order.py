"""The order parameter: how far the phases of the tokens that a receiver may know have come together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from oscbench.ops.derivatives import twice
from oscbench.ops.masking import silence
from oscbench.ops.phases import at_least_float32
from oscbench.ops.running_sums import running_sum


def order_parameter(
    theta: Tensor, *, is_causal: bool = False, key_padding_mask: Tensor | None = None
) -> Tensor:
    """Order parameter r = mean over channels of |mean_j exp(i θ_j)|, in [0, 1].

    Padding is left out of the mean. Causal: the mean runs over j ≤ i, so r depends on the receiver;
    one r over the whole sequence would leak the future. Nobody real gives 0. Source: arXiv 2602.14445,
    order parameter.

    Args:
        theta: phases [rad], (B, H, N, d).
        is_causal: prefix means.
        key_padding_mask: (B, N) bool, True = padding.

    Returns:
        (B, H, N) when causal, else (B, H, 1), in at least float32.
    """
    theta = at_least_float32(silence(theta, key_padding_mask))
    if key_padding_mask is None and not torch.compiler.is_compiling():
        order: Tensor = _Order.apply(theta, is_causal)  # type: ignore[no-untyped-call]
        return order
    real = torch.ones_like(theta[..., :1])
    if key_padding_mask is not None:
        real = (~key_padding_mask[:, None, :, None]).to(theta.dtype).expand_as(real)
    return _plain(theta, real, is_causal)


def _plain(theta: Tensor, real: Tensor, is_causal: bool) -> Tensor:
    """The same of the tokens that are real, which `real` (B, H, N, 1) counts as 1."""
    cos, sin = theta.cos() * real, theta.sin() * real
    if is_causal:
        total_cos, total_sin, count = (running_sum(x, -2) for x in (cos, sin, real))
    else:
        total_cos, total_sin, count = (x.sum(dim=-2, keepdim=True) for x in (cos, sin, real))
    square = total_cos**2 + total_sin**2
    # At length 0 the slope of the root is infinite; its subgradient 0 is taken. NaN passes.
    empty = square <= 0
    length = torch.where(empty, 0.0, torch.sqrt(torch.where(empty, 1.0, square)))
    return (length / count.clamp_min(1.0)).mean(dim=-1)


class _Order(torch.autograd.Function):
    """All tokens real: with (C, S) the sums of a channel and ℓ their length, dθ_j = Σ_i dℓ_i (S_i cos θ_j - C_i sin θ_j)/ℓ_i."""

    @staticmethod
    def forward(ctx: Any, theta: Tensor, is_causal: bool) -> Tensor:
        cos, sin = theta.cos(), theta.sin()
        tokens = theta.shape[-2]
        if is_causal:
            total_cos, total_sin = running_sum(cos, -2), running_sum(sin, -2)
            count = torch.arange(1, tokens + 1, dtype=theta.dtype, device=theta.device)
        else:
            total_cos, total_sin = cos.sum(dim=-2, keepdim=True), sin.sum(dim=-2, keepdim=True)
            count = theta.new_full((1,), tokens)
        length = torch.hypot(total_cos, total_sin)
        ctx.save_for_backward(theta, cos, sin, total_cos, total_sin, length, count)
        ctx.is_causal = is_causal
        return length.mean(dim=-1) / count

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None]:
        theta, cos, sin, total_cos, total_sin, length, count = ctx.saved_tensors
        if torch.is_grad_enabled():
            everybody = torch.ones_like(theta[..., :1])
            (again,) = twice(lambda x: _plain(x, everybody, ctx.is_causal), [theta], [grad])
            return again, None
        # At length 0 the slope of the root is infinite; its subgradient 0 is taken. NaN passes.
        slope = (grad / (count * cos.shape[-1]))[..., None] / length.masked_fill(length <= 0, torch.inf)
        d_cos, d_sin = slope * total_cos, slope * total_sin
        if ctx.is_causal:  # a token is in the sums of all receivers after it
            d_cos, d_sin = (running_sum(x.flip(-2), -2).flip(-2) for x in (d_cos, d_sin))
        return torch.mul(d_sin, cos).addcmul_(d_cos, sin, value=-1.0), None


def backend_through(synchronize: Callable[..., Any]) -> Callable[..., Tensor]:
    """A backend of the public function from an op that takes r for the phases and knows no top-k: r by autograd, the rest by the op."""

    def run(
        omega: Tensor,
        theta: Tensor,
        v: Tensor,
        *,
        coupling: Tensor,
        alpha: Tensor,
        top_k: int | None,
        edge: float,
        is_causal: bool,
        key_padding_mask: Tensor | None,
    ) -> Tensor:
        assert top_k is None, "dispatch keeps top-k away"
        order = order_parameter(theta, is_causal=is_causal, key_padding_mask=key_padding_mask)
        out: Tensor = synchronize(omega, order, v, coupling, alpha, key_padding_mask, edge, is_causal)[0]
        return out

    return run

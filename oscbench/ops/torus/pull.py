"""The pull of the others as one autograd function: waves, score features, attention and tangent, and their backward pass.

As single operations the angles' part costs more than the attention between 17 tokens: some twenty reads and writes of all
angles forward and fifty backward, each with a place in the graph. Here every product is written once where it is needed,
and the backward pass goes through angles, not through their sines and cosines. Receivers and senders are laid out token by
token, (B, N, H, 2n) in memory, so that merging heads afterwards copies nothing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from oscbench.ops.derivatives import first_only
from oscbench.ops.fused import SHORT
from oscbench.ops.torus import sink


def serves(theta: Tensor) -> bool:
    """Whether the one function runs for these angles: eager, on the CPU, in the width of its sums, few enough tokens."""
    return (
        theta.device.type == "cpu"
        and theta.dtype in (torch.float32, torch.float64)
        and 1 < theta.shape[-2] <= sink.MASKED
        and not torch.compiler.is_compiling()
    )


def pull(
    theta: Tensor,
    gate: Tensor,
    angles: Tensor | None,
    lag: Tensor | None,
    include_self: bool,
    is_causal: bool,
) -> Tensor:
    """The tangent Δ of `oscbench.ops.torus_attention` without padding; `angles` are the drift's, ready and in float64."""
    gate = gate.to(theta.dtype)
    lag = None if lag is None else lag.to(theta.dtype)
    tangent: Tensor = _Pull.apply(  # type: ignore[no-untyped-call]
        theta, gate, angles, lag, include_self, is_causal
    )
    return tangent


def _halves(x: Tensor) -> tuple[Tensor, Tensor]:
    half = x.shape[-1] // 2
    return x[..., :half], x[..., half:]


def _turned(waves: Tensor, angles: Tensor) -> Tensor:
    """(cos, sin) side by side, turned forward."""
    cos, sin = _halves(waves)
    by_cos, by_sin = angles.cos().to(waves.dtype), angles.sin().to(waves.dtype)
    out = torch.empty_like(waves)
    out_cos, out_sin = _halves(out)
    torch.mul(cos, by_cos, out=out_cos).addcmul_(sin, by_sin, value=-1)
    torch.mul(sin, by_cos, out=out_sin).addcmul_(cos, by_sin)
    return out


class _Pull(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        theta: Tensor,
        gate: Tensor,
        angles: Tensor | None,
        lag: Tensor | None,
        include_self: bool,
        is_causal: bool,
    ) -> Tensor:
        batch, heads, tokens, width = theta.shape
        waves = theta.new_empty(batch, tokens, heads, 2 * width).transpose(1, 2)
        cos, sin = _halves(waves)
        torch.cos(theta, out=cos)
        torch.sin(theta, out=sin)
        key = waves if angles is None else _turned(waves, angles)
        bare = key if lag is None else _turned(key, lag)
        query = torch.empty_like(bare)
        for part, out in zip(_halves(bare), _halves(query), strict=True):
            torch.mul(part, gate, out=out)
        means, lse = sink.others(query, key, waves, is_causal)
        share = None
        if include_self:
            own = (query * key).sum(-1)
            whole = torch.logaddexp(lse, own)
            means = means * torch.exp(lse - whole)[..., None]
            share, lse = torch.exp(own - whole), whole
        mean_cos, mean_sin = _halves(means)
        tangent = torch.empty_like(cos)
        torch.mul(mean_sin, cos, out=tangent).addcmul_(mean_cos, sin, value=-1)
        if tokens <= SHORT:  # see `oscbench.ops.fused.keep_nan`
            tangent.add_(_halves(query)[0], alpha=0.0)
        ctx.save_for_backward(gate, lag, angles, waves, key, bare, query, means, lse, share)
        ctx.is_causal = is_causal
        return tangent

    @staticmethod
    @first_only
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gate, lag, angles, waves, key, bare, query, means, lse, share = ctx.saved_tensors
        cos, sin = _halves(waves)
        mean_cos, mean_sin = _halves(means)
        d_means = torch.empty_like(waves)
        d_mean_cos, d_mean_sin = _halves(d_means)
        torch.mul(grad, cos, out=d_mean_sin)
        torch.mul(grad, sin, out=d_mean_cos).neg_()
        d_query, d_key, d_waves = sink.others_backward(d_means, query, key, waves, means, lse, ctx.is_causal)
        if share is not None:
            # The sink's value is 0, so its slope is only what it takes from the others.
            slope = (share * (d_means * means).sum(-1)).neg_()[..., None]
            d_query, d_key = d_query.addcmul(slope, key), d_key.addcmul(slope, query)
        # A wave's derivative is the wave a quarter ahead, so each pair of gradients meets its angle once.
        d_theta = torch.mul(mean_sin, sin).addcmul_(mean_cos, cos).mul_(grad).neg_()
        _to_angles(d_theta, d_waves, waves)
        bare_cos, bare_sin = _halves(bare)
        d_query_cos, d_query_sin = _halves(d_query)
        d_receiver = torch.mul(d_query_sin, bare_cos).addcmul_(d_query_cos, bare_sin, value=-1).mul_(gate)
        d_gate = d_lag = d_angles = None
        if ctx.needs_input_grad[1]:
            d_gate = torch.mul(d_query_cos, bare_cos).addcmul_(d_query_sin, bare_sin).sum_to_size(gate.shape)
        if ctx.needs_input_grad[3]:
            d_lag = d_receiver.sum_to_size(lag.shape)
        if ctx.needs_input_grad[2]:
            both = _to_angles(d_receiver.clone(), d_key, key)
            d_angles = both.to(angles.dtype).sum_to_size(angles.shape)
        _to_angles(d_theta.add_(d_receiver), d_key, key)
        return d_theta, d_gate, d_angles, d_lag, None, None


def _to_angles(total: Tensor, d_waves: Tensor, waves: Tensor) -> Tensor:
    """Add to the angles' gradient what comes through their (cos, sin)."""
    cos, sin = _halves(waves)
    d_cos, d_sin = _halves(d_waves)
    return total.addcmul_(d_sin, cos).addcmul_(d_cos, sin, value=-1)

"""Torus attention of one new token. Kept a token: θ, D numbers a layer, and the drift's angle, n numbers a model."""

from __future__ import annotations

import torch
from torch import Tensor

from oscbench.ops import checks
from oscbench.ops.phases import at_least_float32, wrap
from oscbench.ops.precision import keeps_precision


@keeps_precision
def torus_attention(
    theta: Tensor,
    gate: Tensor,
    others: Tensor,
    *,
    drift: Tensor | None = None,
    lag: Tensor | None = None,
    include_self: bool = True,
) -> Tensor:
    """Δ_n = Σ_u A_u sin(θ_un - θ_n), A = softmax_u Σ_n g_n cos(θ_n + drift_n + lag_n - θ_un), arXiv 2606.11585.

    Written literally: with one receiver the sines and cosines of pairs are as many as those of senders, and no digit is lost
    to a dominant own score.

    Args:
        theta: the receiver's angles [rad], (B, H, 1, n).
        gate: g, broadcastable to (B, H, 1, n).
        others: angles of the senders [rad], (B, H, M, n), the receiver's own last.
        drift: the receiver's drift less each sender's [rad], broadcastable to (B, H, M, n), best in float64.
        lag: phase lag of the receiver in the score [rad], (H, 1, n).
        include_self: whether the token hears itself.

    Returns:
        The tangent Δ [rad], like theta; 0 where nobody is heard.

    Raises:
        ValueError: shapes, dtypes or devices do not agree.
    """
    checks.receiver_and_senders("torus_attention", {"theta": theta}, {"others": others})
    weights = torus_weights(theta, gate, others, drift=drift, lag=lag, include_self=include_self)
    heard = others[..., : weights.shape[-1], :]
    if heard.shape[-2] == 0:
        return torch.zeros_like(theta)
    difference = at_least_float32(theta) - at_least_float32(heard)
    return -(weights @ difference.sin()).to(theta.dtype)


@keeps_precision
def torus_weights(
    theta: Tensor,
    gate: Tensor,
    others: Tensor,
    *,
    drift: Tensor | None = None,
    lag: Tensor | None = None,
    include_self: bool = True,
) -> Tensor:
    """A_u of `torus_attention`, (B, H, 1, M) in at least float32, or M - 1 without self; for what is heard beside the angles."""
    if not include_self:
        others = others[..., :-1, :]
        drift = None if drift is None else drift[..., :-1, :]
    turned = at_least_float32(theta) - at_least_float32(others)
    if drift is not None:
        turned = turned + wrap(drift).to(turned.dtype)
    if lag is not None:
        turned = turned + lag.to(turned.dtype)
    return torch.softmax((gate.to(turned.dtype) * turned.cos()).sum(-1)[..., None, :], dim=-1)

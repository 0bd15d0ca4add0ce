"""Torus attention written literally: a sine and a cosine for each pair of tokens and coordinate, N² · n."""

from __future__ import annotations

from torch import Tensor

from oscbench.ops.masking import allowed
from oscbench.ops.phases import at_least_float32
from oscbench.ops.softmax.reference import masked_softmax
from oscbench.ops.torus.scores import drift_angles


def run(
    theta: Tensor,
    gate: Tensor,
    *,
    drift: Tensor | None,
    lag: Tensor | None,
    include_self: bool,
    is_causal: bool,
    key_padding_mask: Tensor | None,
) -> Tensor:
    """s_tu = Σ_n g_tn cos(φ_tn + lag_n - φ_un), Δ_tn = Σ_u softmax(s)_tu sin(θ_un - θ_tn)."""
    dtype = theta.dtype
    theta, gate = at_least_float32(theta), at_least_float32(gate)
    if key_padding_mask is not None:
        theta = theta.masked_fill(key_padding_mask[:, None, :, None] & ~theta.isfinite(), 0.0)
    turned = theta.double()
    if drift is not None:
        turned = turned + drift_angles(drift, theta.shape[-2])
    difference = turned[..., :, None, :] - turned[..., None, :, :]
    if lag is not None:
        difference = difference + lag.double()[..., None, :]
    scores = (gate.double().expand(theta.shape)[..., :, None, :] * difference.cos()).sum(-1)
    hears = allowed(
        theta.shape[-2],
        theta.device,
        is_causal=is_causal,
        key_padding_mask=key_padding_mask,
        include_self=include_self,
    )
    weights = masked_softmax(scores, hears)
    pull = (theta[..., None, :, :] - theta[..., :, None, :]).sin()
    return (weights[..., None].to(pull.dtype) * pull).sum(-2).to(dtype)

"""Fixed-query oscillator attention written literally: N × N tensors, how anchors pull, the fixed point, how the settled state reads out."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import elu, softplus

from oscbench.ops.disorder import Disorder
from oscbench.ops.masking import allowed, silence
from oscbench.ops.phases import at_least_float32

COUPLINGS = ("softplus", "relu", "elu")
RELU_FLOOR = 1e-3
NORM_EPSILON = 1e-8
SUM_EPSILON = 1e-8


def couple(scores: Tensor, coupling: str) -> Tensor:
    """Positive coupling of a score: softplus(x), relu(x) + 1e-3 or elu(x) + 1."""
    if coupling == "softplus":
        return softplus(scores)
    if coupling == "relu":
        return torch.relu(scores) + RELU_FLOOR
    return elu(scores) + 1.0


def pull(
    q: Tensor,
    k: Tensor,
    anchors: Tensor,
    *,
    coupling: str,
    is_causal: bool,
    key_padding_mask: Tensor | None,
    disorder: Disorder | None = None,
) -> Tensor:
    """h_i = Σ_j W_ij r_j, (B, H, N, d_osc), in at least float32; W under a disorder where one is given. Quadratic."""
    k = silence(k, key_padding_mask)
    scores = at_least_float32(q) @ at_least_float32(k).mT * q.shape[-1] ** -0.5
    hears = allowed(q.shape[-2], q.device, is_causal=is_causal, key_padding_mask=key_padding_mask)
    weights = couple(scores, coupling)
    if disorder is not None:
        weights = disorder.couplings(weights)
    weights = torch.where(hears, weights, 0.0)
    return weights @ at_least_float32(anchors).to(weights.dtype)


def fixed_point(h: Tensor) -> Tensor:
    """x* = h/‖h‖, the state to which every start but -x* is drawn; 0 where nobody pulls."""
    square = (h * h).sum(-1, keepdim=True)
    return h * torch.rsqrt(square.clamp_min(NORM_EPSILON**2))


def read_out(
    state: Tensor,
    v: Tensor,
    anchors: Tensor,
    *,
    exponent: int,
    mask_readout: bool,
    is_causal: bool,
    key_padding_mask: Tensor | None,
) -> Tensor:
    """Σ_j a_ij v_j with a_ij = (1 + x_i·r_j)^p, normalised over the senders heard. Quadratic; like v."""
    mask = key_padding_mask if mask_readout else None
    hears = allowed(v.shape[-2], v.device, is_causal=is_causal, key_padding_mask=mask)
    alignment = state @ at_least_float32(anchors).to(state.dtype).mT
    weights = torch.where(hears, (1.0 + alignment).clamp_min(0.0) ** exponent, 0.0)
    weights = weights / weights.sum(-1, keepdim=True).clamp_min(SUM_EPSILON)
    return (weights @ at_least_float32(silence(v, mask)).to(weights.dtype)).to(v.dtype)


def run(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    anchors: Tensor,
    *,
    coupling: str,
    exponent: int,
    mask_readout: bool,
    is_causal: bool,
    key_padding_mask: Tensor | None,
) -> Tensor:
    """Pull, settle, read out."""
    h = pull(q, k, anchors, coupling=coupling, is_causal=is_causal, key_padding_mask=key_padding_mask)
    return read_out(
        fixed_point(h),
        v,
        anchors,
        exponent=exponent,
        mask_readout=mask_readout,
        is_causal=is_causal,
        key_padding_mask=key_padding_mask,
    )

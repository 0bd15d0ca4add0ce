"""Torus attention with self put back exactly, and without self where not causal; memory linear in N."""

from __future__ import annotations

import torch
from torch import Tensor

from oscbench.ops.masking import hears_nobody, real_tokens_first, return_tokens, silence, take_tokens
from oscbench.ops.torus import pull
from oscbench.ops.torus.scores import drift_angles, features
from oscbench.ops.torus.sink import sink_attention


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
    """Δ = Δ_others · sigmoid(lse_others - s_tt); without self s_tt = -inf."""
    if key_padding_mask is None and pull.serves(theta):
        angles = None if drift is None else drift_angles(drift, theta.shape[-2])
        return pull.pull(theta, gate, angles, lag, include_self, is_causal)
    made = features(theta, gate, drift, lag)
    q, k, v = made
    # A padded receiver is not heard by itself either.
    sink = (q * k).sum(-1) if include_self else torch.full_like(q[..., 0], -torch.inf)
    if key_padding_mask is None:
        means, _ = sink_attention(q, k, v, sink, None, is_causal)
        return made.tangent(means).to(theta.dtype)
    sink = sink.masked_fill(key_padding_mask[:, None], -torch.inf)
    k, v = silence(k, key_padding_mask), silence(v, key_padding_mask)
    if is_causal:
        order = real_tokens_first(key_padding_mask)
        first = [take_tokens(x, order) for x in (q, k, v, sink[..., None])]
        means, _ = sink_attention(*first[:3], first[3][..., 0], None, True)
        means = return_tokens(means, order)
    else:
        means, _ = sink_attention(q, k, v, sink, key_padding_mask, False)
    nobody = hears_nobody(key_padding_mask, is_causal)
    return made.tangent(means).masked_fill(nobody, 0.0).to(theta.dtype)

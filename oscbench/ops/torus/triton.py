"""Torus attention through Triton kernels that leave the diagonal out: CUDA, or the CPU in Triton's interpreter."""

from __future__ import annotations

import torch
from torch import Tensor

from oscbench.ops.masking import silence
from oscbench.ops.torus.scores import features
from oscbench.ops.torus.triton_sink import sink_attention_triton


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
    made = features(theta, gate, drift, lag)
    # Products in the angles' own precision: nothing large is subtracted. A token's own score is a number a token, so it stays wide.
    q, k, v = (x.to(theta.dtype) for x in made)
    sink = (made.q * made.k).sum(-1) if include_self else torch.full_like(made.q[..., 0], -torch.inf)
    if key_padding_mask is not None:
        # A padded receiver is not heard by itself either.
        sink = sink.masked_fill(key_padding_mask[:, None], -torch.inf)
        k, v = silence(k, key_padding_mask), silence(v, key_padding_mask)
    means, _ = sink_attention_triton(q, k, v, sink, key_padding_mask, is_causal)
    return made.tangent(means).to(theta.dtype)

"""What tokens hear of other values than their angles, under the torus score: for variants of ours that go beyond the published layer."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from oscbench.ops import fused, triton_tools
from oscbench.ops.dispatch import call_of
from oscbench.ops.masking import nobody_real, silence
from oscbench.ops.torus import OP
from oscbench.ops.torus.scores import features
from oscbench.ops.torus.sink import sink_attention


def heard(
    theta: Tensor,
    gate: Tensor,
    values: Tensor,
    *,
    drift: Tensor | None = None,
    lag: Tensor | None = None,
    include_self: bool = True,
    is_causal: bool = True,
    key_padding_mask: Tensor | None = None,
) -> Tensor:
    """Σ_u A_tu v_u with the weights A of `torus_attention`; one fused attention of width 2n, memory linear in N.

    Args:
        theta: angles [rad], (B, H, N, n).
        gate: g, broadcastable to (B, H, N, n).
        values: v, (B, H, N, m) with m ≤ 2n.
        drift: as for `torus_attention`.
        lag: as for `torus_attention`.
        include_self: whether a token hears itself.
        is_causal: receiver t hears only senders u ≤ t.
        key_padding_mask: (B, N) bool, True = padding, which nobody hears.

    Returns:
        The means, like values; 0 for a token with nobody to hear.
    """
    made = features(theta, gate, drift, lag)
    q, k, width = made.q, made.k, values.shape[-1]
    # The fused kernels have one width for all three.
    v: Tensor = torch.nn.functional.pad(values.to(q.dtype), (0, q.shape[-1] - width))
    if include_self or is_causal:
        every = fused.attention(
            q,
            k,
            v,
            scale=1.0,
            is_causal=is_causal,
            key_padding_mask=key_padding_mask,
            include_self=include_self,
        )
        return every[..., :width].to(values.dtype)
    k, v = silence(k, key_padding_mask), silence(v, key_padding_mask)
    no_self = torch.full_like(q[..., 0], -torch.inf)
    attend: Callable[..., tuple[Tensor, Tensor]] = sink_attention
    if triton_tools.may_serve(theta.device) and OP.backends["triton"].why_not(call_of(theta)) is None:
        from oscbench.ops.torus.triton import sink_attention_triton as attend

        q, k, v = (x.to(theta.dtype) for x in (q, k, v))
    means = attend(q, k, v, no_self, key_padding_mask, False)[0]
    if key_padding_mask is not None:
        means = means.masked_fill(nobody_real(key_padding_mask), 0.0)
    return means[..., :width].to(values.dtype)

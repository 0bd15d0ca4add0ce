"""Torus attention as exactly one fused attention of width 2n."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from oscbench.ops import fused
from oscbench.ops.torus.scores import features


def run(
    theta: Tensor,
    gate: Tensor,
    *,
    drift: Tensor | None,
    lag: Tensor | None,
    include_self: bool,
    is_causal: bool,
    key_padding_mask: Tensor | None,
    attend: fused.Attend = scaled_dot_product_attention,
) -> Tensor:
    """The update of every angle, memory linear in N."""
    made = features(theta, gate, drift, lag)
    # With self the tangent is small against its terms, and half precision would leave none of its digits.
    compute = made.v.dtype if include_self else theta.dtype
    means = fused.attention(
        made.q.to(compute),
        made.k.to(compute),
        made.v.to(compute),
        scale=1.0,
        is_causal=is_causal,
        key_padding_mask=key_padding_mask,
        include_self=include_self,
        attend=attend,
    )
    return made.tangent(means).to(theta.dtype)

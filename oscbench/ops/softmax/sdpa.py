"""Softmax attention by PyTorch's fused kernel."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from oscbench.ops import fused


def run(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    scale: float,
    is_causal: bool,
    key_padding_mask: Tensor | None,
    attend: fused.Attend = scaled_dot_product_attention,
) -> Tensor:
    """softmax(q kᵀ · scale) v, memory linear in N."""
    return fused.attention(
        q, k, v, scale=scale, is_causal=is_causal, key_padding_mask=key_padding_mask, attend=attend
    )

"""Softmax attention of one new token. Kept a token: k and v, 2D numbers a layer."""

from __future__ import annotations

from torch import Tensor

from oscbench.ops import checks, fused
from oscbench.ops.precision import keeps_precision


@keeps_precision
def softmax_attention(q: Tensor, k: Tensor, v: Tensor, *, scale: float | None = None) -> Tensor:
    """softmax(q kᵀ · scale) v of the newest token, eq. 1 of arXiv 1706.03762; PyTorch's fused kernel, which sums in float32.

    Args:
        q: the receiver, (B, H, 1, d).
        k: senders, (B, H, M, d), the receiver's own last.
        v: what they say, (B, H, M, ·).
        scale: factor on the scores; 1/√d by default.

    Returns:
        (B, H, 1, ·), in v's dtype.

    Raises:
        ValueError: shapes, dtypes or devices do not agree.
    """
    checks.receiver_and_senders("softmax_attention", {"q": q}, {"k": k, "v": v})
    checks.same_width("decode.softmax_attention", q=q, k=k)
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    return fused.attention(q, k, v, scale=scale, is_causal=False, key_padding_mask=None)

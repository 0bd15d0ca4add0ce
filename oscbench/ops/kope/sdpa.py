"""KoPE attention as rotations around one fused attention."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from oscbench.ops import fused
from oscbench.ops.kope import turned
from oscbench.ops.phases import Turn


def run(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cos: Tensor,
    sin: Tensor,
    *,
    rotate_values: bool,
    is_causal: bool,
    key_padding_mask: Tensor | None,
    attend: fused.Attend = scaled_dot_product_attention,
) -> Tensor:
    """Rotate q, k (and v), attend, rotate back; memory linear in N."""
    default = attend is scaled_dot_product_attention
    if default and key_padding_mask is None and turned.serves(q, v, cos):
        return turned.attend(q, k, v, cos, sin, rotate_values, is_causal)
    turn = Turn(cos, sin)
    q, k = turn(q), turn(k)
    if rotate_values:
        v = turn(v)
    out = fused.attention(
        q,
        k,
        v,
        scale=q.shape[-1] ** -0.5,
        is_causal=is_causal,
        key_padding_mask=key_padding_mask,
        attend=attend,
    )
    return turn.back(out) if rotate_values else out

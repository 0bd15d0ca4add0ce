"""Fixed-query oscillator attention written literally: N × N tensors, and the fixed point in closed form."""

from __future__ import annotations

from torch import Tensor

from oscbench.ops.fixed_query.stages import fixed_point, pull, read_out


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

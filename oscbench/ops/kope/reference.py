"""KoPE attention written literally."""

from __future__ import annotations

import torch
from torch import Tensor

from oscbench.ops.masking import allowed, silence
from oscbench.ops.phases import at_least_float32
from oscbench.ops.softmax.reference import masked_softmax


def turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Each pair (x[2i], x[2i+1]) times the 2 × 2 rotation matrix of its angle."""
    first, second = x[..., 0::2], x[..., 1::2]
    turned = torch.empty_like(x)
    turned[..., 0::2] = first * cos - second * sin
    turned[..., 1::2] = first * sin + second * cos
    return turned


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
) -> Tensor:
    """Rotate q, k (and v), attend, rotate back."""
    dtype, width = v.dtype, q.shape[-1]
    q, k, v, cos, sin = (at_least_float32(x) for x in (q, k, v, cos, sin))
    q, k = turn(q, cos, sin), turn(k, cos, sin)
    if rotate_values:
        v = turn(v, cos, sin)
    hears = allowed(q.shape[-2], q.device, is_causal=is_causal, key_padding_mask=key_padding_mask)
    scores = q @ silence(k, key_padding_mask).mT * width**-0.5
    out = masked_softmax(scores, hears) @ silence(v, key_padding_mask)
    if rotate_values:
        out = turn(out, cos, -sin)
    return out.to(dtype)

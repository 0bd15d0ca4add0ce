"""The Kuramoto step written literally."""

from __future__ import annotations

from torch import Tensor

from oscbench.ops.masking import allowed, silence
from oscbench.ops.phases import at_least_float32, normalise_phases
from oscbench.ops.softmax.reference import masked_softmax


def run(
    q: Tensor,
    k: Tensor,
    cos: Tensor,
    sin: Tensor,
    *,
    gamma: float | Tensor,
    is_causal: bool,
    key_padding_mask: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Attention-weighted mean of the phases, its tangent part, one step of size gamma, back to the circle."""
    dtype = cos.dtype
    q, k, cos, sin = (at_least_float32(x) for x in (q, k, cos, sin))
    cos, sin = cos.expand(*q.shape[:-1], -1), sin.expand(*q.shape[:-1], -1)
    hears = allowed(q.shape[-2], q.device, is_causal=is_causal, key_padding_mask=key_padding_mask)
    weights = masked_softmax(q @ silence(k, key_padding_mask).mT * q.shape[-1] ** -0.5, hears)
    mean_cos = weights @ silence(cos, key_padding_mask)
    mean_sin = weights @ silence(sin, key_padding_mask)
    along = mean_cos * cos + mean_sin * sin
    new_cos = cos + gamma * (mean_cos - along * cos)
    new_sin = sin + gamma * (mean_sin - along * sin)
    new_cos, new_sin = normalise_phases(new_cos, new_sin)
    return new_cos.to(dtype), new_sin.to(dtype)

"""Softmax attention written literally: N × N scores, the oracle of every softmax-form backend."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from oscbench.ops.masking import allowed, silence
from oscbench.ops.phases import at_least_float32


def masked_softmax(scores: Tensor, hears: Tensor) -> Tensor:
    """Rows of softmax over the senders that a receiver hears; a row that hears nobody is 0."""
    weights = torch.softmax(scores.masked_fill(~hears, -torch.inf), dim=-1)
    return torch.where(hears.any(dim=-1, keepdim=True), weights, 0.0)


def run(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    scale: float,
    is_causal: bool,
    key_padding_mask: Tensor | None,
    disturb: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """softmax(q kᵀ · scale) v; scores pass through `disturb` first, where it is given."""
    hears = allowed(q.shape[-2], q.device, is_causal=is_causal, key_padding_mask=key_padding_mask)
    k, v = silence(k, key_padding_mask), silence(v, key_padding_mask)
    scores = at_least_float32(q) @ at_least_float32(k).mT * scale
    if disturb is not None:
        scores = disturb(scores)
    return (masked_softmax(scores, hears) @ at_least_float32(v)).to(v.dtype)

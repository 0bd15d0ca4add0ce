"""The order parameter: how far the phases of the tokens that a receiver may know have come together."""

from __future__ import annotations

import torch
from torch import Tensor

from oscbench.ops.masking import silence
from oscbench.ops.phases import at_least_float32


def order_parameter(
    theta: Tensor, *, is_causal: bool = False, key_padding_mask: Tensor | None = None
) -> Tensor:
    """Order parameter r = mean over channels of |mean_j exp(i θ_j)|, in [0, 1].

    Padding is left out of the mean. Causal: the mean runs over j ≤ i, so r depends on the receiver;
    one r over the whole sequence would leak the future. Nobody real gives 0. Source: arXiv 2602.14445,
    order parameter.

    Args:
        theta: phases [rad], (B, H, N, d).
        is_causal: prefix means.
        key_padding_mask: (B, N) bool, True = padding.

    Returns:
        (B, H, N) when causal, else (B, H, 1), in at least float32.
    """
    theta = at_least_float32(silence(theta, key_padding_mask))
    real = torch.ones_like(theta[..., :1])
    if key_padding_mask is not None:
        real = (~key_padding_mask[:, None, :, None]).to(theta.dtype).expand_as(real)
    cos, sin = theta.cos() * real, theta.sin() * real
    if is_causal:
        total_cos, total_sin, count = (x.cumsum(dim=-2) for x in (cos, sin, real))
    else:
        total_cos, total_sin, count = (x.sum(dim=-2, keepdim=True) for x in (cos, sin, real))
    square = total_cos**2 + total_sin**2
    # At length 0 the slope of the root is infinite; its subgradient 0 is taken. NaN passes.
    empty = square <= 0
    length = torch.where(empty, 0.0, torch.sqrt(torch.where(empty, 1.0, square)))
    return (length / count.clamp_min(1.0)).mean(dim=-1)

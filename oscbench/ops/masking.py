"""Who hears whom: causality, padding, and tokens that hear nobody."""

from __future__ import annotations

import torch
from torch import Tensor


def allowed(
    num_tokens: int,
    device: torch.device,
    *,
    is_causal: bool,
    key_padding_mask: Tensor | None = None,
    include_self: bool = True,
) -> Tensor:
    """True where receiver i hears sender j, (1 or B, 1, N, N). Quadratic: for literal forms only."""
    index = torch.arange(num_tokens, device=device)
    hears = torch.ones(num_tokens, num_tokens, dtype=torch.bool, device=device)
    if is_causal:
        hears = index[:, None] >= index[None, :]
    if not include_self:
        hears = hears & (index[:, None] != index[None, :])
    hears = hears[None, None]
    if key_padding_mask is not None:
        hears = hears & ~key_padding_mask[:, None, None, :]
    return hears


def silence(x: Tensor, key_padding_mask: Tensor | None) -> Tensor:
    """Senders' tensor (B, H, N, ·) with padding set to 0, so that whatever stood there (NaN too) is never heard."""
    if key_padding_mask is None:
        return x
    return x.masked_fill(key_padding_mask[:, None, :, None], 0.0)


def real_tokens_first(key_padding_mask: Tensor) -> Tensor:
    """Order (B, N) that puts real tokens first and keeps their order; the identity where padding is on the right.

    A causal pass over tokens in this order needs no padding mask: no real token has padding before it.
    """
    return torch.argsort(key_padding_mask.to(torch.uint8), dim=-1, stable=True)


def take_tokens(x: Tensor, order: Tensor) -> Tensor:
    """Tokens of x (B, H, N, d) in the given order (B, N)."""
    index = order[:, None, :, None].expand(-1, x.shape[1], -1, x.shape[-1])
    return x.gather(2, index)


def return_tokens(x: Tensor, order: Tensor) -> Tensor:
    """The inverse of `take_tokens`."""
    return take_tokens(x, torch.argsort(order, dim=-1))


def hears_nobody(key_padding_mask: Tensor, is_causal: bool) -> Tensor:
    """True where a receiver hears nobody, (B, 1, N or 1, 1): all is padding, or causally all up to itself is."""
    if is_causal:
        return key_padding_mask.cummin(dim=-1).values[:, None, :, None]
    return nobody_real(key_padding_mask)


def nobody_real(key_padding_mask: Tensor) -> Tensor:
    """True for sequences that are padding from end to end, (B, 1, 1, 1)."""
    return key_padding_mask.all(dim=-1)[:, None, None, None]

"""Oscillators on spheres: n consecutive channels are a unit vector, what moves it lies along the sphere (arXiv 2410.13821)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize


def unit(x: Tensor, dimension: int) -> Tensor:
    """Every n consecutive channels of x (…, D) divided by their length, at least 1e-12; in float32 or better."""
    groups = x.unflatten(-1, (-1, dimension))
    wide: Tensor = groups.float() if groups.dtype in (torch.float16, torch.bfloat16) else groups
    normed: Tensor = normalize(wide, dim=-1).flatten(-2)
    return normed


def tangent(x: Tensor, pull: Tensor, dimension: int) -> Tensor:
    """y - (y·x) x for each oscillator: what of a pull y (…, D) lies along the sphere at x."""
    groups, pulls = x.unflatten(-1, (-1, dimension)), pull.unflatten(-1, (-1, dimension))
    along: Tensor = (pulls - (pulls * groups).sum(-1, keepdim=True) * groups).flatten(-2)
    return along


def turned(x: Tensor, rates: Tensor) -> Tensor:
    """Ω x: channel pairs (a, b) to rate · (b, -a), antisymmetric, so tangent to the sphere where n is even; rates (1,) or (D/2,)."""
    first, second = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((rates * second, -rates * first), dim=-1).flatten(-2)


def normalise_real(x: Tensor, real: Tensor, dimension: int, eps: float) -> Tensor:
    """Mean 0 and spread 1 of each n consecutive channels over the real tokens of x (B, N, D), `real` (B, N); no token, no statistics."""
    groups, counted = x.unflatten(-1, (-1, dimension)), real[:, :, None, None]
    wide = groups.float() if groups.dtype in (torch.float16, torch.bfloat16) else groups
    count = (counted.sum((1, 3), keepdim=True) * dimension).clamp_min(1)
    centred = wide - (wide * counted).sum((1, 3), keepdim=True) / count
    variance = (centred.square() * counted).sum((1, 3), keepdim=True) / count
    normed: Tensor = (centred * (variance + eps).rsqrt()).flatten(-2)
    return normed.to(x.dtype)

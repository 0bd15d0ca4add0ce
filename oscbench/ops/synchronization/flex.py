"""Selective synchronization through FlexAttention: softmax over log S is S / Σ S.

One sender more, with S = 1e-8 and the value 0, makes the sum Σ S + 1e-8 and gives a receiver with nobody to hear 0.
The forward pass is FlexAttention's, compiled; the backward pass is that of `blocked`, which computes S again.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention

from oscbench.ops.compiling import compiled
from oscbench.ops.masking import silence
from oscbench.ops.phases import at_least_float32
from oscbench.ops.synchronization import blocked, registration, tiles
from oscbench.ops.synchronization.order import backend_through


def _attend(
    omega: Tensor,
    v: Tensor,
    norms: Tensor,
    near: Tensor,
    rate: Tensor,
    heard: Tensor,
    last: int,
    is_causal: bool,
    with_total: bool,
) -> Any:
    """FlexAttention over N + 1 places, of which `last` is the sender with S = 1e-8."""

    def log_strength(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        gap = (norms[b, h, i] + norms[b, h, j] - 2.0 * score).clamp_min(0.0)
        square = torch.exp(rate[h] * gap) - near[b, h, i] * gap
        # r = 0 comes as near = infinite, and infinite times 0 is no number: oneself and nobody else.
        square = torch.where(i == j, 1.0 + 0.0 * score, torch.where(near[b, h, i] < math.inf, square, 0.0))
        apart = (square <= 0.0) | ~heard[b, j]
        if is_causal:
            apart = apart | (i < j)
        strength = torch.where(apart, -math.inf, 0.5 * torch.log(torch.where(apart, 1.0, square)))
        return torch.where(j == last, math.log(tiles.SUM_EPSILON), strength)

    if with_total:
        return flex_attention(omega, omega, v, score_mod=log_strength, scale=1.0, return_lse=True)
    return flex_attention(omega, omega, v, score_mod=log_strength, scale=1.0)


@functools.cache
def _compiled() -> Callable[..., Any]:
    # Uncompiled, FlexAttention writes out N × N scores.
    attend: Callable[..., Any] = compiled(_attend, dynamic=True)
    return attend


@torch.library.custom_op("oscbench::selective_synchronization_flex", mutates_args=())
def synchronize(
    omega: Tensor,
    order: Tensor,
    v: Tensor,
    coupling: Tensor,
    alpha: Tensor,
    key_padding_mask: Tensor | None,
    edge: float,
    is_causal: bool,
) -> tuple[Tensor, Tensor]:
    """(Σ_j S_ij v_j / T_i in v's dtype, T_i = Σ_j S_ij + 1e-8); on the CPU T is not known and reads 0."""
    batch, _, tokens, _ = omega.shape
    points = tiles.centred(omega, key_padding_mask, is_causal).to(omega.dtype)
    norms = torch.nn.functional.pad(points.float().square().sum(-1), (0, 1))
    near = 1.0 / (coupling.float()[:, None] * order.float()) ** 2
    near = torch.nn.functional.pad(near.expand((*norms.shape[:2], tokens)), (0, 1), value=1.0)
    heard = torch.ones(batch, tokens + 1, dtype=torch.bool, device=omega.device)
    if key_padding_mask is not None:
        heard[:, :-1] = ~key_padding_mask
    points, values = (
        torch.nn.functional.pad(x, (0, 0, 0, 1)) for x in (points, silence(v, key_padding_mask))
    )
    with_total = omega.device.type == "cuda"
    with torch.no_grad():
        found = _compiled()(
            points, values, norms, near, -2.0 * alpha.float(), heard, tokens, is_causal, with_total
        )
    out, total = (found[0], found[1].exp()) if with_total else (found, torch.zeros_like(norms))
    return out[:, :, :-1].contiguous(), total[:, :, :-1, None].contiguous()


synchronize.register_fake(registration.mean_and_sum_like)


def _backward(
    grad: Tensor, mean: Tensor, total: Tensor, *inputs: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    *given, edge, is_causal = inputs
    found: tuple[Tensor, Tensor, Tensor, Tensor, Tensor] = blocked.synchronize_backward(
        grad, at_least_float32(mean), total, *given, None, edge, is_causal, False
    )
    return found


registration.differentiate(synchronize, _backward)
registration.count_forward("selective_synchronization_flex")

run = backend_through(synchronize)
"""The public function's backend."""

"""Uniform mixing: every token hears every other equally, the floor that any attention should beat.

Idea:
    A token hears the mean of all values; what is left of attention when the choice is taken away.

Equation:
    out_i = mean_j v_j, over the senders that i may hear; eq. 1 of Vaswani et al. 2017, arXiv 1706.03762, with q = 0.

Symbols:
    V -> v (B, N, D).

Deviations:
    None. The mean needs no scores: it is a sum, or a running sum where it is causal, and not N² equal weights.

Cost:
    4 N D² FLOPs a layer for two projections (sums count none), memory linear in N, no state; cache D a layer, however many tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from oscbench.mechanisms import (
    Context,
    Mechanism,
    MechanismConfig,
    Mixed,
    PerLayer,
    Shape,
    State,
    Traits,
)
from oscbench.ops.masking import allowed
from oscbench.ops.operations import Operations, linear_operations
from oscbench.ops.running_sums import running_sum


class UniformConfig(MechanismConfig):
    """Uniform mixing has no settings."""


class _Maps(nn.Module):
    """Value and output maps of one layer, under the names that they have in softmax, so that they start equal."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.v = nn.Linear(width, width)
        self.out = nn.Linear(width, width)


class Uniform(Mechanism):
    """The mean of all values."""

    Config = UniformConfig
    version = 1
    label = "uniform"
    traits = Traits(needs_position=True, cacheable=True, floor=True)

    def __init__(self, config: UniformConfig, shape: Shape) -> None:
        super().__init__(config, shape)
        self.layers: PerLayer[_Maps] = PerLayer(_Maps(shape.width) for _ in range(shape.layers))

    def mix(self, layer: int, tokens: Tensor, state: State, context: Context) -> Mixed:
        """The mean of the values that a token may hear, projected."""
        maps = self.layers[layer]
        values = maps.v(tokens)
        update = maps.out(_means(layer, values, context))
        if not context.diagnostics:
            return Mixed(update)
        hears = allowed(
            tokens.shape[1],
            tokens.device,
            is_causal=context.is_causal,
            key_padding_mask=context.key_padding_mask,
        ).to(tokens.dtype)
        weights = hears / hears.sum(-1, keepdim=True).clamp_min(1.0)
        return Mixed(update, {"attention": weights.expand(len(tokens), self.shape.heads, -1, -1)})

    def operations(self, tokens: int, evaluations: float = 0.0) -> Operations:
        """Two projections a layer, and a sum and a division a channel."""
        del evaluations
        width = self.shape.width
        mean = Operations(reductions=width, divisions=width)
        return self.shape.layers * (2 * linear_operations(tokens, width, width) + mean)


def _means(layer: int, values: Tensor, context: Context) -> Tensor:
    """Of values (B, N, D), for every receiver; sums run in float32 at least, since a running sum of halves drifts."""
    wide = values.to(torch.promote_types(values.dtype, torch.float32))
    real = torch.ones_like(wide[..., :1])
    if context.key_padding_mask is not None:
        real = (~context.key_padding_mask)[..., None].to(wide.dtype)
        wide = wide.masked_fill(context.key_padding_mask[..., None], 0.0)  # NaN times 0 would be NaN
    if context.cache is not None:
        first = context.first
        sums, counts = context.cache.accumulate(layer, wide.sum(1, keepdim=True), real.sum(1, keepdim=True))
        if first:
            return (sums / counts.clamp_min(1.0)).to(values.dtype)
    if context.is_causal:
        means = running_sum(wide, 1) / running_sum(real, 1).clamp_min(1.0)
    else:
        means = (wide.sum(1, keepdim=True) / real.sum(1, keepdim=True).clamp_min(1.0)).expand_as(wide)
    return means.to(values.dtype)


mechanism = Uniform

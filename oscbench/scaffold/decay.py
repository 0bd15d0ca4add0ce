"""Decay: a token hears what is near, in weights that halve with distance and ask for no fit.

Idea:
    A token hears a mean of all values in which nearness alone counts; what is left of attention when only places choose.

Equation:
    out_i = Σ_j w_ij v_j / Σ_j w_ij with w_ij = 2^(-|p_i - p_j|/half_life); the decay of eq. 5, arXiv 2307.08621, without queries and keys.

Symbols:
    V -> v (B, H, N, d); γ -> 2^(-1/half_life), half_life in tokens or patches.

Deviations:
    Normalised and, where not causal, both ways; CLS and registers, which stand nowhere, are at distance 0 of everybody.

Cost:
    2 N² D + 4 N D² FLOPs a layer, N² weights; no state.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import nn

from oscbench.mechanisms import Context, Mechanism, MechanismConfig, Mixed, PerLayer, Shape, State, Traits
from oscbench.ops.masking import allowed, silence
from oscbench.ops.operations import Operations, linear_operations


class DecayConfig(MechanismConfig):
    """Settings of decay.

    Attributes:
        half_life: distance at which a sender counts half [tokens; in images rows + columns of patches].
    """

    half_life: float = Field(default=2.0, gt=0.0)


class Maps(nn.Module):
    """Of one layer, under the names that they have in softmax (`q`, `k`, `v`, `out`), so that they start equal."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.v = nn.Linear(width, width)
        self.out = nn.Linear(width, width)


class Decay(Mechanism):
    """A mean of values that fades with distance."""

    Config = DecayConfig
    version = 1
    label = "decay"
    traits = Traits(order_sensitive=True)
    own_position = "distance"

    def __init__(self, config: DecayConfig, shape: Shape) -> None:
        super().__init__(config, shape)
        self.layers: PerLayer[Maps] = PerLayer(Maps(shape.width) for _ in range(shape.layers))

    def mix(self, layer: int, tokens: torch.Tensor, state: State, context: Context) -> Mixed:
        """Weights from places, times values, projected."""
        maps = self.layers[layer]
        v = self.split_heads(maps.v(tokens))
        places, special = context.positions.coordinates, context.positions.special
        distance = (places[:, None] - places).abs().sum(-1).masked_fill(special[:, None] | special, 0.0)
        hears = allowed(
            v.shape[2], v.device, is_causal=context.is_causal, key_padding_mask=context.key_padding_mask
        )
        weights = (0.5 ** (distance / self.config.half_life) * hears).to(v.dtype)
        weights = weights / weights.sum(-1, keepdim=True).clamp_min(1e-6)
        update = maps.out(self.merge_heads(weights @ silence(v, context.key_padding_mask)))
        if not context.diagnostics:
            return Mixed(update)
        return Mixed(update, {"attention": weights.expand(len(v), self.shape.heads, -1, -1)})

    def operations(self, tokens: int, evaluations: float = 0.0) -> Operations:
        """Two projections and one product with the weights a layer; an exponential a pair, a sum and a division a row."""
        width, pairs = self.shape.width, tokens * tokens
        rows = Operations(
            multiply_adds=pairs * width, exponentials=pairs, reductions=tokens, divisions=tokens
        )
        return self.shape.layers * (2 * linear_operations(tokens, width, width) + rows)


mechanism = Decay

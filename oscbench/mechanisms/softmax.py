"""Softmax attention, the baseline.

Idea:
    A token hears every other in proportion to the exponential of how well its query fits their keys.

Equation:
    out = softmax(q kᵀ/√d) v, eq. 1 of Vaswani et al. 2017, arXiv 1706.03762.

Symbols:
    Q, K, V -> q, k, v (B, H, N, d); d_k -> head width d.

Deviations:
    None. Positions come from the backbone (learned by default).

Cost:
    4 N² D + 8 N D² FLOPs a layer, memory linear in N with a fused kernel, no state; cache 2 D a token and layer.
"""

from __future__ import annotations

from torch import Tensor

from oscbench.mechanisms import (
    Context,
    Mechanism,
    MechanismConfig,
    Mixed,
    PerLayer,
    Shape,
    State,
    Traits,
    one_hot_values,
)
from oscbench.mechanisms._projected import Projections
from oscbench.ops import decode, softmax_attention
from oscbench.ops.operations import Operations, attention_operations, linear_operations


class SoftmaxConfig(MechanismConfig):
    """Softmax attention has no settings."""


class Softmax(Mechanism):
    """Multi-head softmax attention."""

    Config = SoftmaxConfig
    version = 1
    label = "softmax"
    traits = Traits(needs_position=True, cacheable=True)
    disorders = ("coupling",)

    def __init__(self, config: SoftmaxConfig, shape: Shape) -> None:
        super().__init__(config, shape)
        self.layers: PerLayer[Projections] = PerLayer(Projections(shape.width) for _ in range(shape.layers))

    def mix(self, layer: int, tokens: Tensor, state: State, context: Context) -> Mixed:
        """softmax(q kᵀ/√d) v, projected."""
        maps = self.layers[layer]
        q, k, v = (self.split_heads(x) for x in maps(tokens))
        update = maps.out(self.merge_heads(self._attend(layer, q, k, v, context)))
        if not context.diagnostics:
            return Mixed(update)
        weights = softmax_attention(q, k, one_hot_values(tokens.shape[1], q), **context.hearing())
        return Mixed(update, {"attention": weights})

    def _attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, context: Context) -> Tensor:
        if self.disorder is not None:
            causal, mask = context.is_causal, context.key_padding_mask
            return self.disorder.softmax_attention(q, k, v, is_causal=causal, key_padding_mask=mask)
        if context.cache is not None:
            senders = context.cache.extend(layer, k, v)
            if context.first:
                return decode.softmax_attention(q, *senders)
        return softmax_attention(q, k, v, **context.hearing())

    def operations(self, tokens: int, evaluations: float = 0.0) -> Operations:
        """Four projections and one attention a layer."""
        del evaluations
        shape = self.shape
        attention = attention_operations("softmax_attention", 1, shape.heads, tokens, shape.head_width)
        return shape.layers * (4 * linear_operations(tokens, shape.width, shape.width) + attention)


mechanism = Softmax

"""RoPE: softmax attention that sees relative position as a rotation.

Idea:
    Queries and keys are turned by an angle that grows with position, so that scores depend on where tokens stand to one
    another.

Equation:
    q̃ = R(φ_i) q_i, k̃ = R(φ_j) k_j, eq. 34 of RoFormer (Su et al. 2021), arXiv 2104.09864; over images the first half of the
    pairs turns with the row and the second with the column.

Symbols:
    θ_i -> base^(-2i/d) [rad per index]; m -> position.

Deviations:
    CLS and register tokens have angle 0. Base 20 over images, as in KoPE (arXiv 2604.07904), 10 000 over sequences. No positions
    are added to tokens; `position: learned` adds them, as KoPE's recipe has them. `rotate_values` turns values forth by the
    sender's angle and back by the receiver's, o_i = R(-φ_i) Σ_j a_ij R(φ_j) v_j, as KoPE does: with learned positions this is
    KoPE without mixing and steps.

Cost:
    As softmax, and 4 N D multiply-adds for the rotations a layer; no state that changes; cache 2 D a token and layer.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from oscbench.mechanisms import (
    Context,
    Mechanism,
    MechanismConfig,
    Mixed,
    PerLayer,
    Positions,
    Shape,
    State,
    Traits,
    one_hot_values,
)
from oscbench.mechanisms._projected import Projections
from oscbench.mechanisms._rotary import starting_waves
from oscbench.ops import decode, kope_attention, rotate
from oscbench.ops.operations import Operations, attention_operations, linear_operations


class RoPEConfig(MechanismConfig):
    """Settings of RoPE.

    Attributes:
        base: of the frequencies; by default 10 000 over sequences and 20 over images.
        position: `none` as published, or `learned` positions added to the tokens, as KoPE has them;
            what KoPE then has beyond it is turned values, mixing and steps.
        rotate_values: turn values too.
    """

    base: float | None = Field(default=None, gt=1.0)
    position: Literal["none", "learned"] = "none"
    rotate_values: bool = False


class RoPE(Mechanism):
    """Multi-head softmax attention with rotary positions."""

    Config = RoPEConfig
    version = 1
    label = "RoPE"
    traits = Traits(order_sensitive=True, cacheable=True)
    own_position = "rotary angles"
    examples = ({"position": "learned"}, {"rotate_values": True})

    def __init__(self, config: RoPEConfig, shape: Shape) -> None:
        super().__init__(config, shape)
        self.traits = Traits(
            order_sensitive=True, needs_position=self.learns_position(config), cacheable=True
        )
        self.layers: PerLayer[Projections] = PerLayer(Projections(shape.width) for _ in range(shape.layers))

    @classmethod
    def learns_position(cls, config: RoPEConfig) -> bool:
        """As its setting says."""
        return config.position == "learned"

    def start(self, positions: Positions, tokens: Tensor) -> State:
        """Cos and sin of the rotary angles, (N, d/2), the same in all heads and layers."""
        return starting_waves(positions, self.shape, self.config.base, self.shape.head_width, tokens.dtype)

    def mix(self, layer: int, tokens: Tensor, state: State, context: Context) -> Mixed:
        """Rotated queries and keys, and values where these turn too."""
        assert state is not None
        maps = self.layers[layer]
        q, k, v = (self.split_heads(x) for x in maps(tokens))
        update = maps.out(self.merge_heads(self._attend(layer, q, k, v, state, context)))
        if not context.diagnostics:
            return Mixed(update)
        values = one_hot_values(tokens.shape[1], q)
        weights = kope_attention(q, k, values, *state, rotate_values=False, **context.hearing())
        return Mixed(update, {"attention": weights})

    def _attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, phases: tuple[Tensor, ...], context: Context
    ) -> Tensor:
        cos, sin = phases
        rotate_values = self.config.rotate_values
        if context.cache is not None:
            turned_v = rotate(v, cos, sin) if rotate_values else v
            senders = context.cache.extend(layer, rotate(k, cos, sin), turned_v)
            if context.first:
                return decode.kope_attention(q, cos, sin, *senders, rotate_values=rotate_values)
        return kope_attention(q, k, v, cos, sin, rotate_values=rotate_values, **context.hearing())

    def operations(self, tokens: int, evaluations: float = 0.0) -> Operations:
        """Four projections, one attention and the turning of queries, keys and perhaps values a layer."""
        del evaluations
        shape = self.shape
        rotated = 4 if self.config.rotate_values else 2
        attention = attention_operations(
            "kope_attention", 1, shape.heads, tokens, shape.head_width, rotated=rotated
        )
        return shape.layers * (4 * linear_operations(tokens, shape.width, shape.width) + attention)


mechanism = RoPE

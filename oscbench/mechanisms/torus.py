"""Kuramoto attention on the torus: every hidden coordinate is an angle.

Idea:
    The residual stream holds angles; tokens whose angles agree pull one another's angles together, and no values are learned.

Equation:
    s_tu = Σ_n g_tn cos(φ_tn + lag_n - φ_un), φ_tn = θ_tn + t·ω_n, A = softmax(s), θ_t += step·Σ_u A_tu sin(θ_u - θ_t);
    arXiv 2606.11585. The lag is Sakaguchi's α.

Symbols:
    θ -> tokens [rad], (B, N, D), split into H heads of n = D/H; g -> gate; ω -> drift [rad per index]; Δ -> tangent.

Deviations:
    The public text leaves gate, lag, step and feed-forward open; these are ours. The gate is a static metric (softplus, at 1),
    or linear in the receiver's (cos θ, sin θ) through softplus (`token`) or without it (`signed`, the default); the step is
    learned for each layer and head, from 1; the MLP reads (cos θ, sin θ) and adds to θ. The default leaves a token out of its own
    audience: its own pull is 0, so hearing itself only slows it down.

Cost:
    8 N² D FLOPs a layer (attention of width 2n) and the gate's 4 N D²; no projections, no state beside the tokens;
    cache D a token and layer (θ), and n numbers a token for the drift.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import softplus

from oscbench.mechanisms import (
    AngularStream,
    Context,
    Mechanism,
    MechanismConfig,
    Mixed,
    PerLayer,
    Positions,
    Shape,
    State,
    Traits,
    linear_flops,
    one_hot_values,
)
from oscbench.mechanisms._rotary import starting_angles
from oscbench.ops import decode, softmax_attention, torus_attention
from oscbench.ops.flops import attention_flops
from oscbench.ops.operations import Operations, attention_operations, linear_operations
from oscbench.ops.phases import rotate_parts

SOFTPLUS_ONE = math.log(math.e - 1.0)  # softplus of it is 1


class TorusConfig(MechanismConfig):
    """Settings of torus attention.

    Attributes:
        gate: `static` (non-negative, learned per head and coordinate), `token` (from the receiver, through softplus) or
            `signed` (from the receiver, as it is).
        lag: learn a phase lag per head and coordinate.
        drift: rotary position as a phase drift in the score.
        include_self: whether a token hears itself.
        base: of the drift's frequencies; by default 20 over images and 10 000 over sequences.
    """

    gate: Literal["static", "token", "signed"] = "signed"
    lag: bool = True
    drift: bool = True
    include_self: bool = False
    base: float | None = Field(default=None, gt=1.0)


class Torus(Mechanism):
    """Attention among angles."""

    Config = TorusConfig
    version = 1
    label = "torus"
    traits = Traits(order_sensitive=True, cacheable=True)
    own_position = "drift"
    own_position_setting = "drift"
    examples = (
        {"gate": "static"},
        {"gate": "token", "include_self": True},
        {"lag": False, "drift": False},
        {"gate": "static", "include_self": True, "drift": False},
    )
    stream = AngularStream()

    def __init__(self, config: TorusConfig, shape: Shape) -> None:
        super().__init__(config, shape)
        self.traits = Traits(
            order_sensitive=config.drift, needs_position=self.learns_position(config), cacheable=True
        )
        heads, angles = shape.heads, shape.head_width
        if config.gate == "static":
            self.gate = nn.Parameter(torch.full((shape.layers, heads, 1, angles), SOFTPLUS_ONE))
        else:
            self.gates: PerLayer[nn.Linear] = PerLayer(
                nn.Linear(2 * shape.width, shape.width) for _ in range(shape.layers)
            )
            start = 1.0 if config.gate == "signed" else SOFTPLUS_ONE
            self.gate_offset = nn.Parameter(torch.full((shape.layers, heads, 1, angles), start))
        if config.lag:
            self.lag = nn.Parameter(torch.zeros(shape.layers, heads, 1, angles))
        self.step = nn.Parameter(torch.ones(shape.layers, heads, 1, 1))

    @classmethod
    def learns_position(cls, config: TorusConfig) -> bool:
        """Where it has no drift."""
        return not config.drift

    def start(self, positions: Positions, tokens: Tensor) -> State:
        """The drift's angles (N, n) in float64, where there is a drift; they never change."""
        if not self.config.drift:
            return None
        return (starting_angles(positions, self.shape, self.config.base, 2 * self.shape.head_width),)

    def mix(self, layer: int, tokens: Tensor, state: State, context: Context) -> Mixed:
        """The pull of the other tokens' angles, times the step."""
        theta = self.split_heads(tokens)
        gate = self._gate(layer, tokens)
        drift = None if state is None else state[0]
        lag = self.lag[layer] if self.config.lag else None
        tangent = self._pull(layer, theta, gate, drift, lag, context)
        update = self.merge_heads(self.step[layer].to(tangent.dtype) * tangent)
        if not context.diagnostics:
            return Mixed(update)
        return Mixed(update, {"attention": self._weights(theta, gate, drift, lag, context), "phases": theta})

    def _pull(
        self,
        layer: int,
        theta: Tensor,
        gate: Tensor,
        drift: Tensor | None,
        lag: Tensor | None,
        context: Context,
    ) -> Tensor:
        include_self = self.config.include_self
        if context.cache is not None:
            (others,) = context.cache.extend(("angles", layer), theta)
            if drift is not None and layer == 0:  # the same in every layer
                context.cache.extend("drift", drift)
            if context.first:
                turned = None if drift is None else drift - context.cache.kept("drift", num_new=1)[0]
                return decode.torus_attention(
                    theta, gate, others, drift=turned, lag=lag, include_self=include_self
                )
        return torus_attention(
            theta, gate, drift=drift, lag=lag, include_self=include_self, **context.hearing()
        )

    def _gate(self, layer: int, tokens: Tensor) -> Tensor:
        if self.config.gate == "static":
            return softplus(self.gate[layer])
        raw = self.split_heads(self.gates[layer](self.stream.features(tokens))) + self.gate_offset[layer]
        return softplus(raw) if self.config.gate == "token" else raw

    def _weights(
        self, theta: Tensor, gate: Tensor, drift: Tensor | None, lag: Tensor | None, context: Context
    ) -> Tensor:
        """The attention matrix, through the score's form as a dot product of width 2n."""
        key = theta.cos(), theta.sin()
        if drift is not None:
            key = rotate_parts(*key, drift.cos().to(theta.dtype), drift.sin().to(theta.dtype))
        query = key if lag is None else rotate_parts(*key, lag.cos(), lag.sin())
        weights = softmax_attention(
            torch.cat([gate * part for part in query], dim=-1),
            torch.cat(key, dim=-1),
            one_hot_values(theta.shape[-2], theta),
            scale=1.0,
            is_causal=context.is_causal,
            key_padding_mask=context.key_padding_mask,
        )
        if self.config.include_self:
            return weights
        others = weights - torch.diag_embed(weights.diagonal(dim1=-2, dim2=-1))
        return others / others.sum(-1, keepdim=True).clamp_min(torch.finfo(others.dtype).tiny)

    def flops(self, tokens: int) -> int:
        """One attention of width 2n a layer, and the gate's projection where it depends on the receiver."""
        shape = self.shape
        attention = attention_flops("torus_attention", 1, shape.heads, tokens, shape.head_width)
        gate = 0 if self.config.gate == "static" else linear_flops(tokens, 2 * shape.width, shape.width)
        return shape.layers * (attention + gate)

    def token_flops(self, senders: int) -> int:
        """One receiver's sines of differences need no width 2n: 4 n FLOPs a pair instead of 8 n."""
        spared = self.shape.layers * 4 * senders * self.shape.width
        return super().token_flops(senders) - spared

    def operations(self, tokens: int, evaluations: float = 0.0) -> Operations:
        """One attention and the gate a layer, and the sines and cosines that MLPs and read-out see."""
        del evaluations
        shape = self.shape
        layer = attention_operations("torus_attention", 1, shape.heads, tokens, shape.head_width)
        if self.config.gate != "static":
            layer = layer + linear_operations(tokens, 2 * shape.width, shape.width)
        if self.config.gate == "token":
            layer = layer + Operations(exponentials=tokens * shape.width)
        features = Operations(trigonometric=2 * tokens * shape.width)
        return shape.layers * (layer + features) + features


mechanism = Torus

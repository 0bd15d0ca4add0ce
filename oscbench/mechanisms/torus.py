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
    audience: its own pull is 0, so hearing itself only slows it down. Three variants go beyond the text: a factor on the gate,
    `values: projected`, which adds W_o Σ_u A_tu W_v (cos θ_u, sin θ_u), and `delay: 1`, our reading of a follow-up (arXiv 2606.18694)
    that we know by its opening alone: Δ_tn = Σ_{u<t} A_tu [sin(θ_un - θ_tn) + β_n sin(θ_{u+1,n} - θ_tn)], β learned from 0.

Cost:
    8 N² D FLOPs a layer (attention of width 2n) and the gate's 4 N D²; no projections, no state beside the tokens;
    cache D a token and layer (θ), and n numbers a token for the drift. Projected values take 8 N² D + 6 N D² more, and D a token and
    layer; the delay takes 8 N² D more: fused kernels have one width for all, so that each computes the scores anew. One softmax over all
    that is heard would take 1.3 to 1.7 times fewer for the pairs, and N² memory.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field, model_validator
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
)
from oscbench.mechanisms._rotary import starting_angles
from oscbench.mechanisms._torus_hearing import Hearing
from oscbench.ops.masking import allowed
from oscbench.ops.operations import Operations, attention_operations, linear_operations
from oscbench.ops.precision import as_given
from oscbench.ops.torus.scores import features
from oscbench.settings import added

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
        values: `none`, or `projected` (ours): what attention hears of learned values is added to the pull.
        gate_scale: factor on the gate, and so on the score; 1 is as published.
        step: start of the learned step.
        delay: 1 (ours): a token is also pulled towards the successors of those that it hears; only where tokens have an order, without self.
    """

    gate: Literal["static", "token", "signed"] = "signed"
    lag: bool = True
    drift: bool = True
    include_self: bool = False
    base: float | None = Field(default=None, gt=1.0)
    values: Literal["none", "projected"] = added("none", neutral="none")
    gate_scale: float = added(1.0, neutral=1.0, gt=0.0)
    step: float = added(1.0, neutral=1.0)
    delay: Literal[0, 1] = added(0, neutral=0)

    @model_validator(mode="after")
    def _successors_of_others(self) -> TorusConfig:
        if self.delay and self.include_self:
            raise ValueError(
                "delay needs include_self: false, since a token's own successor lies in its future"
            )
        return self


class Values(nn.Module):
    """W_v and W_o of projected values."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.v = nn.Linear(2 * width, width)
        self.out = nn.Linear(width, width)


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
        {"values": "projected", "gate_scale": 0.5},
        {"values": "projected", "include_self": True, "step": 0.5},
    )
    stream = AngularStream()

    def __init__(self, config: TorusConfig, shape: Shape) -> None:
        super().__init__(config, shape)
        if config.delay and shape.axes != 1:
            raise ValueError("torus: delay needs tokens in an order, as in a sequence; an image has none")
        self.traits = Traits(
            order_sensitive=config.drift or bool(config.delay),
            needs_position=self.learns_position(config),
            cacheable=True,
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
        self.step = nn.Parameter(torch.full((shape.layers, heads, 1, 1), config.step))
        self.values: PerLayer[Values] = PerLayer(
            Values(shape.width) for _ in range(shape.layers if config.values == "projected" else 0)
        )
        if config.delay:
            self.delay = nn.Parameter(torch.zeros(shape.layers, heads, 1, angles))

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
        hearing = self._hearing(layer, theta, gate, None if state is None else state[0], context)
        tangent = hearing.tangent()
        if self.config.delay:
            tangent = tangent + self.delay[layer].to(tangent.dtype) * hearing.successors()
        update = self.merge_heads(self.step[layer].to(tangent.dtype) * tangent)
        if self.config.values == "projected":
            maps = self.values[layer]
            values = self.split_heads(maps.v(self.stream.features(tokens)))
            if context.cache is not None:
                (values,) = context.cache.extend(("values", layer), values)
            update = update + maps.out(self.merge_heads(hearing.mean(values)))
        if not context.diagnostics:
            return Mixed(update)
        return Mixed(update, {"attention": self._weights(hearing), "phases": theta})

    def _hearing(
        self, layer: int, theta: Tensor, gate: Tensor, drift: Tensor | None, context: Context
    ) -> Hearing:
        lag = self.lag[layer] if self.config.lag else None
        others = None
        if context.cache is not None:
            (kept,) = context.cache.extend(("angles", layer), theta)
            if drift is not None and layer == 0:  # the same in every layer
                context.cache.extend("drift", drift)
            if context.first:
                others = kept
                drift = None if drift is None else drift - context.cache.kept("drift", num_new=1)[0]
        return Hearing(theta, gate, drift, lag, self.config.include_self, context, others)

    def _gate(self, layer: int, tokens: Tensor) -> Tensor:
        if self.config.gate == "static":
            gate = softplus(self.gate[layer])
        else:
            raw = self.split_heads(self.gates[layer](self.stream.features(tokens))) + self.gate_offset[layer]
            gate = softplus(raw) if self.config.gate == "token" else raw
        return gate if self.config.gate_scale == 1.0 else self.config.gate_scale * gate

    def _weights(self, hearing: Hearing) -> Tensor:
        """The attention matrix, through the score's form as a dot product of width 2n.

        An own score that is not heard is left out before the softmax: a dominant one would leave no digits of the others.
        """
        theta, context = hearing.theta, hearing.context
        hears = allowed(
            theta.shape[-2],
            theta.device,
            is_causal=context.is_causal,
            key_padding_mask=context.key_padding_mask,
            include_self=self.config.include_self,
        )
        with as_given(theta.device):
            q, k, _ = features(theta, hearing.gate, hearing.drift, hearing.lag)
            weights = (q @ k.mT).masked_fill(~hears, -torch.inf).softmax(-1)
        return weights.masked_fill(~hears.any(-1, keepdim=True), 0.0).to(theta.dtype)

    @property
    def _attentions(self) -> int:
        """Attentions of width 2n a layer: what the variants hear takes one each."""
        return 1 + int(self.config.values == "projected") + int(self.config.delay > 0)

    def token_flops(self, senders: int) -> int:
        """One receiver needs no width 2n: of 8 n FLOPs a pair 2 n each for scores and for what is heard, 4 n for successors."""
        spared = 4 * (self._attentions - int(self.config.delay > 0)) + 2 * int(self.config.delay > 0)
        return super().token_flops(senders) - self.shape.layers * spared * senders * self.shape.width

    def operations(self, tokens: int, evaluations: float = 0.0) -> Operations:
        """Attentions of width 2n, projections of gate and values where they are learned, and the sines that MLPs and read-out see."""
        del evaluations
        shape, config = self.shape, self.config
        layer = self._attentions * attention_operations(
            "torus_attention", 1, shape.heads, tokens, shape.head_width, drift=config.drift, lag=config.lag
        )
        if config.values == "projected":
            layer = layer + 3 * linear_operations(tokens, shape.width, shape.width)
        if config.gate != "static":
            layer = layer + linear_operations(tokens, 2 * shape.width, shape.width)
        if config.gate == "token":
            layer = layer + Operations(exponentials=tokens * shape.width)
        waves = Operations(trigonometric=2 * tokens * shape.width)
        return shape.layers * (layer + waves) + waves


mechanism = Torus

"""SSA: closed-form selective synchronization.

Idea:
    Every token has a natural frequency and hears those whose frequency its own can lock to; the rest are exactly silent.

Equation:
    S_ij = J_ij √(1 - (Δ_ij/τ_ij)²) where Δ ≤ τ = K r J, J = exp(-αΔ²), else 0; out_i = Σ_j S_ij v_j / Σ_j S_ij;
    arXiv 2602.14445 (closed-form selective synchronization, OSN block).

Symbols:
    ω -> omega, θ -> theta (B, H, N, d); K -> softplus(raw_coupling); α_h -> softplus(raw_alpha); r -> order parameter; Δ -> gap.

Deviations:
    The root's slope is bounded by `edge` (0 is literal). Causal: r runs over the prefix, since the authors' r over the whole
    sequence leaks the future. The published start locks no pair at common head widths; `init_locked` scales W_ω on the first
    batch until that share of pairs locks, head by head. Position is off as published, or learned. The authors' dropout of the
    weights is left out, as that of every mechanism here.

Cost:
    4 N² D + 8 N D² FLOPs, one exponential and one root a pair; memory linear in N with the blocked kernel; no state;
    cache 2 D a token and layer, and 2 D sums a layer for r.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import softplus

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
from oscbench.ops import decode, selective_synchronization
from oscbench.ops.masking import allowed
from oscbench.ops.operations import Operations, attention_operations, linear_operations
from oscbench.ops.precision import as_given
from oscbench.ops.synchronization.order import order_parameter

CALIBRATION_SAMPLES = 16
BISECTIONS = 40


class SSAConfig(MechanismConfig):
    """Settings of SSA.

    Attributes:
        init_locked: share of pairs that lock at the start; None is the published start.
        position: `none` as published, or `learned` positions added to the tokens.
        top_k: keep only so many strongest pairs a row; among equals (tokens of one frequency) any.
        edge: bound on the root's slope in the backward pass; 0 is literal.
    """

    init_locked: float | None = Field(default=None, gt=0.0, lt=1.0)
    position: Literal["none", "learned"] = "none"
    top_k: int | None = Field(default=None, ge=1)
    edge: float = Field(default=0.05, ge=0.0)


class SSALayer(nn.Module):
    """W_ω, W_θ, W_v, W_o with bias, K for the layer and α for each head."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.omega = nn.Linear(shape.width, shape.width)
        self.theta = nn.Linear(shape.width, shape.width)
        self.v = nn.Linear(shape.width, shape.width)
        self.out = nn.Linear(shape.width, shape.width)
        self.raw_coupling = nn.Parameter(torch.ones(()))
        self.raw_alpha = nn.Parameter(torch.ones(shape.heads))


class SSA(Mechanism):
    """Average over the tokens whose frequency locks."""

    Config = SSAConfig
    version = 1
    label = "SSA"
    traits = Traits(cacheable=True)
    examples = ({"init_locked": 0.5, "position": "learned"}, {"init_locked": 0.3, "top_k": 3}, {"edge": 0.0})

    def __init__(self, config: SSAConfig, shape: Shape) -> None:
        super().__init__(config, shape)
        self.traits = Traits(needs_position=self.learns_position(config), cacheable=True)
        self.layers: PerLayer[SSALayer] = PerLayer(SSALayer(shape) for _ in range(shape.layers))

    @classmethod
    def learns_position(cls, config: SSAConfig) -> bool:
        """As its setting says."""
        return config.position == "learned"

    def mix(self, layer: int, tokens: Tensor, state: State, context: Context) -> Mixed:
        """Selective synchronization of the layer's frequencies, projected."""
        maps = self.layers[layer]
        with as_given(tokens.device):  # who locks is decided by differences of frequencies
            omega, theta = (self.split_heads(m(tokens)) for m in (maps.omega, maps.theta))
        v = self.split_heads(maps.v(tokens)).to(omega.dtype)
        update = maps.out(self.merge_heads(self._hear(layer, omega, theta, v, context)))
        if not context.diagnostics:
            return Mixed(update)
        values = one_hot_values(tokens.shape[1], omega)
        weights = self._attend(layer, omega, theta, values, context, top_k=self.config.top_k)
        order = order_parameter(theta, is_causal=context.is_causal, key_padding_mask=context.key_padding_mask)
        kept = self.config.top_k
        # All that lock count, as in `calibrate`, whether or not top_k keeps them.
        locking = weights if kept is None else self._attend(layer, omega, theta, values, context, top_k=None)
        found = {
            "attention": weights,
            "locked_share": _locked_share(locking, context).mean(),
            "global_order": order.mean(),
        }
        return Mixed(update, found)

    def _hear(self, layer: int, omega: Tensor, theta: Tensor, v: Tensor, context: Context) -> Tensor:
        if context.cache is not None:
            senders = context.cache.extend(("senders", layer), omega, v)
            sums = context.cache.accumulate(("order", layer), *decode.order_sums(theta))
            if context.first:
                maps, top_k = self.layers[layer], self.config.top_k
                coupling, alpha = softplus(maps.raw_coupling), softplus(maps.raw_alpha)
                return decode.selective_synchronization(
                    omega, sums, *senders, coupling=coupling, alpha=alpha, top_k=top_k
                )
        return self._attend(layer, omega, theta, v, context, top_k=self.config.top_k)

    def _attend(
        self, layer: int, omega: Tensor, theta: Tensor, v: Tensor, context: Context, top_k: int | None
    ) -> Tensor:
        maps = self.layers[layer]
        return selective_synchronization(
            omega,
            theta,
            v,
            coupling=softplus(maps.raw_coupling),
            alpha=softplus(maps.raw_alpha),
            top_k=top_k,
            edge=self.config.edge,
            **context.hearing(),
        )

    @torch.no_grad()
    def calibrate(self, layer: int, tokens: Tensor, state: State, context: Context) -> dict[str, Any] | None:
        """Scale W_ω, head by head, until the wanted share of pairs j ≠ i locks on this batch."""
        if self.config.init_locked is None:
            return None
        maps = self.layers[layer]
        some = tokens[:CALIBRATION_SAMPLES]
        mask = None if context.key_padding_mask is None else context.key_padding_mask[:CALIBRATION_SAMPLES]
        context = Context(context.positions, context.is_causal, mask)
        omega, theta = self.split_heads(maps.omega(some)), self.split_heads(maps.theta(some))
        values = one_hot_values(some.shape[1], omega)

        def share(scale: Tensor) -> Tensor:
            # All that lock count, whether or not top_k keeps them: it would set the share a ceiling that no scale reaches.
            scaled = omega * scale[:, None, None]
            weights = self._attend(layer, scaled, theta, values, context, top_k=None)
            return _locked_share(weights, context)

        low = torch.full((self.shape.heads,), -12.0, device=tokens.device)
        high = -low
        for _ in range(BISECTIONS):  # the share falls as the scale grows
            middle = (low + high) / 2
            too_few = share(middle.exp()) < self.config.init_locked
            low, high = torch.where(too_few, low, middle), torch.where(too_few, middle, high)
        scale = ((low + high) / 2).exp()
        rows = scale.repeat_interleave(self.shape.head_width)
        maps.omega.weight.mul_(rows[:, None])
        if maps.omega.bias is not None:
            maps.omega.bias.mul_(rows)
        return {
            "layer": layer,
            "target_locked_share": self.config.init_locked,
            "locked_share": share(scale).tolist(),
            "omega_scale": scale.tolist(),
        }

    def operations(self, tokens: int, evaluations: float = 0.0) -> Operations:
        """Four projections and one synchronization a layer."""
        del evaluations
        shape = self.shape
        attention = attention_operations(
            "selective_synchronization", 1, shape.heads, tokens, shape.head_width
        )
        return shape.layers * (4 * linear_operations(tokens, shape.width, shape.width) + attention)


def _locked_share(weights: Tensor, context: Context) -> Tensor:
    """Share of real pairs j ≠ i (j < i when causal) with a weight above 0, for each head (H,)."""
    mask = context.key_padding_mask
    pairs = allowed(
        weights.shape[-1],
        weights.device,
        is_causal=context.is_causal,
        key_padding_mask=mask,
        include_self=False,
    )
    if mask is not None:
        pairs = pairs & ~mask[:, None, :, None]
    pairs = pairs.expand(weights.shape[0], 1, -1, -1)
    locked = ((weights > 0) & pairs).sum(dim=(0, 2, 3))
    return locked / pairs.sum().clamp_min(1)


mechanism = SSA

"""Fixed-query oscillator attention: free oscillators settle between learned anchors.

Idea:
    Every token's oscillator is pulled towards one learned anchor a position, as hard as its query fits that position's key, and
    where it comes to rest says whom it hears.

Equation:
    W_ij = softplus(q_i·k_j/√d), ẋ_i = (I - x_i x_iᵀ) Σ_j W_ij r_j, x*_i = h_i/‖h_i‖, a_ij ∝ (1 + x*_i·r_j)^p;
    arXiv 2606.12059 (Lohe dynamics, fixed point, read-out).

Symbols:
    W_q, W_k, W_v -> q, k, v (no bias), W_o -> out (bias); r -> anchors (layers, H, max_len, d_osc); z, x -> state; p -> exponent.

Deviations:
    Anchors are normalised in every forward pass (`anchors: free` is the authors' code, which does so at the start only). Padding is
    masked in the read-out too (`mask_readout: false` is published). The ODE runs at unit speed, ĥ = h/‖h‖, to T = 30.

Cost:
    4 N² D + 4 N² H d_osc FLOPs literally; 2 N² (D + H d_osc) with the linear read-out of p = 1, plus 8 N D²; anchors N H d_osc; cache D a
    token and layer (k) and (d_osc + 1)(d + 1) H sums a layer for p = 1, otherwise 2 D a token and layer (k, v).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

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
from oscbench.ops import decode, fixed_query_attention
from oscbench.ops.disorder import KINDS
from oscbench.ops.dispatch import UnsupportedError
from oscbench.ops.fixed_query.cost import IMPLEMENTATIONS, fixed_query_stage
from oscbench.ops.fixed_query.reference import fixed_point, pull, read_out
from oscbench.ops.operations import Operations, attention_operations, linear_operations
from oscbench.ops.precision import as_given, widened

if TYPE_CHECKING:
    from oscbench.ops.fixed_query.ode import Settled


class FixedQueryConfig(MechanismConfig):
    """Settings of fixed-query attention.

    Attributes:
        d_osc: dimension of the oscillators' sphere; 2 is the scalar Kuramoto case.
        coupling: `softplus`, `relu` or `elu`.
        exponent: p of the read-out; 2 and 4 sharpen.
        anchors: `unit`, or `free` as in the authors' code (literal backend only).
        mask_readout: keep padding out of the read-out; False is published (literal backend only).
        dynamics: `analytic` uses the fixed point, `ode` integrates.
        solver: `dopri5`, or fixed steps by `euler`, `midpoint`, `rk4`.
        horizon: T of the integration [1/‖h‖].
        num_steps: of a fixed-step solver.
        tolerance: relative and absolute, of dopri5.
    """

    d_osc: int = Field(default=8, ge=2)
    coupling: Literal["softplus", "relu", "elu"] = "softplus"
    exponent: Literal[1, 2, 4] = 1
    anchors: Literal["unit", "free"] = "unit"
    mask_readout: bool = True
    dynamics: Literal["analytic", "ode"] = "analytic"
    solver: Literal["dopri5", "euler", "midpoint", "rk4"] = "dopri5"
    horizon: float = Field(default=30.0, gt=0.0)
    num_steps: int = Field(default=100, ge=1)
    tolerance: float = Field(default=1e-4, gt=0.0)


class FixedQuery(Mechanism):
    """Oscillators on a sphere, read out against anchors."""

    Config = FixedQueryConfig
    version = 1
    label = "fixed query"
    # Anchors belong to positions: they are a positional code by themselves.
    traits = Traits(order_sensitive=True, cacheable=True)
    own_position = "anchors"
    disorders = KINDS
    why_not_cached = (
        "dopri5 chooses its steps for all positions together, so a token alone is integrated otherwise"
    )
    learns_places = True  # the anchors
    starts: Tensor
    examples = (
        {"d_osc": 2, "exponent": 4, "coupling": "relu"},
        {"exponent": 2, "coupling": "elu"},
        {"anchors": "free"},
        {"anchors": "free", "exponent": 2},
        {"dynamics": "ode", "solver": "rk4", "num_steps": 60},
        {"dynamics": "ode"},
    )

    def __init__(self, config: FixedQueryConfig, shape: Shape) -> None:
        super().__init__(config, shape)
        iterative = config.dynamics == "ode"
        adaptive = iterative and config.solver == "dopri5"
        self.traits = Traits(order_sensitive=True, iterative=iterative, cacheable=not adaptive)
        self.layers: PerLayer[Projections] = PerLayer(
            Projections(shape.width, bias=False) for _ in range(shape.layers)
        )
        size = (shape.layers, shape.heads, shape.max_length, config.d_osc)
        self.anchors = nn.Parameter(normalize(torch.randn(size, generator=shape.generator), dim=-1))
        if config.dynamics == "ode":
            # One row a position, drawn in order: a position's start does not depend on how many follow it.
            starts = torch.randn(shape.max_length, config.d_osc, generator=shape.generator)
            self.register_buffer("starts", normalize(starts, dim=-1), persistent=False)

    def mix(self, layer: int, tokens: Tensor, state: State, context: Context) -> Mixed:
        """Pull, settle, read out, project."""
        maps = self.layers[layer]
        q, k, v = (self.split_heads(x) for x in maps(tokens))
        attend = self._analytic
        if self.config.dynamics == "ode":
            q, k, v, attend = widened(q), widened(k), widened(v), self._integrate
        anchors = self._anchors(layer, q, context)
        out = None
        if self.disorder is not None:
            attend = self._disturbed
        else:
            out = self._hear_kept(layer, q, k, v, anchors, context)
        if out is None:
            with as_given(q.device):
                out, _ = attend(q, k, v, anchors, context)
        update = maps.out(self.merge_heads(out))
        if not context.diagnostics:
            return Mixed(update)
        values = one_hot_values(tokens.shape[1], q)
        weights, found = attend(q, k, values, anchors, context)
        drive = self._pull(q, k, anchors, context)
        found["anchors"] = anchors.expand(len(q), -1, -1, -1)
        return Mixed(update, {"attention": weights, "pull": drive, **found})

    def _hear_kept(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, anchors: Tensor, context: Context
    ) -> Tensor | None:
        """Keep what later tokens need; after the first pass, what the one new token hears."""
        if context.cache is None:
            return None
        first, exponent = context.first, self.config.exponent
        linear = exponent == 1 and self.config.anchors == "unit"  # free anchors may be cut off at 0
        kept = context.cache.extend(("senders", layer), *((k,) if linear else (k, v)))
        if linear:
            new = decode.anchor_sums(v, anchors[:, first:])
            (sums,) = context.cache.accumulate(("read-out", layer), new)
        if not first:
            return None
        h = decode.pull(q, kept[0], anchors, coupling=self.config.coupling)
        ode = self.config.dynamics == "ode"
        state = self._settle(h, first).state if ode else decode.fixed_point(h)
        if linear:
            return decode.linear_read_out(state, sums).to(v.dtype)
        return decode.read_out(state, kept[1], anchors, exponent=exponent)

    def _anchors(self, layer: int, q: Tensor, context: Context) -> Tensor:
        """Of the tokens up to the pass's last."""
        anchors = self.anchors[layer]
        reach = context.reach(q.shape[-2])
        if anchors.shape[1] < reach:
            raise UnsupportedError(
                f"fixed_query has anchors for {anchors.shape[1]} positions, got {reach} tokens"
            )
        anchors = anchors[:, : context.first + q.shape[-2]]
        if self.config.anchors == "unit":
            anchors = normalize(anchors, dim=-1)
        return anchors.to(q.dtype)

    def _analytic(
        self, q: Tensor, k: Tensor, v: Tensor, anchors: Tensor, context: Context
    ) -> tuple[Tensor, dict[str, Tensor]]:
        free = self.config.anchors == "free" or not self.config.mask_readout
        out = fixed_query_attention(
            q,
            k,
            v,
            anchors,
            coupling=self.config.coupling,
            exponent=self.config.exponent,
            mask_readout=self.config.mask_readout,
            is_causal=context.is_causal,
            key_padding_mask=context.key_padding_mask,
            backend="reference" if free else context.backend,
            validate=False if self.config.anchors == "free" else None,
        )
        return out, {}

    def _integrate(
        self, q: Tensor, k: Tensor, v: Tensor, anchors: Tensor, context: Context
    ) -> tuple[Tensor, dict[str, Tensor]]:
        settled = self._settle(self._pull(q, k, anchors, context), context.first)
        out = self._read_out(settled.state, v, anchors, context)
        found = {
            "evaluations": torch.tensor(float(settled.evaluations)),
            "near_antipodal_share": settled.near_antipodal,
            "unconverged_share": settled.unconverged,
        }
        return out, found

    def _disturbed(
        self, q: Tensor, k: Tensor, v: Tensor, anchors: Tensor, context: Context
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The closed form, built of the imperfect parts that `disorder` says."""
        assert self.disorder is not None
        h = self._pull(q, k, anchors, context)
        state = self.disorder.states(fixed_point(h), h)
        return self._read_out(state, v, anchors, context), {}

    def _pull(self, q: Tensor, k: Tensor, anchors: Tensor, context: Context) -> Tensor:
        return pull(
            q,
            k,
            anchors,
            coupling=self.config.coupling,
            is_causal=context.is_causal,
            key_padding_mask=context.key_padding_mask,
            disorder=self.disorder,
        )

    def _read_out(self, state: Tensor, v: Tensor, anchors: Tensor, context: Context) -> Tensor:
        return read_out(
            state,
            v,
            anchors,
            exponent=self.config.exponent,
            mask_readout=self.config.mask_readout,
            is_causal=context.is_causal,
            key_padding_mask=context.key_padding_mask,
        )

    def _settle(self, h: Tensor, first: int) -> Settled:
        from oscbench.ops.fixed_query.ode import settle  # torchdiffeq loads only where it is used

        return settle(
            h,
            self.starts[first : first + h.shape[-2]],
            solver=self.config.solver,
            horizon=self.config.horizon,
            num_steps=self.config.num_steps,
            rtol=self.config.tolerance,
            atol=self.config.tolerance,
        )

    def operations(self, tokens: int, evaluations: float = 0.0) -> Operations:
        """Four projections, one attention (the closed form's, for the ODE too) and the solver's evaluations of (I - xxᵀ)h a layer."""
        shape, config = self.shape, self.config
        attention = attention_operations(
            "fixed_query_attention",
            1,
            shape.heads,
            tokens,
            shape.head_width,
            oscillator_width=config.d_osc,
            exponent=config.exponent,
            coupling=config.coupling,
            clamped=config.anchors == "free",
        )
        rows = shape.heads * tokens
        # ‖x‖², x/‖x‖, h·x and h - (h·x)x, one multiply-add each a coordinate.
        solver = Operations(
            elementwise=round(evaluations * 4 * rows * config.d_osc),
            reductions=round(evaluations * rows),
            divisions=round(evaluations * rows),
        )
        return shape.layers * (self._projected(tokens) + attention + solver)

    def implementations(self, tokens: int) -> dict[str, Operations]:
        """The published accounting: a literal read-out, and one or both stages left to physics."""
        shape, config = self.shape, self.config
        products = Operations(multiply_adds=shape.heads * tokens * tokens * shape.head_width)
        around = self._projected(tokens) + 2 * products  # scores and values
        return {
            way: shape.layers
            * (around + fixed_query_stage(shape.heads, tokens, config.d_osc, config.coupling, way))
            for way in IMPLEMENTATIONS
        }

    def _projected(self, tokens: int) -> Operations:
        return 4 * linear_operations(tokens, self.shape.width, self.shape.width)


mechanism = FixedQuery

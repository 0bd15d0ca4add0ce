"""KoPE: rotary phases that start at position and synchronise with the tokens that attention picks.

Idea:
    Every token carries phases beside its channels; attention works in the frame of those phases, and after each block the
    phases take one Kuramoto step towards those of related tokens.

Equation:
    c', s' = c M, s' = s M (mixing), o = R(-φ') softmax(R(φ')q (R(φ')k)ᵀ/√d) R(φ')v, and after the MLP
    θ_i += arctan(γ Σ_j A_ij sin(θ_j - θ_i)); KoPE, arXiv 2604.07904 (phase mixing, rotated attention, coupling step).

Symbols:
    u = (cos p, sin p) -> state (cos, sin), each (B, H, N, d/2); G -> mix; γ -> gamma [rad per unit pull];
    W_q, W_k of the coupling -> Coupling.q, Coupling.k; qk-norm scale -> Coupling.scale.

Deviations:
    The last block's step is left out where no further pass reads its phases. Causal use masks attention and coupling (the paper
    has no causal path). One-dimensional positions use base 10 000. Linear maps start as the whole model's do.

Cost:
    Softmax's, and a layer (but the last) two D × D projections and one more attention; state N D numbers; cache 4 D a token and
    layer (turned k and v, coupling k, phases), 2 D where no step follows.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

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
from oscbench.ops import decode, kope_attention, kuramoto_step, mix_phases, rotate, softmax_attention
from oscbench.ops.dispatch import UnsupportedError
from oscbench.ops.kope import mixed_kope_attention
from oscbench.ops.masking import hears_nobody
from oscbench.ops.norms import scaled_rms_norm
from oscbench.ops.operations import Operations, attention_operations, linear_operations
from oscbench.ops.phases import mixing_operations, rotate_parts
from oscbench.settings import added


class KoPEConfig(MechanismConfig):
    """Settings of KoPE; every ablation and control of the paper and its reviewers is one of them.

    Attributes:
        gamma: step size γ; 0 is the same function as `dynamics: frozen`, but pays for the coupling.
        learn_gamma: make γ a parameter, softplus of a raw number, at most 1.
        dynamics: `kuramoto`; `frozen` (phases stay at position, the coupling module is absent: "w/o Kuramoto");
            `random_walk` (control: steps of the same size in random directions, fixed per token);
            `averaged` (control: a state of the same size and cost that is plainly averaged, with no tangent projection;
            mixing brings its pairs back to length 1 before attention, and averages of phases agree more and more, so that
            it synchronises nearly as Kuramoto's steps do: it says what the projection is worth, not what synchrony is).
        coupling: one coupling module `shared` by all blocks, or one `per_block`.
        rotate_values: turn values too; False is "only qk rotation".
        mix: mix phases within a head before they rotate.
        mix_gain: gain of the mixing noise.
        base: of the starting frequencies; by default 20 over images and 10 000 over sequences.
        coupling_rate: factor on the learning rate of the coupling module; 0.5 in one of the authors' recipes.
    """

    gamma: float = Field(default=0.05, ge=0.0, le=1.0)
    learn_gamma: bool = False
    dynamics: Literal["kuramoto", "frozen", "random_walk", "averaged"] = "kuramoto"
    coupling: Literal["shared", "per_block"] = "shared"
    rotate_values: bool = True
    mix: bool = True
    mix_gain: float = Field(default=0.1, ge=0.0)
    base: float | None = Field(default=None, gt=1.0)
    coupling_rate: float = added(1.0, neutral=1.0, gt=0.0)


class Coupling(nn.Module):
    """Who pulls whom: RMS-normalised queries and keys of the residual stream."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.q = nn.Linear(shape.width, shape.width)
        self.k = nn.Linear(shape.width, shape.width)
        self.scale = nn.Parameter(torch.ones(shape.heads, 1, shape.head_width))


class KoPE(Mechanism):
    """Attention in the frame of synchronising phases."""

    Config = KoPEConfig
    version = 1
    label = "KoPE"
    directions: Tensor
    examples = (
        {"dynamics": "frozen"},
        {"dynamics": "random_walk", "gamma": 0.3},
        {"dynamics": "averaged", "gamma": 0.3},
        {"coupling": "per_block", "learn_gamma": True},
        {"rotate_values": False, "mix": False},
    )
    # The paper's recipe has learned positions beside the phases.
    traits = Traits(order_sensitive=True, needs_position=True, cacheable=True)
    own_position = "phases"

    def __init__(self, config: KoPEConfig, shape: Shape) -> None:
        super().__init__(config, shape)
        heads, pairs = shape.heads, shape.head_width // 2
        self.layers: PerLayer[Projections] = PerLayer(Projections(shape.width) for _ in range(shape.layers))
        steps = shape.layers if shape.carried else shape.layers - 1
        self.num_steps = 0 if config.dynamics == "frozen" else steps
        if config.mix:
            # The authors' Xavier call on the 3-D tensor [H, m, m]; its fan rule gives this spread.
            spread = config.mix_gain * (2.0 / (pairs * pairs + heads * pairs)) ** 0.5
            noise = torch.randn(shape.layers, heads, pairs, pairs, generator=shape.generator)
            self.mixing = nn.Parameter(torch.eye(pairs) + spread * noise)
        modules = 1 if config.coupling == "shared" else self.num_steps
        self.couplings: PerLayer[Coupling] = PerLayer(
            Coupling(shape) for _ in range(modules if self.num_steps else 0)
        )
        if config.learn_gamma and self.num_steps:
            self.raw_gamma = nn.Parameter(torch.expm1(torch.tensor(max(config.gamma, 1e-6))).log())
        if config.dynamics == "random_walk":
            self.register_buffer("directions", _random_directions(shape, self.num_steps), persistent=False)

    def start(self, positions: Positions, tokens: Tensor) -> State:
        """Rotary phases of the positions, equal in all heads."""
        width, base = self.shape.head_width, self.config.base
        cos, sin = starting_waves(positions, self.shape, base, width, tokens.dtype)
        shape = (tokens.shape[0], self.shape.heads, *cos.shape)
        return cos.expand(shape), sin.expand(shape)

    def mix(self, layer: int, tokens: Tensor, state: State, context: Context) -> Mixed:
        """Attention over queries, keys and values turned by the mixed phases."""
        assert state is not None
        cos, sin = carried = state
        maps = self.layers[layer]
        q, k, v = (self.split_heads(x) for x in maps(tokens))
        if self.config.mix and context.cache is None:
            heard, cos, sin = mixed_kope_attention(
                q,
                k,
                v,
                cos,
                sin,
                self.mixing[layer],
                rotate_values=self.config.rotate_values,
                **context.hearing(),
            )
        else:
            if self.config.mix:
                cos, sin = mix_phases(cos, sin, self.mixing[layer])
            heard = self._attend(layer, q, k, v, (cos, sin), context)
        update = maps.out(self.merge_heads(heard))
        if not context.diagnostics:
            return Mixed(update)
        values = one_hot_values(tokens.shape[1], q)
        weights = kope_attention(q, k, values, cos, sin, rotate_values=False, **context.hearing())
        phases = {"phases": torch.atan2(sin, cos)}
        if self.config.mix:
            phases["carried_phases"] = torch.atan2(carried[1], carried[0])
        return Mixed(update, {"attention": weights, **phases})

    def _attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, phases: tuple[Tensor, Tensor], context: Context
    ) -> Tensor:
        rotate_values = self.config.rotate_values
        if context.cache is not None:
            turned_v = rotate(v, *phases) if rotate_values else v
            senders = context.cache.extend(("attention", layer), rotate(k, *phases), turned_v)
            if context.first:
                return decode.kope_attention(q, *phases, *senders, rotate_values=rotate_values)
        return kope_attention(q, k, v, *phases, rotate_values=rotate_values, **context.hearing())

    def advance(self, layer: int, tokens: Tensor, state: State, context: Context) -> State:
        """One Kuramoto step of the unmixed phases."""
        assert state is not None
        if layer >= self.num_steps:
            return state
        coupling = self.couplings[0 if self.config.coupling == "shared" else layer]
        q = scaled_rms_norm(self.split_heads(coupling.q(tokens)), coupling.scale)
        k = scaled_rms_norm(self.split_heads(coupling.k(tokens)))
        senders = None
        if context.cache is not None:
            kept = context.cache.extend(("coupling", layer), k, torch.cat(state, dim=-1))
            senders = kept if context.first else None
        if self.config.dynamics == "averaged":
            return self._average(q, k, state, senders, context)
        new = self._step(q, k, state, senders, context)
        if self.config.dynamics == "random_walk":
            return self._walk(layer, state, new, context)
        return new

    def _step(
        self,
        q: Tensor,
        k: Tensor,
        state: tuple[Tensor, ...],
        senders: tuple[Tensor, ...] | None,
        context: Context,
    ) -> tuple[Tensor, Tensor]:
        cos, sin = state
        if senders is not None:
            return decode.kuramoto_step(q, cos, sin, *senders, gamma=self.gamma())
        return kuramoto_step(q, k, cos, sin, gamma=self.gamma(), **context.hearing())

    def gamma(self) -> float | Tensor:
        """Step size γ."""
        if self.config.learn_gamma and self.num_steps:
            return nn.functional.softplus(self.raw_gamma).clamp_max(1.0)
        return float(self.config.gamma)

    def _walk(self, layer: int, old: tuple[Tensor, ...], new: tuple[Tensor, ...], context: Context) -> State:
        """A step as long as the Kuramoto step would have been, forwards or backwards by a fixed draw."""
        (old_cos, old_sin), (new_cos, new_sin) = old, new
        num_tokens, drawn = old_cos.shape[-2], self.directions.shape[2]
        if context.reach(num_tokens) > drawn:
            raise UnsupportedError(
                f"kope drew random walks for {drawn} tokens, got {context.reach(num_tokens)}"
            )
        signs = self.directions[layer, :, context.first : context.first + num_tokens].to(old_cos.dtype)
        # sin and cos of the step's angle; turning back is the same step with its sine negated.
        step_cos, step_sin = rotate_parts(new_cos, new_sin, old_cos, -old_sin)
        return rotate_parts(old_cos, old_sin, step_cos, signs * step_sin)

    def _average(
        self,
        q: Tensor,
        k: Tensor,
        state: tuple[Tensor, ...],
        senders: tuple[Tensor, ...] | None,
        context: Context,
    ) -> State:
        gamma = self.gamma()
        pairs = torch.cat(state, dim=-1)
        mean = (
            softmax_attention(q.to(pairs.dtype), k.to(pairs.dtype), pairs, **context.hearing())
            if senders is None
            else decode.softmax_attention(*(one.to(pairs.dtype) for one in (q, *senders)))
        )
        if context.key_padding_mask is not None:
            mean = torch.where(hears_nobody(context.key_padding_mask, context.is_causal), pairs, mean)
        cos, sin = (pairs + gamma * (mean - pairs)).chunk(2, dim=-1)
        return cos, sin

    def operations(self, tokens: int, evaluations: float = 0.0) -> Operations:
        """Four projections, mixing and one attention with its turning a layer; two projections and one Kuramoto step between layers.

        The step comes with its update and the RMS norms of the coupling.
        """
        del evaluations
        shape = self.shape
        sizes = (1, shape.heads, tokens, shape.head_width)
        square = linear_operations(tokens, shape.width, shape.width)
        rotated = 4 if self.config.rotate_values else 2
        mixing = mixing_operations(shape.heads, tokens, shape.head_width // 2)
        layer = 4 * square + attention_operations("kope_attention", *sizes, rotated=rotated)
        rows = shape.heads * tokens
        norms = Operations(elementwise=tokens * shape.width, reductions=2 * rows, divisions=2 * rows)
        step = 2 * square + norms + self._step_operations(sizes)
        return shape.layers * (layer + mixing * int(self.config.mix)) + self.num_steps * step

    def _step_operations(self, sizes: tuple[int, int, int, int]) -> Operations:
        channels = sizes[1] * sizes[2] * sizes[3]
        if self.config.dynamics == "averaged":
            return attention_operations("softmax_attention", *sizes) + Operations(elementwise=2 * channels)
        step = attention_operations("kuramoto_step", *sizes)
        if self.config.dynamics == "random_walk":  # the step's angle, and the turn by it
            step = step + Operations(elementwise=4 * channels)
        return step

    def learning_rates(self) -> list[tuple[float, list[nn.Parameter]]]:
        """The coupling module, where it has a rate of its own."""
        own = list(self.couplings.parameters()) if self.config.coupling_rate != 1.0 else []
        return [(self.config.coupling_rate, own)] if own else []

    def notes(self) -> list[str]:
        """One layer, or frozen phases: no step is ever taken."""
        return ["phases only"] if self.num_steps == 0 else []


def _random_directions(shape: Shape, steps: int) -> Tensor:
    """Signs ±1, (steps, H, max_length, d/2), each token's own draw, so that no token's depends on how many there are."""
    seed = int(torch.randint(2**31, (1,), generator=shape.generator, device="cpu"))
    draws = []
    for token in range(shape.max_length):
        generator = torch.Generator().manual_seed(seed + token)
        draws.append(torch.randint(2, (steps, shape.heads, shape.head_width // 2), generator=generator))
    return torch.stack(draws, dim=2) * 2 - 1


mechanism = KoPE

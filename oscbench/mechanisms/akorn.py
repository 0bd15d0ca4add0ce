"""AKOrN: vectors on spheres, pulled by one another and by the tokens, for several steps inside each layer.

Idea:
    Beside its channels every token carries oscillators on a sphere; attention among the oscillators and the token itself pull
    them, step after step, and where they have come to is what the layer tells.

Equation:
    T times y = J(x) + c, x ← normalise(x + γ (Ω x + y - (y·x) x)), each oscillator by itself; then the read-out ‖W x‖ + b, norms
    of n numbers each; AKOrN, arXiv 2410.13821 (eq. 2, read-out module; J is attention).

Symbols:
    x -> state (B, N, D), D/n oscillators; n -> dimension; T -> steps; J -> layers (q, k, v, out); c -> `condition` of the tokens;
    Ω -> rates [rad per step and γ]; γ -> gamma; W, b -> read_out, bias; E = -Σ x·y -> diagnostics `energies`.

Deviations:
    c is what the trunk hands every mechanism, normalised tokens, and the read-out joins the residual stream, where the authors' is
    c itself. Statistics of c run over positions as theirs do, but over real ones alone, and over a token's own channels where
    causal, since positions to come would leak. A rate is one signed number, theirs the length of two; `rotation: off` adds nothing,
    and `identity` is theirs without Ω. Noise is drawn once for each position, so that a model is a function; `redraw` draws it
    anew in every training step. Rotary positions (`rotary`) are not learned as in their GTA.

Cost:
    T times softmax's, and 2 N D² n for the read-out; state N D numbers; cache 2 T D a token and layer (k and v of every step).
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
from oscbench.mechanisms._counts import Counter
from oscbench.mechanisms._projected import Projections
from oscbench.mechanisms._rotary import starting_angles
from oscbench.ops import decode, kope_attention, rotate, softmax_attention
from oscbench.ops.dispatch import UnsupportedError
from oscbench.ops.operations import Operations, attention_operations, linear_operations
from oscbench.ops.spheres import normalise_real, tangent, turned, unit


class AKOrNConfig(MechanismConfig):
    """Settings of AKOrN.

    Attributes:
        dimension: n, of the space that a sphere lies in; 2 are circles.
        steps: T, inner steps of a layer; 16 in the authors' Sudoku.
        gamma: step size γ, or its start.
        learn_gamma: make γ a parameter of each layer.
        rotation: Ω: one rate for all pairs of channels (`shared`), one `per_pair`, `identity` (the authors' without Ω: x itself is
            added, which shortens the step) or `off`.
        omega: start of the rates [rad per step and γ].
        project: take the pull's part along x away; False is the authors' ablation.
        condition: statistics that normalise c: over real `positions` (`token` where causal), over each `token`, or `none`.
        start: `noise`, but for tokens that are known, which start from their embedding; or `embedding` for all.
        redraw: new noise in every training step, as the authors have it.
        rotary: turn queries, keys, values and outputs of J by rotary positions.
    """

    dimension: int = Field(default=4, ge=2, multiple_of=2)
    steps: int = Field(default=8, ge=1)
    gamma: float = Field(default=1.0, gt=0.0)
    learn_gamma: bool = False
    rotation: Literal["shared", "per_pair", "identity", "off"] = "shared"
    omega: float = 0.5
    project: bool = True
    condition: Literal["positions", "token", "none"] = "positions"
    start: Literal["noise", "embedding"] = "noise"
    redraw: bool = False
    rotary: bool = False


class Oscillators(nn.Module):
    """What a layer has beside its J: the norm of c, rates, step size and read-out."""

    def __init__(self, config: AKOrNConfig, width: int) -> None:
        super().__init__()
        if config.condition != "none":
            self.norm = nn.GroupNorm(width // config.dimension, width)
        if config.rotation in ("shared", "per_pair"):
            count = 1 if config.rotation == "shared" else width // 2
            self.rates = nn.Parameter(torch.full((count,), config.omega))
        if config.learn_gamma:
            self.gamma = nn.Parameter(torch.tensor(config.gamma))
        self.read_out = nn.Linear(width, width * config.dimension)
        self.bias = nn.Parameter(torch.zeros(width))


class AKOrN(Mechanism):
    """Artificial Kuramoto oscillatory neurons with attention as their connections."""

    Config = AKOrNConfig
    version = 1
    label = "AKOrN"
    traits = Traits(order_sensitive=True, iterative=True, needs_position=True, cacheable=True)
    own_position = "rotary angles"
    own_position_setting = "rotary"
    residual_outputs = ("read_out",)
    noise: Tensor
    num_draws: Tensor
    examples = (
        {"dimension": 2, "steps": 3, "rotation": "per_pair", "learn_gamma": True, "gamma": 0.5},
        {"steps": 2, "start": "embedding", "rotary": True, "condition": "token", "rotation": "off"},
        {"steps": 2, "project": False, "rotation": "identity", "condition": "none"},
        {"steps": 1},
    )

    def __init__(self, config: AKOrNConfig, shape: Shape) -> None:
        super().__init__(config, shape)
        if shape.width % config.dimension:
            raise ValueError(
                f"width {shape.width} does not divide into oscillators of dimension {config.dimension}"
            )
        noisy = config.start == "noise"
        self.traits = Traits(
            order_sensitive=noisy or config.rotary, iterative=True, needs_position=True, cacheable=True
        )
        self.layers: PerLayer[Projections] = PerLayer(Projections(shape.width) for _ in range(shape.layers))
        self.oscillators: PerLayer[Oscillators] = PerLayer(
            Oscillators(config, shape.width) for _ in range(shape.layers)
        )
        if noisy:
            self.seed = int(torch.randint(2**31, (1,), generator=shape.generator, device="cpu"))
            self.register_buffer("noise", _noise(self.seed, shape), persistent=False)
            self.draws_anew, self.counter = config.redraw, Counter()
            if config.redraw:
                self.register_buffer("num_draws", torch.zeros((), dtype=torch.int64))

    def start(self, positions: Positions, tokens: Tensor) -> State:
        """Oscillators (B, N, D) before the first layer, each of length 1, in float32 or better.

        Drawn noise is one stream over a batch: another number of tokens, or another place in the batch, has another start. Only without
        `redraw` is the start that of a position, whatever else is there.
        """
        if self.config.start == "embedding":
            return (unit(tokens, self.config.dimension),)
        num_tokens = tokens.shape[1]
        if num_tokens > len(self.noise):
            raise UnsupportedError(f"akorn drew its start for {len(self.noise)} tokens, got {num_tokens}")
        if self.config.redraw and (self.training or self.draw is not None):
            number = (
                self.shape.max_length + self.counter.up(self.num_draws) if self.draw is None else self.draw
            )
            generator = torch.Generator().manual_seed((self.seed + number) % 2**63)
            drawn = torch.randn(tokens.shape, generator=generator, pin_memory=tokens.is_cuda)
            drawn = drawn.to(tokens, non_blocking=True)
        elif self.shape.axes == 1:  # one token of a generation stands where its index says
            drawn = self.noise[positions.coordinates[:, 0].long()].to(tokens.dtype).expand_as(tokens)
        else:
            drawn = self.noise[:num_tokens].to(tokens.dtype).expand_as(tokens)
        if positions.unknown is not None:
            drawn = torch.where(positions.unknown[..., None], drawn, tokens)
        return (unit(drawn, self.config.dimension),)

    def mix(self, layer: int, tokens: Tensor, state: State, context: Context) -> Mixed:
        """T steps of the oscillators under J and c, and the read-out of where they are."""
        assert state is not None
        if self.config.start == "noise" and context.reach(tokens.shape[1]) > len(self.noise):
            raise UnsupportedError(
                f"akorn drew its start for {len(self.noise)} tokens, got {context.reach(tokens.shape[1])}"
            )
        config, own = self.config, self.oscillators[layer]
        condition = self._condition(own, tokens, context)
        x, energies = state[0], []
        phases = self._rotary(context, tokens) if config.rotary else None
        padding = context.key_padding_mask

        def silent(energy: Tensor) -> Tensor:
            return energy if padding is None else energy.masked_fill(padding[..., None], 0.0)

        for step in range(config.steps):
            before = x
            pull = self._hear(layer, step, x.to(tokens.dtype), phases, context) + condition
            if context.diagnostics:
                energies.append(-silent(x.double() * pull.double()).sum((1, 2)))
            x = self._moved(own, x, pull)
        numbers = own.read_out(x.to(tokens.dtype)).unflatten(-1, (-1, config.dimension))
        norms = torch.linalg.vector_norm(numbers, dim=-1)
        update = norms + own.bias
        if not context.diagnostics:
            return Mixed(update, state=(x,))
        found = {
            "energies": torch.stack(energies, dim=1),
            "attention": self._weights(layer, before.to(tokens.dtype), context),
        }
        found |= {"energy_first": energies[0].mean(), "energy_last": energies[-1].mean()}
        found["evaluations"] = torch.tensor(float(config.steps))
        if config.dimension == 2 and self.shape.head_width % 2 == 0:
            cos, sin = self.split_heads(x).unflatten(-1, (-1, 2)).unbind(-1)
            found["phases"] = torch.atan2(sin, cos)
        return Mixed(update, found, state=(x,))

    def _condition(self, own: Oscillators, tokens: Tensor, context: Context) -> Tensor:
        """c, normalised: a group is an oscillator's n channels, over all real positions or in one token.

        Two channels of one token are (±1, ∓1) whatever they were, and hardly have a gradient: with n = 2 condition per token says little.
        """
        if self.config.condition == "none":
            return tokens
        norm = own.norm
        if self.config.condition == "token" or context.is_causal:
            per_token: Tensor = norm(tokens.flatten(0, 1)).view_as(tokens)
            return per_token
        if context.key_padding_mask is None:
            over_positions: Tensor = norm(tokens.mT).mT
            return over_positions
        normed = normalise_real(tokens, ~context.key_padding_mask, self.config.dimension, norm.eps)
        over_real: Tensor = normed * norm.weight
        return over_real if norm.bias is None else over_real + norm.bias

    def _hear(
        self, layer: int, step: int, x: Tensor, phases: tuple[Tensor, Tensor] | None, context: Context
    ) -> Tensor:
        """J(x)."""
        maps = self.layers[layer]
        q, k, v = (self.split_heads(part) for part in maps(x))
        heard: Tensor
        senders = None
        if context.cache is not None:
            turned = (k, v) if phases is None else (rotate(k, *phases), rotate(v, *phases))
            kept = context.cache.extend((layer, step), *turned)
            senders = kept if context.first else None
        if senders is not None:
            heard = (
                decode.softmax_attention(q, *senders)
                if phases is None
                else decode.kope_attention(q, *phases, *senders, rotate_values=True)
            )
        elif phases is not None:
            heard = kope_attention(q, k, v, *phases, **context.hearing())
        else:
            heard = softmax_attention(q, k, v, **context.hearing())
        out: Tensor = maps.out(self.merge_heads(heard))
        return out

    def _moved(self, own: Oscillators, x: Tensor, pull: Tensor) -> Tensor:
        """One step, and back to the spheres."""
        config = self.config
        move = tangent(x, pull, config.dimension) if config.project else pull
        if config.rotation == "identity":
            move = move + x
        elif config.rotation != "off":
            move = move + turned(x, own.rates)
        gamma = own.gamma if config.learn_gamma else config.gamma
        return unit(x + gamma * move, config.dimension)

    def _rotary(self, context: Context, tokens: Tensor) -> tuple[Tensor, Tensor]:
        angles = starting_angles(context.positions, self.shape, None, self.shape.head_width)
        return angles.cos().to(tokens.dtype), angles.sin().to(tokens.dtype)

    def _weights(self, layer: int, x: Tensor, context: Context) -> Tensor:
        """Attention of the last step."""
        maps = self.layers[layer]
        q, k = self.split_heads(maps.q(x)), self.split_heads(maps.k(x))
        values = one_hot_values(x.shape[1], q)
        if self.config.rotary:
            phases = self._rotary(context, x)
            return kope_attention(q, k, values, *phases, rotate_values=False, **context.hearing())
        return softmax_attention(q, k, values, **context.hearing())

    def operations(self, tokens: int, evaluations: float = 0.0) -> Operations:
        """T times four projections and one attention, with tangent, turn and norm, a layer; the norm of c; the read-out's map and norms."""
        del evaluations
        shape, config = self.shape, self.config
        channels = tokens * shape.width
        sizes = (1, shape.heads, tokens, shape.head_width)
        op = "kope_attention" if config.rotary else "softmax_attention"
        hear = 4 * linear_operations(tokens, shape.width, shape.width) + attention_operations(op, *sizes)
        # y·x and y - (y·x) x; the turn; x + γ(…); ‖x‖² and x/‖x‖.
        elementwise = 2 * config.project + 2 * (config.rotation in ("shared", "per_pair")) + 3
        oscillators = channels // config.dimension
        move = Operations(elementwise=elementwise * channels, reductions=oscillators, divisions=oscillators)
        norm = Operations(elementwise=3 * channels, reductions=2 * oscillators, divisions=oscillators)
        read_out = linear_operations(tokens, shape.width, shape.width * config.dimension) + Operations(
            elementwise=channels * config.dimension, reductions=channels
        )
        layer: Operations = config.steps * (hear + move) + read_out + norm * int(config.condition != "none")
        return shape.layers * layer


def _noise(seed: int, shape: Shape) -> Tensor:
    """(max_length, D) normal numbers, each position from a generator of its own, so that none depends on how many follow."""
    generators = [torch.Generator(device="cpu").manual_seed(seed + n) for n in range(shape.max_length)]
    return torch.stack([torch.randn(shape.width, generator=each, device="cpu") for each in generators])


mechanism = AKOrN

"""The pre-norm trunk: blocks that differ in nothing but the mechanism, which they never name."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from oscbench.errors import PartError, kind_of
from oscbench.mechanisms import Context, Mechanism, Mixed, State


@dataclass(frozen=True)
class Output:
    """What a model gives: its prediction, and each layer's diagnostics if they were asked for."""

    prediction: Tensor
    diagnostics: list[dict[str, Tensor]] = field(default_factory=list)


@dataclass(frozen=True)
class Pass:
    """One pass through the blocks: tokens (B, N, D) after the last norm, the mechanism's state, diagnostics by layer if asked for."""

    tokens: Tensor
    state: State
    diagnostics: list[dict[str, Tensor]]


Activation = Literal["gelu", "swiglu"]


class MultilayerPerceptron(nn.Module):
    """Linear, GELU, linear, over a token's features; or SwiGLU (arXiv 2002.05202), whose gate is a third linear map."""

    def __init__(
        self, inputs: int, hidden: int, outputs: int, dropout: float, activation: Activation
    ) -> None:
        super().__init__()
        self.up = nn.Linear(inputs, hidden)
        if activation == "swiglu":
            self.gate = nn.Linear(inputs, hidden)
        self.down = nn.Linear(hidden, outputs)
        self.dropout = nn.Dropout(dropout)
        self.activation = activation

    def forward(self, features: Tensor) -> Tensor:
        """(B, N, inputs) -> (B, N, outputs)."""
        up = self.up(features)
        gelu = self.activation == "gelu"
        hidden = nn.functional.gelu(up) if gelu else nn.functional.silu(self.gate(features)) * up
        out: Tensor = self.dropout(self.down(hidden))
        return out


class Trunk(nn.Module):
    """Blocks of mixing and MLP around one mechanism.

    Args:
        mechanism: how tokens hear one another.
        hidden: hidden units of each MLP, which matching moves.
        dropout: on the MLP's output.
        activation: `gelu`, or `swiglu` with its third linear map.
        repeats: times that each block is taken, one after the other, before the next block.
    """

    def __init__(
        self,
        mechanism: Mechanism,
        hidden: int,
        dropout: float = 0.0,
        activation: Activation = "gelu",
        repeats: int = 1,
    ) -> None:
        super().__init__()
        self.repeats = repeats
        self.mechanism = mechanism
        self.hidden = hidden
        self.activation = activation
        width, layers, stream = mechanism.shape.width, mechanism.shape.layers, mechanism.stream
        read = width * stream.features_per_channel
        self.mixing_norms = nn.ModuleList(stream.norm(width) for _ in range(layers))
        self.mlp_norms = nn.ModuleList(stream.norm(width) for _ in range(layers))
        self.mlps = nn.ModuleList(
            MultilayerPerceptron(read, hidden, width, dropout, activation) for _ in range(layers)
        )
        self.final_norm = stream.norm(width)

    @property
    def output_width(self) -> int:
        """Features that a read-out sees."""
        return self.mechanism.shape.width * self.mechanism.stream.features_per_channel

    def forward(self, embeddings: Tensor, context: Context) -> tuple[Tensor, list[dict[str, Tensor]]]:
        """Embeddings (B, N, D) -> features (B, N, output_width), and diagnostics by layer if asked for."""
        stream = self.mechanism.stream
        done = self.run(stream.enter(embeddings), context)
        return stream.features(done.tokens), done.diagnostics

    @torch.no_grad()
    def calibrate(self, embeddings: Tensor, context: Context) -> list[dict[str, Any]]:
        """Let every layer set its start values, in order, each on what the layers before it give."""
        calibrations: list[dict[str, Any]] = []
        self.run(self.mechanism.stream.enter(embeddings), context, calibrations=calibrations)
        return calibrations

    def run(
        self,
        tokens: Tensor,
        context: Context,
        state: State = None,
        *,
        calibrations: list[dict[str, Any]] | None = None,
    ) -> Pass:
        """All blocks, from tokens (B, N, D) as the stream has them; calibrations are those of a block's first time, diagnostics of its last.

        Args:
            tokens: of the stream.
            context: of the pass.
            state: the mechanism's, of a pass before; None starts it.
            calibrations: where the mechanism's calibrations are to be put; None asks for none.
        """
        mechanism, stream = self.mechanism, self.mechanism.stream
        if state is None:
            state = mechanism.start(context.positions, tokens)
        diagnostics = []
        for (layer, mlp), repeat in itertools.product(enumerate(self.mlps), range(self.repeats)):
            if context.cache is not None:
                context.cache.part = repeat
            normed = self.mixing_norms[layer](tokens)
            if calibrations is not None and repeat == 0:
                done = mechanism.calibrate(layer, normed, state, context)
                if done is not None:
                    calibrations.append(done)
            mixed = mechanism.mix(layer, normed, state, context)
            _check(mechanism, layer, mixed, tokens)
            tokens = stream.add(tokens, mixed.update)
            tokens = stream.add(tokens, mlp(stream.features(self.mlp_norms[layer](tokens))))
            state = mechanism.advance(layer, tokens, mixed.state or state, context)
            if context.diagnostics and repeat == self.repeats - 1:
                _check_attention(mechanism, layer, mixed.diagnostics.get("attention"), tokens)
                diagnostics.append(mixed.diagnostics)
        if context.cache is not None:
            context.cache.finish(tokens.shape[1])
        return Pass(self.final_norm(tokens), state, diagnostics)

    def flops(self, tokens: int) -> int:
        """Forward FLOPs a sample: the mechanism's and the MLPs'."""
        return self.repeats * (self.mechanism.flops(tokens) + tokens * self._mlp_flops())

    def token_flops(self, senders: int) -> int:
        """FLOPs of one new token that hears so many, itself counted, all but itself from a cache."""
        return self.repeats * (self.mechanism.token_flops(senders) + self._mlp_flops())

    def _mlp_flops(self) -> int:
        """Of one token in all MLPs."""
        shape = self.mechanism.shape
        ups = 2 if self.activation == "swiglu" else 1
        return shape.layers * 2 * self.hidden * (ups * self.output_width + shape.width)


def _check(mechanism: Mechanism, layer: int, mixed: Any, tokens: Tensor) -> None:
    """Refuse what `mix` may not give; an update that only broadcasts would train, and mean something else."""
    right = isinstance(mixed, Mixed) and isinstance(mixed.update, Tensor)
    if right and mixed.update.shape == tokens.shape:
        return
    where = f"{type(mechanism).__name__}.mix: layer {layer}"
    if not isinstance(mixed, Mixed):
        raise PartError(f"{where}: gave {kind_of(mixed)}; wanted: Mixed, as in `return Mixed(update)`")
    if not isinstance(mixed.update, Tensor):
        raise PartError(f"{where}: gave {kind_of(mixed.update)} as the update; wanted: a Tensor")
    raise PartError(
        f"{where}: the update must be {tuple(tokens.shape)}, as the tokens, got {tuple(mixed.update.shape)}"
    )


def _check_attention(mechanism: Mechanism, layer: int, attention: Any, tokens: Tensor) -> None:
    """Refuse weights of another shape, of which health would be taken all the same."""
    if attention is None:
        return
    batch, heads, count = len(tokens), mechanism.shape.heads, tokens.shape[1]
    got = tuple(attention.shape) if isinstance(attention, Tensor) else kind_of(attention)
    if got != (batch, heads, count, count):
        raise PartError(
            f"{type(mechanism).__name__}.mix: layer {layer}: the diagnostic attention must be {(batch, heads, count, count)}, "
            f"got {got}"
        )


def initialise(
    model: nn.Module, seed: int, embedding_spread: float = 0.5, weight_spread: float | None = None
) -> None:
    """Start every linear map and embedding from a private generator named after it.

    Weights are uniform in ±1/√fan_in (PyTorch's own default, which most of the papers' code uses), biases 0, embeddings (positions,
    CLS) normal with the spread given, by default that of the tokens they join: with ViT's 0.02 a softmax model that knows position
    from nowhere else was at 80 % after 25 epochs of digits, with 0.5 at 95 %. Each has its own generator, so parts of one name and
    shape start equal in models that differ elsewhere.

    With a `weight_spread`, weights are normal with that standard deviation instead, and with it over √(2 · layers) where they write into the
    residual stream, as in GPT-2 (whose spread is 0.02).
    """
    shares = {} if weight_spread is None else _residual_shares(model)
    for name, module in model.named_modules():
        generator = torch.Generator().manual_seed(named_seed(seed, name))
        if isinstance(module, nn.Linear):
            bound = module.in_features**-0.5
            if weight_spread is None:
                nn.init.uniform_(module.weight, -bound, bound, generator=generator)
            else:
                std = weight_spread * shares.get(name, 1.0)
                nn.init.normal_(module.weight, std=std, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=embedding_spread, generator=generator)


class Unstarted(TorchFunctionMode):
    """Modules that are built meanwhile draw no start values of their own.

    For models that are only planned: on the meta device there is nothing to draw, and to find that out takes PyTorch most of the time
    of building one.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """What a function of `torch.nn.init` is given, as it is; whatever else is called, called."""
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


def _residual_shares(model: nn.Module) -> dict[str, float]:
    """1/√(2 · layers) of its own trunk for each linear map that writes into a residual stream: an MLP's last, and the mechanism's."""
    found = {}
    for prefix, trunk in model.named_modules():
        if isinstance(trunk, Trunk):
            writing = ("down", *trunk.mechanism.residual_outputs)
            for name, module in trunk.named_modules(prefix=prefix):
                if isinstance(module, nn.Linear) and name.rpartition(".")[2] in writing:
                    found[name] = (2 * len(trunk.mlps)) ** -0.5
    return found


def named_seed(seed: int, name: str) -> int:
    """A seed of its own for each named stream of randomness: data order, augmentation, each module."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:7], "big")

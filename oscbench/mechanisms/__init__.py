"""The seam: what a mechanism is to the rest of the house.

One object per model. It owns per-layer and shared parameters, its state is explicit, and it tells the backbone where tokens
live (`stream`). A backbone never asks for its name. A file in this folder is a mechanism; its last line names the class.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypedDict, TypeVar, cast

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from oscbench.errors import PartError, kind_of
from oscbench.ops.decode import Cache
from oscbench.ops.disorder import Disorder
from oscbench.ops.operations import Operations
from oscbench.ops.phases import add_wrapped, circle, wrap
from oscbench.ops.precision import widened
from oscbench.positions import POSITIONS, parted

State = tuple[Tensor, ...] | None
KeptT = TypeVar("KeptT")


class MechanismConfig(BaseModel):
    """Settings of a mechanism, as they stand in a suite; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Shape:
    """What a mechanism is told at construction.

    Attributes:
        width: channels of the residual stream, D.
        heads: H; D divides into H heads of d = D/H channels.
        layers: number of blocks.
        max_length: most tokens of any sequence (CLS and registers counted).
        axes: axes of a position, 1 for sequences and 2 for images.
        generator: source of the mechanism's own random start values.
        carried: the state rides on into another pass through the same blocks; where False, nobody reads what the last `advance`
            would give, so it may be skipped.
    """

    width: int
    heads: int
    layers: int
    max_length: int
    axes: int
    generator: torch.Generator
    carried: bool = False

    @property
    def head_width(self) -> int:
        """d = D/H."""
        return self.width // self.heads


@dataclass(frozen=True)
class Positions:
    """Where tokens stand, and which of them have no content yet.

    Attributes:
        coordinates: (N, axes) in float64.
        special: (N,) bool, True for CLS and register tokens.
        unknown: (B, N) bool, True where the content is for the model to find, as in a blank cell; None where the task knows no such
            tokens.
    """

    coordinates: Tensor
    special: Tensor
    unknown: Tensor | None = None
    _kept: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def to(self, device: torch.device) -> Positions:
        """The same positions on another device, copied there once."""
        if device == self.coordinates.device:
            return self

        def there() -> Positions:
            return Positions(self.coordinates.to(device), self.special.to(device))

        moved = self.keep(device, there)
        return moved if self.unknown is None else moved.with_unknown(self.unknown.to(device))

    def with_unknown(self, unknown: Tensor | None) -> Positions:
        """The same places, with all that was made of them, where these tokens (B, N) have no content yet."""
        found = Positions(self.coordinates, self.special, unknown)
        object.__setattr__(found, "_kept", self._kept)  # what is kept follows from the places alone
        return found

    def keep(self, key: Any, make: Callable[[], KeptT]) -> KeptT:
        """What follows from these places alone, made once: every forward pass would pay for it, and on a GPU wait for it."""
        if key not in self._kept:
            if torch.compiler.is_compiling():  # in a graph that takes them from here once they are
                return make()
            with torch.inference_mode(False):  # whoever made it first, training may use it
                self._kept[key] = make()
        found: KeptT = self._kept[key]
        return found


class Hearing(TypedDict):
    """Who may hear whom, and by which backend: keyword arguments of every attention op."""

    is_causal: bool
    key_padding_mask: Tensor | None
    backend: str


@dataclass(frozen=True)
class Context:
    """What holds for one forward pass of the whole model.

    Attributes:
        positions: of the tokens.
        is_causal: receivers hear only senders before them and themselves.
        key_padding_mask: (B, N) bool, True = padding.
        diagnostics: ask `mix` for its attention matrix and what else it knows of itself (quadratic memory).
        backend: of the ops, `auto` or a name.
        cache: what is kept for the tokens to come, in generation token by token; None elsewhere. A pass then brings the whole
            prompt, and afterwards one token at a time.
    """

    positions: Positions
    is_causal: bool = False
    key_padding_mask: Tensor | None = None
    diagnostics: bool = False
    backend: str = "auto"
    cache: Cache | None = None

    @property
    def first(self) -> int:
        """Index of the pass's first token: 0, or as many as the cache holds, and then the pass is one new token."""
        return 0 if self.cache is None else self.cache.num_tokens

    def reach(self, num_tokens: int) -> int:
        """How many tokens there will be: those of the pass, or all that the cache has room for."""
        return num_tokens if self.cache is None else self.cache.capacity

    def hearing(self) -> Hearing:
        """Keyword arguments for an op: causality, padding and backend."""
        return {
            "is_causal": self.is_causal,
            "key_padding_mask": self.key_padding_mask,
            "backend": self.backend,
        }


@dataclass(frozen=True)
class Mixed:
    """What `mix` gives: the residual branch's update, and diagnostics if they were asked for.

    Diagnostics are tensors by name: `attention` (B, H, N, N) for every mechanism, `phases` (B, H, N, m) [rad] where there
    are any, `carried_phases` as they were before this layer mixed them where it does, `energies` (B, steps) of a sample where the
    mechanism has one that its steps lower, `pull` and `anchors` (B, H, N, d) where oscillators are pulled towards anchors, and
    numbers of its own. `state` is what rides on to `advance` where mixing itself moves it; None leaves it as it was.
    """

    update: Tensor
    diagnostics: dict[str, Tensor] = field(default_factory=dict)
    state: State = None


@dataclass(frozen=True)
class Traits:
    """What a mechanism claims of itself; tests over the catalog hold it to it.

    Attributes:
        causal: it can run causally without hearing the future.
        order_sensitive: it tells token order apart without positions added to tokens.
        iterative: its forward pass runs a solver.
        needs_position: `position: auto` adds learned positions to its tokens.
        cacheable: `mix` and `advance` keep in `context.cache` what a next token needs, so that generation token by token is
            the same function as the full pass; where False, `why_not_cached` says why.
        floor: it stands for what a task gives away, and any attention should beat it.
    """

    causal: bool = True
    order_sensitive: bool = False
    iterative: bool = False
    needs_position: bool = False
    cacheable: bool = False
    floor: bool = False


class EuclideanStream:
    """Tokens are vectors: LayerNorm before a branch, add after it, features of width D."""

    features_per_channel = 1

    def enter(self, x: Tensor) -> Tensor:
        """Embeddings become tokens, in at least the precision of their sums."""
        return widened(x)

    def norm(self, width: int) -> nn.Module:
        """Normalisation before a branch."""
        return nn.LayerNorm(width, eps=1e-6)

    def features(self, tokens: Tensor) -> Tensor:
        """What a linear map reads of normalised tokens."""
        return tokens

    def add(self, tokens: Tensor, update: Tensor) -> Tensor:
        """A branch's update joins the residual stream."""
        return tokens + update


class AngularStream:
    """Tokens are angles: no norm, linear maps read (cos θ, sin θ) of width 2D, adding wraps to (-π, π]."""

    features_per_channel = 2

    def enter(self, x: Tensor) -> Tensor:
        """Embeddings are read as angles [rad], in at least the precision of their sums."""
        return wrap(widened(x))

    def norm(self, width: int) -> nn.Module:
        """Angles need none."""
        del width
        return nn.Identity()

    def features(self, tokens: Tensor) -> Tensor:
        """(cos θ, sin θ)."""
        return circle(tokens)

    def add(self, tokens: Tensor, update: Tensor) -> Tensor:
        """θ + update, wrapped."""
        return add_wrapped(tokens, update)


Stream = EuclideanStream | AngularStream

ModuleT = TypeVar("ModuleT", bound=nn.Module)


class PerLayer(nn.ModuleList, Generic[ModuleT]):
    """One module a layer; indexing gives the type that went in."""

    def __getitem__(self, index: int) -> ModuleT:  # type: ignore[override]
        """The module of a layer."""
        return cast("ModuleT", super().__getitem__(index))


class Mechanism(nn.Module, ABC):
    """How tokens hear one another, through the depth of one model.

    Subclasses declare `Config`, `version` (raised when results would change) and `traits`, and write `mix`. The docstring of
    their module has the headings Idea, Equation, Symbols, Deviations, Cost. `examples` are settings that the property tests over the
    catalog try beside the defaults. `own_position` says what tells it order without positions added to tokens, if anything does,
    and `own_position_setting` which of its settings turns that on and off, None where it is always on. `disorders` are the kinds of
    `oscbench.ops.disorder` that its `mix` heeds where `disorder` is set on a trained model. `draws_anew` says that every training
    pass draws from a generator of its own on the host, so that no pass can be repeated or captured; where `draw` is set on a trained
    model to a number, each sample starts from a draw of its own that depends on that number. `learns_places` says that each place of the
    training grid has parameters of its own, so that an image of another grid has none. `residual_outputs` are the names of its
    linear maps that write into the residual stream. What it draws and never trains stands in buffers that are not persistent, or follows
    from a number `seed` of its own.
    """

    Config: ClassVar[type[MechanismConfig]] = MechanismConfig
    version: ClassVar[int] = 1
    label: ClassVar[str]
    examples: ClassVar[tuple[dict[str, Any], ...]] = ()
    traits: Traits = Traits()
    own_position: ClassVar[str | None] = None
    own_position_setting: ClassVar[str | None] = None
    disorders: ClassVar[tuple[str, ...]] = ()
    disorder: Disorder | None = None
    draws_anew: bool = False
    learns_places: ClassVar[bool] = False
    residual_outputs: ClassVar[tuple[str, ...]] = ("out",)
    draw: int | None = None
    stream: Stream = EuclideanStream()
    why_not_cached: str = "its file keeps nothing for the tokens to come"

    def __init__(self, config: Any, shape: Shape) -> None:
        """Own parameters only; linear maps are started by the model, by name, so that equal parts start equal."""
        super().__init__()
        if shape.width % shape.heads:
            raise ValueError(f"width {shape.width} does not divide into {shape.heads} heads")
        self.config = config
        self.shape = shape

    @classmethod
    def has_own_position(cls, config: Any) -> bool:
        """Whether it tells order by itself under these settings."""
        switch = cls.own_position_setting
        return cls.own_position is not None and (switch is None or bool(getattr(config, switch)))

    @classmethod
    def with_own_position(cls, settings: Mapping[str, Any], own: bool) -> dict[str, Any] | None:
        """Settings with its own position on or off; None where it cannot be so, or the settings say otherwise."""
        switch = cls.own_position_setting
        if cls.own_position is None or switch is None:
            return dict(settings) if own == (cls.own_position is not None) else None
        return None if settings.get(switch, own) != own else {**settings, switch: own}

    @classmethod
    def positions(cls, settings: Mapping[str, Any]) -> tuple[str, ...]:
        """Positions, of `oscbench.positions`, that it can have where these settings are fixed."""
        return tuple(p for p in POSITIONS if cls.with_own_position(settings, parted(p)[1]) is not None)

    @classmethod
    def learns_position(cls, config: Any) -> bool:
        """Whether `position: auto` adds learned positions to its tokens under these settings."""
        del config
        return cls.traits.needs_position

    def start(self, positions: Positions, tokens: Tensor) -> State:
        """State that rides beside the tokens (B, N, D), before the first block."""
        del positions, tokens
        return None

    @abstractmethod
    def mix(self, layer: int, tokens: Tensor, state: State, context: Context) -> Mixed:
        """Update of the residual branch from normalised tokens (B, N, D); owns its projections."""

    def advance(self, layer: int, tokens: Tensor, state: State, context: Context) -> State:
        """State after a block, from the block's output (B, N, D), which is not normalised."""
        del layer, tokens, context
        return state

    def calibrate(self, layer: int, tokens: Tensor, state: State, context: Context) -> dict[str, Any] | None:
        """Set start values from the first training batch, before the first step; says what it did, for the record."""
        del layer, tokens, state, context
        return None

    def flops(self, tokens: int) -> int:
        """Closed-form forward FLOPs a sample of `tokens` tokens, over all layers: the multiply-adds of its operations, each two."""
        return 2 * self.counted(tokens).multiply_adds

    def counted(self, tokens: int, evaluations: float = 0.0) -> Operations:
        """What `operations` gives, if that is what it may give."""
        found: object = self.operations(tokens, evaluations)
        if not isinstance(found, Operations):
            raise PartError(f"{type(self).__name__}.operations: gave {kind_of(found)}; wanted: Operations")
        return found

    def token_flops(self, senders: int) -> int:
        """Closed-form FLOPs of one new token that hears `senders` tokens, itself counted, over all layers.

        Here `flops` is a N + b N², and the token costs a + b · senders: its share of the linear maps, and one row of pairs.
        """
        one, two = self.flops(1), self.flops(2)
        pairs = (two - 2 * one) // 2
        return one - pairs + pairs * senders

    @abstractmethod
    def operations(self, tokens: int, evaluations: float = 0.0) -> Operations:
        """Closed-form operations by kind of a sample's forward pass, over all layers.

        `evaluations` is how often a layer's solver read its right-hand side, as measured; 0 without one.
        """

    def implementations(self, tokens: int) -> dict[str, Operations]:
        """The same for other ways to build it, by name, for example in part as a physical system."""
        del tokens
        return {}

    def learning_rates(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Parameters that learn at another rate than the recipe's, each group with its factor on it."""
        return []

    def notes(self) -> list[str]:
        """What a reader of the result must be told, for example that a one-layer model never takes a step."""
        return []

    def split_heads(self, x: Tensor) -> Tensor:
        """(B, N, H·d) -> (B, H, N, d)."""
        return x.view(*x.shape[:-1], self.shape.heads, -1).transpose(1, 2)

    def merge_heads(self, x: Tensor) -> Tensor:
        """(B, H, N, d) -> (B, N, H·d)."""
        return x.transpose(1, 2).flatten(-2)


def one_hot_values(tokens: int, like: Tensor) -> Tensor:
    """Values (B, H, N, N) whose average is the attention matrix itself: any op that is linear in v returns its weights."""
    return torch.eye(tokens, dtype=like.dtype, device=like.device).expand(*like.shape[:2], -1, -1)

"""Mechanisms as ordinary PyTorch modules, to be put into a model of one's own.

`KoPEAttention(width, heads)(x)` maps (B, N, D) to (B, N, D) like `torch.nn.MultiheadAttention(batch_first=True)`; there is such a
class for every mechanism of the catalog, installed ones included. What a mechanism carries through the depth of a network (KoPE's
phases, AKOrN's oscillators) lives in `Encoder`, which runs whole blocks; in a single attention it starts anew at every call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from numbers import Integral, Real
from typing import Any, ClassVar, get_args

import torch
from torch import Tensor, nn

from oscbench import catalog
from oscbench.errors import allowed, nearest
from oscbench.mechanisms import Context, Mechanism, Positions, Shape
from oscbench.models.positions import image_positions, sequence_positions
from oscbench.models.trunk import Activation, Trunk, initialise, named_seed
from oscbench.suite.errors import read_settings

__all__ = ["Attention", "Encoder"]  # and one class a mechanism, by `__getattr__`


def whole_number(owner: str, name: str, given: Any, least: int = 1) -> None:
    """See that an argument is a whole number of at least so much.

    Raises:
        ValueError: it is not; names the argument.
    """
    if not isinstance(given, Integral) or isinstance(given, bool) or given < least:
        raise ValueError(f"{owner}: {name} must be a whole number of at least {least}, got {given!r}")


class Mixing(nn.Module):
    """A mechanism, where its tokens stand, and how a call becomes its context; `Attention` and `Encoder` are it, and more.

    Args:
        mechanism: name in the catalog, or `package.module:Class`.
        width: D, channels of a token.
        heads: H; must divide D.
        layers: number of blocks.
        is_causal: a token hears only those before it and itself.
        max_length: most tokens of a sequence; of use to mechanisms with a table over positions (fixed query's anchors).
        grid: (rows, columns) of an image's patches, in reading order; None for a sequence.
        num_special: CLS and register tokens before the patches of a grid.
        seed: of all start values; by default drawn from PyTorch's generator.
        settings: of the mechanism, as in a suite.

    Raises:
        UnknownNameError: nothing in the catalog has that name.
        ValueError: sizes or settings that the mechanism cannot have.
    """

    def __init__(
        self,
        mechanism: str,
        width: int,
        heads: int,
        layers: int,
        *,
        is_causal: bool = False,
        max_length: int = 1024,
        grid: tuple[int, int] | None = None,
        num_special: int = 0,
        seed: int | None = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        kind = type(self).__name__
        sizes = {"width": width, "heads": heads, "layers": layers, "max_length": max_length}
        if grid is not None:
            if not isinstance(grid, Sequence) or len(grid) != 2:
                raise ValueError(f"{kind}: grid must be (rows, columns), got {grid!r}")
            sizes |= {"rows of grid": grid[0], "columns of grid": grid[1]}
        for name, size in sizes.items():
            whole_number(kind, name, size)
        whole_number(kind, "num_special", num_special, least=0)
        if width % heads:
            raise ValueError(f"{kind}: width {width} does not divide into {heads} heads")
        self.is_causal, self.grid, self.num_special = is_causal, grid, num_special
        # Drawn from PyTorch's own generator by default, so that `torch.manual_seed` decides here as it does for torch.nn.
        if seed is not None and not (isinstance(seed, Integral) and -(2**63) <= seed < 2**63):
            raise ValueError(f"{kind}: seed must be a whole number of 64 bits, got {seed!r}")
        self.seed = int(torch.randint(2**62, ()).item()) if seed is None else int(seed)
        length = num_special + grid[0] * grid[1] if grid else max_length
        self._sizes = (width, heads, layers, length, 2 if grid else 1)
        made = catalog.load("mechanisms", mechanism)
        config = read_settings(made.Config, settings, (mechanism,))
        self.built: Mechanism = made(config, self._shape(self.seed))
        self._positions: dict[tuple[int, torch.device], Positions] = {}

    def _shape(self, seed: int) -> Shape:
        return Shape(*self._sizes, torch.Generator().manual_seed(named_seed(seed, "mechanism")))

    def get_extra_state(self) -> Tensor:
        """The seed's eight bytes, for `state_dict`: what a mechanism draws and never trains (AKOrN's noise) follows from it."""
        return torch.tensor(list(self.seed.to_bytes(8, "little", signed=True)), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Draw what is never trained as the module did whose state is loaded; PyTorch's own generators stay where they are."""
        seed = int.from_bytes(bytes(int(byte) for byte in state.tolist()), "little", signed=True)
        if seed == self.seed:
            return
        self.seed = seed
        with torch.random.fork_rng(devices=[]):
            drawn = type(self.built)(self.built.config, self._shape(seed))
        for own, other in zip(self.built.modules(), drawn.modules(), strict=True):
            for name in own._non_persistent_buffers_set:
                own.get_buffer(name).copy_(other.get_buffer(name))
            if "seed" in vars(other):
                own.seed = other.seed

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: Mapping[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """As of any module; weights without a seed are taken too, and what is drawn stays as it is."""
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        if (key := f"{prefix}_extra_state") in missing_keys:
            missing_keys.remove(key)

    def positions(self, tokens: Tensor) -> Positions:
        """Where the tokens of (B, N, D) stand, kept for each length and device.

        Raises:
            ValueError: the grid has another number of tokens.
        """
        key = (tokens.shape[1], tokens.device)
        if key not in self._positions:
            if self.grid is None:
                made = sequence_positions(tokens.shape[1])
            else:
                made = image_positions(*self.grid, self.num_special)
                if len(made.special) != tokens.shape[1]:
                    rows, columns = self.grid
                    raise ValueError(
                        f"grid {rows} × {columns} and {self.num_special} special tokens has {len(made.special)} tokens; got {tokens.shape[1]}"
                    )
            self._positions[key] = made.to(tokens.device)
        return self._positions[key]

    def context(self, tokens: Tensor, mask: Tensor | None, *, diagnostics: bool = False) -> Context:
        """Positions, causality and padding of a call.

        Raises:
            ValueError: tokens of another shape than (B, N, D).
        """
        width = self.built.shape.width
        if tokens.ndim != 3 or tokens.shape[-1] != width:
            raise ValueError(
                f"{type(self).__name__}: tokens must be (B, N, {width}), got {tuple(tokens.shape)}"
            )
        return Context(self.positions(tokens), self.is_causal, mask, diagnostics)


class Attention(Mixing):
    """One layer of a mechanism: (B, N, D) -> (B, N, D), the update of a residual branch.

    Tokens are read as they come (normalise before); positions that are the mechanism's own (rotary angles, drift, anchors) are
    handled inside, positions added to tokens are the caller's. Torus attention reads its tokens as angles [rad] and returns the
    pull on each, to be added and wrapped to (-π, π].

    Args:
        width: D, channels of a token.
        heads: H; must divide D.
        options: `is_causal`, `max_length`, `grid`, `num_special`, `seed` and the mechanism's settings, as of `Mixing`.

    Raises:
        ValueError: sizes or settings that the mechanism cannot have.
    """

    mechanism: ClassVar[str]

    def __init__(self, width: int, heads: int, **options: Any) -> None:
        super().__init__(self.mechanism, width, heads, 1, **options)
        initialise(self, self.seed)

    def forward(self, tokens: Tensor, key_padding_mask: Tensor | None = None) -> Tensor:
        """The update (B, N, D) of tokens (B, N, D); `key_padding_mask` (B, N) is True at padding."""
        update, _ = self._mixed(tokens, key_padding_mask, diagnostics=False)
        return update

    def diagnostics(self, tokens: Tensor, key_padding_mask: Tensor | None = None) -> dict[str, Tensor]:
        """What the mechanism knows of itself: `attention` (B, H, N, N), `phases` [rad] where there are any, and its own."""
        return self._mixed(tokens, key_padding_mask, diagnostics=True)[1]

    @torch.no_grad()
    def calibrate(self, tokens: Tensor, key_padding_mask: Tensor | None = None) -> dict[str, Any] | None:
        """Set start values that depend on data (SSA's `init_locked`), on a first batch; says what it did."""
        built = self.built
        context = self.context(tokens, key_padding_mask)
        return built.calibrate(0, tokens, built.start(context.positions, tokens), context)

    def _mixed(
        self, tokens: Tensor, mask: Tensor | None, *, diagnostics: bool
    ) -> tuple[Tensor, dict[str, Tensor]]:
        built = self.built
        context = self.context(tokens, mask, diagnostics=diagnostics)
        mixed = built.mix(0, tokens, built.start(context.positions, tokens), context)
        return mixed.update, mixed.diagnostics


class Encoder(Mixing):
    """Blocks of a mechanism and an MLP, its state carried through them: (B, N, D) -> (B, N, features).

    Features are D wide, or 2D, (cos θ, sin θ), where tokens are angles.

    Args:
        mechanism: name in the catalog, or `package.module:Class`.
        width: D.
        heads: H.
        layers: number of blocks.
        hidden: hidden units of each MLP; 4D by default.
        dropout: on MLP outputs.
        activation: `gelu` or `swiglu`.
        options: `is_causal`, `max_length`, `grid`, `num_special`, `seed` and the mechanism's settings, as of `Mixing`.

    Raises:
        UnknownNameError: nothing in the catalog has that name.
        ValueError: sizes or settings that the mechanism cannot have.
    """

    def __init__(
        self,
        mechanism: str,
        width: int,
        heads: int,
        layers: int,
        *,
        hidden: int | None = None,
        dropout: float = 0.0,
        activation: Activation = "gelu",
        **options: Any,
    ) -> None:
        super().__init__(mechanism, width, heads, layers, **options)
        if hidden is not None:
            whole_number("Encoder", "hidden", hidden)
        given: Any = dropout
        if not (isinstance(given, Real) and 0.0 <= float(given) < 1.0):
            raise ValueError(f"Encoder: dropout must be at least 0 and below 1, got {dropout!r}")
        if activation not in get_args(Activation):
            raise ValueError(
                f"Encoder: activation: got {activation!r}; {allowed(str(activation), get_args(Activation))}"
            )
        self.trunk = Trunk(self.built, hidden or 4 * width, dropout, activation)
        initialise(self, self.seed)

    @property
    def output_width(self) -> int:
        """Features of a token that come out."""
        return self.trunk.output_width

    def forward(self, embeddings: Tensor, key_padding_mask: Tensor | None = None) -> Tensor:
        """Features (B, N, output_width) of embeddings (B, N, D)."""
        features, _ = self.trunk(embeddings, self.context(embeddings, key_padding_mask))
        made: Tensor = features
        return made

    def diagnostics(
        self, embeddings: Tensor, key_padding_mask: Tensor | None = None
    ) -> list[dict[str, Tensor]]:
        """What each layer's mechanism knows of itself, in order; see `Attention.diagnostics`."""
        context = self.context(embeddings, key_padding_mask, diagnostics=True)
        found: list[dict[str, Tensor]] = self.trunk(embeddings, context)[1]
        return found

    def calibrate(self, embeddings: Tensor, key_padding_mask: Tensor | None = None) -> list[dict[str, Any]]:
        """Let every layer set start values that depend on data, on a first batch; says what it did."""
        return self.trunk.calibrate(embeddings, self.context(embeddings, key_padding_mask))


@lru_cache(maxsize=1)
def _classes() -> dict[str, type[Attention]]:
    """`KoPEAttention` and its like: one subclass a mechanism, named after the mechanism's class."""
    made = {}
    for name in catalog.names("mechanisms"):
        known = catalog.load("mechanisms", name)
        title = f"{known.__name__.removesuffix('Attention')}Attention"
        about = catalog.section(catalog.docstring("mechanisms", name), "Idea")
        text = f"{known.label}: {about}\n\n{Attention.__doc__}"
        made[title] = type(title, (Attention,), {"mechanism": name, "__doc__": text, "__module__": __name__})
    return made


def __getattr__(name: str) -> type[Attention]:
    found = _classes().get(name) if name.endswith("Attention") else None
    if found is None:
        raise AttributeError(
            f"module {__name__!r} has no attribute {name!r}; {nearest(name, [*__all__, *_classes()])}"
        )
    return found


def __dir__() -> list[str]:
    return sorted([*__all__, *_classes()])

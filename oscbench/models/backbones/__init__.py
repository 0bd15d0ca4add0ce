"""Backbones: what stands around the trunk. A file here is a backbone; its last line names the class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from oscbench.mechanisms import Context, Positions, Shape
from oscbench.models.positions import AddedPositions, PositionMode
from oscbench.models.trunk import Activation, Output, Trunk, initialise, named_seed
from oscbench.settings import added

MAX_LAYERS = 1_000
"""Each is built, even without memory, before anything runs."""


class BackboneConfig(BaseModel):
    """Settings that every backbone has, as they stand in a suite under `model`; unknown keys are refused.

    Attributes:
        width: channels of the residual stream, D.
        heads: H.
        layers: number of blocks.
        repeats: times that each block is taken, one after the other, before the next: iterative self-attention (ItrSA) where the mechanism
            is softmax, AKOrN's own baseline (arXiv 2410.13821).
        mlp_ratio: hidden units of the MLP over D, before matching.
        activation: `gelu` or `swiglu`.
        position: what is added to tokens; `auto` follows the mechanism's trait.
        dropout: on embeddings and MLP outputs.
        bias: linear maps and norms have biases.
        weight_spread: standard deviation of the normal that linear maps start from, over √(2 · layers) where they write into the
            residual stream; None is uniform in ±1/√fan_in.
        embedding_spread: standard deviation that embeddings (tokens, positions, CLS) start with; radians where tokens are angles.
    """

    own: ClassVar[tuple[str, ...]] = ("position", "embedding_spread", "repeats")
    """Settings that belong to a mechanism more than to a comparison: an entry of a suite may have its own, and search it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(default=64, ge=1)
    heads: int = Field(default=4, ge=1)
    layers: int = Field(default=4, ge=1, le=MAX_LAYERS)
    repeats: int = added(1, neutral=1, ge=1, le=MAX_LAYERS)
    mlp_ratio: float = Field(default=4.0, gt=0.0)
    activation: Activation = "gelu"
    position: PositionMode = "auto"
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    bias: bool = added(True, neutral=True)
    weight_spread: float | None = added(None, neutral=None, gt=0.0)
    embedding_spread: float = added(0.5, neutral=0.5, gt=0.0)


class Backbone(nn.Module, ABC):
    """Inputs to tokens, the trunk, and a read-out."""

    Config: ClassVar[type[BackboneConfig]]
    version: ClassVar[int] = 1
    config: Any
    added: AddedPositions
    dropout: nn.Dropout
    trunk: Trunk

    def __init__(
        self,
        config: Any,
        inputs: Any,
        mechanism_class: type,
        mechanism_config: Any,
        *,
        hidden: int | None,
        seed: int,
    ) -> None:
        """Build from settings, what the task says of its inputs, the mechanism, and the MLP's hidden units (None: as set).

        Front, mechanism and trunk, head: in this order their parameters stand in an optimiser.
        """
        super().__init__()
        self.config, self.inputs = config, inputs
        positions = self.build_front()
        num_tokens, axes = positions.coordinates.shape
        generator = torch.Generator().manual_seed(named_seed(seed, "mechanism"))
        shape = Shape(config.width, config.heads, config.layers, num_tokens, axes, generator, self.carried)
        mechanism = mechanism_class(mechanism_config, shape)
        self.added = AddedPositions(config.position, mechanism, positions)
        self.dropout = nn.Dropout(config.dropout)
        hidden = hidden or round(config.mlp_ratio * config.width)
        self.trunk = Trunk(mechanism, hidden, config.dropout, config.activation, config.repeats)
        self.build_head(seed)
        self.begin(seed)

    @abstractmethod
    def build_front(self) -> Positions:
        """Make what turns inputs into embeddings; gives the positions of the tokens.

        Raises:
            ValueError: the settings do not fit the inputs.
        """

    @abstractmethod
    def build_head(self, seed: int) -> None:
        """Make what reads features of the trunk, and whatever else the model has.

        Raises:
            ValueError: the settings do not fit the features.
        """

    @property
    def carried(self) -> bool:
        """Whether the mechanism's state goes on after the last block; see `Shape.carried`."""
        return bool(self.config.repeats > 1)

    def begin(self, seed: int) -> None:
        """Drop biases where the settings say so, and give parameters their start values, unless the model is only planned."""
        config = self.config
        if not config.bias:
            for module in self.modules():
                if isinstance(module, nn.Linear | nn.LayerNorm | nn.GroupNorm):
                    module.register_parameter("bias", None)
        if not next(self.parameters()).is_meta:
            initialise(self, seed, config.embedding_spread, config.weight_spread)

    @abstractmethod
    def embed(self, inputs: Tensor) -> Tensor:
        """Inputs of a batch to embeddings (B, N, D)."""

    @abstractmethod
    def context(self, inputs: Tensor, *, diagnostics: bool = False) -> Context:
        """Positions, causality and padding of a batch."""

    @abstractmethod
    def read_out(self, features: Tensor) -> Tensor:
        """Features (B, N, ·) to the prediction."""

    @property
    @abstractmethod
    def num_tokens(self) -> int:
        """N of a sample, CLS and registers counted."""

    @abstractmethod
    def flops(self) -> int:
        """Forward FLOPs a sample, in closed form."""

    @property
    def one_pass(self) -> bool:
        """Whether a sample goes through the trunk once, and through nothing else that has blocks."""
        return True

    def training_flops(self) -> int:
        """FLOPs a training example: the forward pass, and a backward pass of twice as many."""
        return 3 * self.flops()

    def stepped(self, done: int, steps: int) -> None:
        """The optimiser has taken `done` of `steps` steps; a model with a part that follows its parameters moves it here."""
        del done, steps

    @contextmanager
    def as_evaluated(self) -> Iterator[None]:
        """While training goes on: meanwhile the model is what would be evaluated if this had been the last step."""
        yield

    def finish(self) -> None:
        """The last step is done; from here on the model is what is evaluated."""

    def forward(self, inputs: Tensor, *, diagnostics: bool = False) -> Output:
        """Prediction for a batch, and each layer's diagnostics if asked for."""
        features, found = self.trunk(self.embed(inputs), self.context(inputs, diagnostics=diagnostics))
        return Output(self.read_out(features), found)

    def calibrate(self, inputs: Tensor) -> list[dict[str, Any]]:
        """Let the mechanism set start values on the first training batch; says what it did."""
        return self.trunk.calibrate(self.embed(inputs), self.context(inputs))

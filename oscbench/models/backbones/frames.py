"""Frame encoder: vectors in place of token ids, the trunk, mean pooling, a linear head (keyword spotting of arXiv 2606.12059)."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from oscbench.mechanisms import Context, Shape
from oscbench.models.backbones import Backbone, BackboneConfig
from oscbench.models.positions import AddedPositions, PositionMode, sequence_positions
from oscbench.models.trunk import Activation, Trunk, initialise, named_seed


class FramesConfig(BackboneConfig):
    """Settings of the frame encoder; the defaults are the paper's for keywords.

    Attributes:
        width: channels of the residual stream, D.
        heads: H.
        layers: number of blocks.
        mlp_ratio: hidden units of the MLP over D, before matching.
        activation: `gelu` or `swiglu`.
        position: what is added to frames; `auto` follows the mechanism's trait, the paper's own models have `none`.
        dropout: on embeddings and MLP outputs.
    """

    width: int = Field(default=32, ge=1)
    heads: int = Field(default=2, ge=1)
    layers: int = Field(default=1, ge=1)
    mlp_ratio: float = Field(default=4.0, gt=0.0)
    activation: Activation = "gelu"
    position: PositionMode = "auto"
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)


class Frames(Backbone):
    """Frames (B, N, features) to class logits (B, classes)."""

    Config = FramesConfig
    version = 1

    def __init__(
        self,
        config: FramesConfig,
        inputs: Any,
        mechanism_class: type,
        mechanism_config: Any,
        *,
        hidden: int | None,
        seed: int,
    ) -> None:
        nn.Module.__init__(self)
        self.config, self.inputs = config, inputs
        generator = torch.Generator().manual_seed(named_seed(seed, "mechanism"))
        shape = Shape(config.width, config.heads, config.layers, inputs.length, 1, generator)
        mechanism = mechanism_class(mechanism_config, shape)
        self.front = nn.Linear(inputs.features, config.width)
        self.added = AddedPositions(config.position, mechanism, sequence_positions(inputs.length))
        self.dropout = nn.Dropout(config.dropout)
        hidden = hidden or round(config.mlp_ratio * config.width)
        self.trunk = Trunk(mechanism, hidden, config.dropout, config.activation)
        self.head = nn.Linear(self.trunk.output_width, inputs.num_classes)
        if not self.front.weight.is_meta:
            initialise(self, seed)

    @property
    def num_tokens(self) -> int:
        """Frames of a sample."""
        length: int = self.inputs.length
        return length

    def embed(self, inputs: Tensor) -> Tensor:
        """Frames (B, N, features) to embeddings (B, N, D)."""
        embedded: Tensor = self.dropout(self.added(self.front(inputs)))
        return embedded

    def context(self, inputs: Tensor, *, diagnostics: bool = False) -> Context:
        """Everybody hears everybody; no padding."""
        positions = sequence_positions(inputs.shape[1]).to(inputs.device)
        return Context(positions, diagnostics=diagnostics)

    def read_out(self, features: Tensor) -> Tensor:
        """Class logits (B, classes) of the mean over frames."""
        logits: Tensor = self.head(features.mean(dim=1))
        return logits

    def flops(self) -> int:
        """Front, trunk and head."""
        front = 2 * self.num_tokens * self.inputs.features * self.config.width
        head = 2 * self.trunk.output_width * self.inputs.num_classes
        total: int = front + self.trunk.flops(self.num_tokens) + head
        return total


backbone = Frames

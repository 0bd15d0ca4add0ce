"""Frame encoder: vectors in place of token ids, the trunk, mean pooling, a linear head (keyword spotting of arXiv 2606.12059)."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from oscbench.mechanisms import Context, Positions
from oscbench.models.backbones import MAX_LAYERS, Backbone, BackboneConfig
from oscbench.models.positions import sequence_positions


class FramesConfig(BackboneConfig):
    """Settings of the frame encoder; the defaults are the paper's for keywords, whose models have no positions (`none`)."""

    width: int = Field(default=32, ge=1)
    heads: int = Field(default=2, ge=1)
    layers: int = Field(default=1, ge=1, le=MAX_LAYERS)


class Frames(Backbone):
    """Frames (B, N, features) to class logits (B, classes)."""

    Config = FramesConfig
    version = 1

    def build_front(self) -> Positions:
        """A linear map of each frame."""
        self.front = nn.Linear(self.inputs.features, self.config.width)
        return sequence_positions(self.inputs.length)

    def build_head(self, seed: int) -> None:
        """A linear map of the mean."""
        del seed
        self.head = nn.Linear(self.trunk.output_width, self.inputs.num_classes)

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

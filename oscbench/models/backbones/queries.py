"""Queries: segments with a mask and a class each, in the form of EoMT (arXiv 2503.19108): query tokens join the patches in every layer.

No decoder that attends across follows: queries and patches hear one another through the mechanism alone. A query's class is read from its
token by a linear map; its mask is the dot product of an embedding of the query with one of each pixel, which a linear map reads from the
pixel's patch (where EoMT upsamples by convolutions). Queries are special tokens, as a CLS token is: they stand nowhere, at phase 0.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from oscbench.mechanisms import Context, Positions
from oscbench.models.backbones import Backbone
from oscbench.models.backbones.dense import DenseConfig, images_of
from oscbench.models.backbones.vision import patches_along, patches_of
from oscbench.models.positions import image_positions


class QueriesConfig(DenseConfig):
    """Settings of the query backbone.

    Attributes:
        queries: most segments of an image.
        embedding: channels in which queries and pixels meet.
    """

    queries: int = Field(default=6, ge=1)
    embedding: int = Field(default=16, ge=1)


class Queries(Backbone):
    """Images (B, C, height, width) to each query's class and mask logits, (B, queries, classes + 1 + height · width).

    The class after all others is none.
    """

    Config = QueriesConfig
    version = 1

    def build_front(self) -> Positions:
        """A linear map of each patch, and the queries."""
        config, inputs = self.config, self.inputs
        self.positions = image_positions(*patches_along(inputs, config.patch), config.queries)
        self.patches = nn.Linear(inputs.channels * config.patch**2, config.width)
        self.queries = nn.Embedding(config.queries, config.width)
        return self.positions

    def build_head(self, seed: int) -> None:
        """Linear maps of queries to classes and of patches to pixels, and two layers from queries to masks."""
        del seed
        config, width = self.config, self.trunk.output_width
        self.classes = nn.Linear(width, self.inputs.num_classes + 1)
        self.masks = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, config.embedding))
        self.pixels = nn.Linear(width, config.embedding * config.patch**2)

    @property
    def num_tokens(self) -> int:
        """Queries and patches."""
        return len(self.positions.special)

    def embed(self, inputs: Tensor) -> Tensor:
        """Queries and images' patches, (B, N, D)."""
        tokens = self.patches(patches_of(inputs, self.config.patch))
        tokens = torch.cat((self.queries.weight.expand(len(tokens), -1, -1), tokens), dim=1)
        embedded: Tensor = self.dropout(self.added(tokens))
        return embedded

    def context(self, inputs: Tensor, *, diagnostics: bool = False) -> Context:
        """Everybody hears everybody; no padding."""
        return Context(self.positions.to(inputs.device), diagnostics=diagnostics)

    def read_out(self, features: Tensor) -> Tensor:
        """Class and mask logits of each query."""
        config = self.config
        asked, patches = features[:, : config.queries], features[:, config.queries :]
        pixels = images_of(self.pixels(patches), config.patch, self.inputs.width).flatten(2)
        masks = self.masks(asked) @ pixels * config.embedding**-0.5
        return torch.cat((self.classes(asked), masks), dim=-1)

    def flops(self) -> int:
        """Patches, trunk, classes and masks."""
        config, inputs, width = self.config, self.inputs, self.trunk.output_width
        patches = self.num_tokens - config.queries
        embedding = patches * inputs.channels * config.patch**2 * config.width
        asked = config.queries * width * (inputs.num_classes + 1 + width + config.embedding)
        pixels = patches * width * config.embedding * config.patch**2
        masks = config.queries * config.embedding * inputs.height * inputs.width
        total: int = 2 * (embedding + asked + pixels + masks) + self.trunk.flops(self.num_tokens)
        return total


backbone = Queries

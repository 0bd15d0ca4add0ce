"""Features of images by patches, and an embedding of each of two views, for training without labels (SimCLR, arXiv 2002.05709).

All of an image's tokens are patches. Whole images give the patches' features, which an evaluation clusters or averages; two views of an image
give what a training compares: the mean (or largest) feature of each view's patches through a head of two layers, of length 1.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from oscbench.mechanisms import Context, Positions
from oscbench.models.backbones import Backbone
from oscbench.models.backbones.dense import DenseConfig
from oscbench.models.backbones.vision import patches_along, patches_of
from oscbench.models.positions import image_positions
from oscbench.models.trunk import Output

VIEWS = 2


class ViewsConfig(DenseConfig):
    """Settings of the backbone for views.

    Attributes:
        pool: what a view's embedding is made of: the `mean` of its patches' features, or the largest of each (`max`, as in AKOrN).
        head_width: hidden units of the head.
        embedding: channels in which views are compared.
    """

    pool: Literal["mean", "max"] = "mean"
    head_width: int = Field(default=128, ge=1)
    embedding: int = Field(default=64, ge=1)


class Views(Backbone):
    """Two views (B, 2·C, height, width) to their embeddings (B, 2, embedding); whole images (B, C, …) to patches' features (B, N, ·)."""

    Config = ViewsConfig
    version = 1

    def build_front(self) -> Positions:
        """A linear map of each patch."""
        config, inputs = self.config, self.inputs
        self.positions = image_positions(*patches_along(inputs, config.patch), 0)
        self.patch_features = inputs.channels * config.patch**2
        self.patches = nn.Linear(self.patch_features, config.width)
        return self.positions

    def build_head(self, seed: int) -> None:
        """Two layers."""
        del seed
        hidden = nn.Linear(self.trunk.output_width, self.config.head_width)
        self.head = nn.Sequential(hidden, nn.GELU(), nn.Linear(self.config.head_width, self.config.embedding))

    @property
    def num_tokens(self) -> int:
        """Patches of one view."""
        return len(self.positions.special)

    def embed(self, inputs: Tensor) -> Tensor:
        """Whole images to embeddings (B, N, D), pairs of views to (2·B, N, D), those of an example side by side."""
        images = inputs.unflatten(1, (-1, self.inputs.channels)).flatten(0, 1)
        embedded: Tensor = self.dropout(self.added(self.patches(patches_of(images, self.config.patch))))
        return embedded

    def context(self, inputs: Tensor, *, diagnostics: bool = False) -> Context:
        """Everybody hears everybody; no padding."""
        return Context(self.positions.to(inputs.device), diagnostics=diagnostics)

    def forward(self, inputs: Tensor, *, diagnostics: bool = False) -> Output:
        """Of whole images the patches' features, of pairs the embeddings; and each layer's diagnostics, of all views, if asked for."""
        features, found = self.trunk(self.embed(inputs), self.context(inputs, diagnostics=diagnostics))
        views = inputs.shape[1] // self.inputs.channels
        return Output(features if views == 1 else self.read_out(features).unflatten(0, (-1, views)), found)

    def read_out(self, features: Tensor) -> Tensor:
        """Embeddings of views, (views, embedding), each of length 1."""
        pooled = features.mean(1) if self.config.pool == "mean" else features.amax(1)
        return normalize(self.head(pooled), dim=-1)

    def flops(self) -> int:
        """Patches, trunk and head of both views, since a training example is a pair."""
        config, width = self.config, self.trunk.output_width
        embedding = self.num_tokens * self.patch_features * config.width
        head = width * config.head_width + config.head_width * config.embedding
        return int(VIEWS * (2 * (embedding + head) + self.trunk.flops(self.num_tokens)))


backbone = Views

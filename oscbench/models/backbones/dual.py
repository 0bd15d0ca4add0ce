"""Two towers, image and text, whose embeddings meet (CLIP, Radford et al., arXiv 2103.00020).

Only the image tower has the mechanism; the text tower is softmax attention of a fixed size with the same start for all, as in the recipe of
KoPE (arXiv 2604.07904), so that entries differ in how they see.
"""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from oscbench.mechanisms import Context, Shape
from oscbench.mechanisms.softmax import Softmax, SoftmaxConfig
from oscbench.models.backbones.vision import Vision, VisionConfig
from oscbench.models.positions import sequence_positions
from oscbench.models.trunk import Output, Trunk, named_seed

START_SCALE, LARGEST_SCALE = 1.0 / 0.07, 100.0
"""Of the similarity, as in CLIP."""
TEXT_SPREAD = 0.5
"""Of the text tower's embeddings at the start."""


class DualConfig(VisionConfig):
    """Settings of the two towers; those without `text_` are the image tower's.

    Attributes:
        embedding: channels in which both towers meet.
        text_width: of the text tower.
        text_heads: of the text tower.
        text_layers: of the text tower.
    """

    embedding: int = Field(default=64, ge=1)
    text_width: int = Field(default=64, ge=1)
    text_heads: int = Field(default=4, ge=1)
    text_layers: int = Field(default=2, ge=1)


class Dual(Vision):
    """Images and captions (B, pixels + words) to unit embeddings (B, 2, embedding), the image's times the learned scale."""

    Config = DualConfig
    version = 1

    def build_head(self, seed: int) -> None:
        """The image's projection, the whole text tower with its own, and the similarity's scale."""
        config, inputs = self.config, self.inputs
        self.head = nn.Linear(self.trunk.output_width, config.embedding)
        self.words = nn.Embedding(inputs.vocabulary, config.text_width)
        self.places = nn.Embedding(inputs.words, config.text_width)
        generator = torch.Generator().manual_seed(named_seed(seed, "text"))
        shape = Shape(config.text_width, config.text_heads, config.text_layers, inputs.words, 1, generator)
        self.text = Trunk(Softmax(SoftmaxConfig(), shape), 4 * config.text_width)
        self.text_head = nn.Linear(config.text_width, config.embedding)
        self.log_scale = nn.Parameter(torch.tensor(math.log(START_SCALE)))

    def begin(self, seed: int) -> None:
        """As every model; an entry's spread of embeddings is that of its images alone."""
        super().begin(seed)
        if not self.words.weight.is_meta:
            with torch.no_grad():
                for table in (self.words, self.places):
                    table.weight *= TEXT_SPREAD / self.config.embedding_spread

    def split(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, C, height, width) and token ids (B, words)."""
        pixels, ids = inputs.split((self.inputs.pixels, self.inputs.words), dim=1)
        return pixels.view(-1, self.inputs.channels, self.inputs.height, self.inputs.width), ids.long()

    def embed(self, inputs: Tensor) -> Tensor:
        """The images' patches (B, N, D)."""
        images, _ = self.split(inputs)
        return super().embed(images)

    def forward(self, inputs: Tensor, *, diagnostics: bool = False) -> Output:
        """Embeddings of images and captions, and the image tower's diagnostics if asked for."""
        features, found = self.trunk(self.embed(inputs), self.context(inputs, diagnostics=diagnostics))
        _, ids = self.split(inputs)
        return Output(torch.stack((self.read_out(features), self.captions(ids)), dim=1), found)

    def read_out(self, features: Tensor) -> Tensor:
        """Embeddings of images (B, embedding), of the scale's length."""
        return normalize(self.head(self.pooled(features)), dim=-1) * self.scale()

    def scale(self) -> Tensor:
        """Factor on similarities, at most 100."""
        return self.log_scale.exp().clamp_max(LARGEST_SCALE)

    def captions(self, ids: Tensor) -> Tensor:
        """Unit embeddings (B, embedding) of captions (B, words), the mean over their words."""
        padding = ids == 0
        tokens = self.words(ids) + self.places.weight[: ids.shape[1]]
        positions = sequence_positions(ids.shape[1]).to(ids.device)
        features, _ = self.text(tokens, Context(positions, key_padding_mask=padding))
        real = (~padding)[..., None]
        mean = (features * real).sum(1) / real.sum(1).clamp_min(1)
        return normalize(self.text_head(mean), dim=-1)

    @property
    def one_pass(self) -> bool:
        """Words have a tower of their own."""
        return False

    def flops(self) -> int:
        """Both towers."""
        head = 2 * self.config.text_width * self.config.embedding
        return int(super().flops() + self.text.flops(self.inputs.words) + head)


backbone = Dual

"""Vision transformer: patches, a CLS token or mean pooling, the trunk, a linear head (Dosovitskiy et al., arXiv 2010.11929)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from oscbench.mechanisms import Context, Positions
from oscbench.models.backbones import Backbone, BackboneConfig
from oscbench.models.positions import image_positions


class VisionConfig(BackboneConfig):
    """Settings of the vision backbone.

    Attributes:
        patch: side of a square patch [pixels]; it must divide the image.
        pool: read the CLS token, or the mean of the patches.
    """

    patch: int = Field(default=2, ge=1)
    pool: Literal["cls", "mean"] = "cls"


class Vision(Backbone):
    """Images (B, C, height, width) to class logits."""

    Config = VisionConfig
    version = 1

    def build_front(self) -> Positions:
        """A linear map of each patch, and the CLS token where it is read."""
        config, inputs = self.config, self.inputs
        self.num_special = 1 if config.pool == "cls" else 0
        self.positions = image_positions(*patches_along(inputs, config.patch), self.num_special)
        self.patch_features = inputs.channels * config.patch**2
        self.patches = nn.Linear(self.patch_features, config.width)
        if self.num_special:
            self.cls = nn.Embedding(1, config.width)
        return self.positions

    def build_head(self, seed: int) -> None:
        """A linear map of the CLS token or of the mean."""
        del seed
        self.head = nn.Linear(self.trunk.output_width, self.inputs.num_classes)

    @property
    def num_tokens(self) -> int:
        """Patches and the CLS token."""
        return len(self.positions.special)

    def embed(self, inputs: Tensor) -> Tensor:
        """Images (B, C, height, width) to embeddings (B, N, D)."""
        tokens = self.patches(patches_of(inputs, self.config.patch))
        if self.num_special:
            tokens = torch.cat((self.cls.weight.expand(len(tokens), 1, -1), tokens), dim=1)
        embedded: Tensor = self.dropout(self.added(tokens))
        return embedded

    def context(self, inputs: Tensor, *, diagnostics: bool = False) -> Context:
        """Everybody hears everybody; no padding."""
        return Context(self.positions.to(inputs.device), diagnostics=diagnostics)

    def read_out(self, features: Tensor) -> Tensor:
        """Class logits (B, classes)."""
        logits: Tensor = self.head(self.pooled(features))
        return logits

    def pooled(self, features: Tensor) -> Tensor:
        """The CLS token's features (B, ·), or their mean over patches."""
        return features[:, 0] if self.num_special else features.mean(dim=1)

    def flops(self) -> int:
        """Patches, trunk and head."""
        patches = self.num_tokens - self.num_special
        embedding = 2 * patches * self.patch_features * self.config.width
        head = 2 * self.trunk.output_width * self.head.out_features
        return int(embedding + self.trunk.flops(self.num_tokens) + head)


def patches_along(inputs: Any, size: int) -> tuple[int, int]:
    """Rows and columns of square patches in the images that a task describes.

    Raises:
        ValueError: patches do not divide them.
    """
    if inputs.height % size or inputs.width % size:
        raise ValueError(f"patch {size} does not divide images of {inputs.height} × {inputs.width}")
    return inputs.height // size, inputs.width // size


def patches_of(images: Tensor, size: int) -> Tensor:
    """Square patches of images (B, C, height, width) in reading order: (B, patches, C·size²)."""
    split = images.unflatten(2, (-1, size)).unflatten(4, (-1, size))
    # (B, C, row, y, column, x) -> (B, row·column, C·y·x)
    patches: Tensor = split.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
    return patches


backbone = Vision

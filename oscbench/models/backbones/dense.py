"""Dense prediction: patches, the trunk, and one linear map from each token to the classes of its own pixels.

No decoder of convolutions follows, as in SETR or UPerNet, and no skip connection: whatever a pixel is told of its surroundings came through
the mechanism. No CLS token either, so that all tokens are patches.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from oscbench.mechanisms import Context, Positions
from oscbench.models.backbones import Backbone, BackboneConfig
from oscbench.models.backbones.vision import patches_along, patches_of
from oscbench.models.positions import image_positions
from oscbench.models.trunk import Output
from oscbench.ops.dispatch import UnsupportedError


class DenseConfig(BackboneConfig):
    """Settings of the dense backbone.

    Attributes:
        patch: side of a square patch [pixels]; it must divide the image.
    """

    patch: int = Field(default=4, ge=1)


class Dense(Backbone):
    """Images (B, C, height, width) to class logits (B, classes, height, width), also on other grids than that of training."""

    Config = DenseConfig
    version = 1

    def build_front(self) -> Positions:
        """A linear map of each patch."""
        config, inputs = self.config, self.inputs
        self.grid = patches_along(inputs, config.patch)
        self.positions = {self.grid: image_positions(*self.grid, 0)}
        self.patch_features = inputs.channels * config.patch**2
        self.patches = nn.Linear(self.patch_features, config.width)
        return self.positions[self.grid]

    def build_head(self, seed: int) -> None:
        """A linear map of each patch to the classes of its pixels."""
        del seed
        self.head = nn.Linear(self.trunk.output_width, self.inputs.num_classes * self.config.patch**2)

    @property
    def num_tokens(self) -> int:
        """Patches of a training image."""
        rows, columns = self.grid
        return rows * columns

    def embed(self, inputs: Tensor) -> Tensor:
        """Images (B, C, height, width) to embeddings (B, N, D)."""
        self._positions(inputs)
        embedded: Tensor = self.dropout(self.added(self.patches(patches_of(inputs, self.config.patch))))
        return embedded

    def context(self, inputs: Tensor, *, diagnostics: bool = False) -> Context:
        """Everybody hears everybody, from where it stands in the grid of these images; no padding."""
        return Context(self._positions(inputs).to(inputs.device), diagnostics=diagnostics)

    def _positions(self, images: Tensor) -> Positions:
        """Of the patches of images.

        Raises:
            UnsupportedError: patches do not divide them, or positions were learned on another grid.
        """
        patch, (height, width) = self.config.patch, images.shape[-2:]
        if height % patch or width % patch:
            raise UnsupportedError(f"patch {patch} does not divide images of {height} × {width}")
        grid = (height // patch, width // patch)
        if grid != self.grid and self.added.mode != "none":
            raise UnsupportedError(
                f"{self.added.mode} positions are those of {self.grid[0]} × {self.grid[1]} patches, "
                f"an image has {grid[0]} × {grid[1]}"
            )
        if grid != self.grid and self.trunk.mechanism.learns_places:
            raise UnsupportedError(
                f"{self.trunk.mechanism.label} has something of its own at each of {self.grid[0]} × {self.grid[1]} patches, "
                f"an image has {grid[0]} × {grid[1]}"
            )
        if grid not in self.positions:
            self.positions[grid] = image_positions(*grid, 0)
        return self.positions[grid]

    def forward(self, inputs: Tensor, *, diagnostics: bool = False) -> Output:
        """Class logits of every pixel, and each layer's diagnostics if asked for."""
        features, found = self.trunk(self.embed(inputs), self.context(inputs, diagnostics=diagnostics))
        return Output(images_of(self.read_out(features), self.config.patch, inputs.shape[-1]), found)

    def read_out(self, features: Tensor) -> Tensor:
        """Class logits of each token's pixels, (B, N, classes · patch²)."""
        logits: Tensor = self.head(features)
        return logits

    def flops(self) -> int:
        """Patches, trunk and head, of a training image."""
        head = self.inputs.num_classes * self.config.patch**2
        outside = self.patch_features * self.config.width + self.trunk.output_width * head
        total: int = 2 * self.num_tokens * outside + self.trunk.flops(self.num_tokens)
        return total


def images_of(patches: Tensor, size: int, width: int) -> Tensor:
    """Patches (B, N, C·size²) in reading order to images (B, C, height, width): the reverse of `patches_of`."""
    columns = width // size
    split = patches.unflatten(2, (-1, size, size)).unflatten(1, (-1, columns))
    # (B, row, column, C, y, x) -> (B, C, row·y, column·x)
    images: Tensor = split.permute(0, 3, 1, 4, 2, 5).flatten(2, 3).flatten(3)
    return images


backbone = Dense

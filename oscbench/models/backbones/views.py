"""Features of images by patches, and an embedding of each of two views, for training without labels (SimCLR, arXiv 2002.05709).

All of an image's tokens are patches. Whole images give the patches' features, which an evaluation clusters or averages; two views of an image
give what a training compares: the mean (or largest) feature of each view's patches through a head of two or more layers, of length 1.
Smaller views of an image may come with the two, and a slow teacher beside the model (`oscbench.models.teacher`), which sees the two alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from oscbench.mechanisms import Context, Positions
from oscbench.models.backbones import Backbone
from oscbench.models.backbones.dense import DenseConfig
from oscbench.models.backbones.vision import patches_along, patches_of
from oscbench.models.positions import OtherGrid, image_positions
from oscbench.models.rates import cosine
from oscbench.models.teacher import Teacher
from oscbench.models.trunk import Output
from oscbench.settings import added

VIEWS = 2


class ViewsConfig(DenseConfig):
    """Settings of the backbone for views.

    Attributes:
        pool: what a view's embedding is made of: the `mean` of its patches' features, or the largest of each (`max`, as in AKOrN).
        head_width: hidden units of the head.
        head_layers: its linear maps, GELUs between them.
        embedding: channels in which views are compared.
    """

    pool: Literal["mean", "max"] = "mean"
    head_width: int = Field(default=128, ge=1)
    head_layers: int = added(2, neutral=2, ge=2)
    embedding: int = Field(default=64, ge=1)


class Views(Backbone):
    """Views of images to their embeddings; whole images (B, C, height, width) to patches' features (B, N, ·).

    Two views of an image are (B, 2·C, height, width), and with V smaller ones of side s a row (B, 2·C·height·width + V·C·s²). Given are
    the embeddings of the views in their order, (B, 2 + V, embedding), and after them those of the first two by the teacher, where the
    inputs ask for one: two more, without gradient.
    """

    Config = ViewsConfig
    version = 1
    teacher: Teacher | None
    local: OtherGrid | None

    def build_front(self) -> Positions:
        """A linear map of each patch."""
        config, inputs = self.config, self.inputs
        self.grid = patches_along(inputs, config.patch)
        self.positions = image_positions(*self.grid, 0)
        self.patch_features = inputs.channels * config.patch**2
        self.patches = nn.Linear(self.patch_features, config.width)
        return self.positions

    def build_head(self, seed: int) -> None:
        """Linear maps with GELUs between them, and what smaller views need."""
        del seed
        config = self.config
        layers: list[nn.Module] = [nn.Linear(self.trunk.output_width, config.head_width)]
        for _ in range(config.head_layers - 2):
            layers += [nn.GELU(), nn.Linear(config.head_width, config.head_width)]
        self.head = nn.Sequential(*layers, nn.GELU(), nn.Linear(config.head_width, config.embedding))
        self.local = None
        if self.inputs.local is not None:
            self.local = OtherGrid(self.added, self.grid, self._local_grid(self.inputs.local[1]))

    def _local_grid(self, size: int) -> tuple[int, int]:
        """Rows and columns of the patches of a smaller view."""
        patch, mechanism = self.config.patch, self.trunk.mechanism
        if size % patch:
            raise ValueError(
                f"patch {patch} does not divide local views of {size} × {size} (task.local_size)"
            )
        side = size // patch
        rows, columns = self.grid
        if side > min(rows, columns):
            raise ValueError(
                f"local views of {size} × {size} are larger than images of {self.inputs.height} × {self.inputs.width} (task.local_size)"
            )
        if mechanism.learns_places and (side, side) != self.grid:
            raise ValueError(
                f"{mechanism.label} has parameters for each place of {rows} × {columns} patches, and none for local views of "
                f"{side} × {side}; leave out task.local_views or the mechanism"
            )
        return side, side

    def begin(self, seed: int) -> None:
        """Start values, which a teacher then shares."""
        super().begin(seed)
        self.teacher = None
        if self.inputs.teacher is not None:
            self.teacher = Teacher(self)

    @property
    def num_tokens(self) -> int:
        """Patches of one view, of the two that are as large as images."""
        return len(self.positions.special)

    def parted(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Whole images or pairs (B, ·, height, width), and smaller views (B·V, C, s, s), an example's side by side, if there are any."""
        if inputs.dim() == 4:
            return inputs, None
        expected = self.inputs
        pair = (VIEWS * expected.channels, expected.height, expected.width)
        count, size = expected.local
        first, others = inputs.tensor_split([pair[0] * pair[1] * pair[2]], dim=1)
        small = others.unflatten(1, (count, expected.channels, size, size)).flatten(0, 1)
        return first.unflatten(1, pair), small

    def embed(self, inputs: Tensor) -> Tensor:
        """Whole images to embeddings (B, N, D), two views each to (2·B, N, D), an example's side by side; smaller ones are left out."""
        images = self.parted(inputs)[0].unflatten(1, (-1, self.inputs.channels)).flatten(0, 1)
        embedded: Tensor = self.dropout(self.added(self.patches(patches_of(images, self.config.patch))))
        return embedded

    def context(self, inputs: Tensor, *, diagnostics: bool = False) -> Context:
        """Everybody hears everybody; no padding."""
        return Context(self.positions.to(inputs.device), diagnostics=diagnostics)

    def forward(self, inputs: Tensor, *, diagnostics: bool = False) -> Output:
        """Of whole images the patches' features, of views the embeddings; and each layer's diagnostics, of the two views, if asked for."""
        images, small = self.parted(inputs)
        features, found = self.trunk(self.embed(images), self.context(images, diagnostics=diagnostics))
        views = images.shape[1] // self.inputs.channels
        if views == 1:
            return Output(features, found)
        embeddings = [self.read_out(features).unflatten(0, (-1, views))]
        if small is not None:
            embeddings.append(self._local_embeddings(small).unflatten(0, (len(images), -1)))
        if self.teacher is not None:
            # Last, so that a part of a batch that is predicted again for its gradient stops before it.
            embeddings.append(self.teacher(images))
        return Output(embeddings[0] if len(embeddings) == 1 else torch.cat(embeddings, dim=1), found)

    def _local_embeddings(self, images: Tensor) -> Tensor:
        """Of smaller views (n, C, s, s), (n, embedding)."""
        assert self.local is not None
        tokens = self.patches(patches_of(images, self.config.patch))
        embedded = self.dropout(self.local(tokens, self.added))
        features, _ = self.trunk(embedded, Context(self.local.positions.to(images.device)))
        return self.read_out(features)

    def read_out(self, features: Tensor) -> Tensor:
        """Embeddings of views, (views, embedding), each of length 1."""
        pooled = features.mean(1) if self.config.pool == "mean" else features.amax(1)
        return normalize(self.head(pooled), dim=-1)

    def calibrate(self, inputs: Tensor) -> list[dict[str, Any]]:
        """As every backbone, on the two views; a teacher begins with what was set."""
        done = super().calibrate(inputs)
        if self.teacher is not None:
            self.teacher.equal(self)
        return done

    def stepped(self, done: int, steps: int) -> None:
        """The teacher follows, with a momentum that goes from its start towards 1, as in DINO."""
        if self.teacher is not None:
            self.teacher.follow(self, cosine(done - 1, steps, self.inputs.teacher, 1.0))

    @contextmanager
    def as_evaluated(self) -> Iterator[None]:
        """With the teacher's values, where its features are evaluated."""
        if self.teacher is None or self.inputs.student_features:
            yield
        else:
            with self.teacher.in_place_of(self):
                yield

    def finish(self) -> None:
        """Become the teacher, where its features are evaluated."""
        if self.teacher is not None and not self.inputs.student_features:
            self.teacher.hand_over(self)

    @property
    def one_pass(self) -> bool:
        """Each view goes through it."""
        return False

    def flops(self) -> int:
        """Patches, trunk and head of all views that an example has, and of two of them by the teacher."""
        return self._student_flops() + self._teacher_flops()

    def training_flops(self) -> int:
        """Three times the student's, and once the teacher's, which has no backward pass."""
        return 3 * self._student_flops() + self._teacher_flops()

    def _student_flops(self) -> int:
        total = VIEWS * self._view_flops(self.num_tokens)
        if self.local is not None:
            total += self.inputs.local[0] * self._view_flops(len(self.local.positions.special))
        return total

    def _teacher_flops(self) -> int:
        return 0 if self.teacher is None else VIEWS * self._view_flops(self.num_tokens)

    def _view_flops(self, tokens: int) -> int:
        """Of one view of so many patches."""
        config, width = self.config, self.trunk.output_width
        embedding = tokens * self.patch_features * config.width
        head = config.head_width * (width + (config.head_layers - 2) * config.head_width + config.embedding)
        return int(2 * (embedding + head) + self.trunk.flops(tokens))


backbone = Views

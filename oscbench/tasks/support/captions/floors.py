"""Floors of tasks on images with captions, in the form of two towers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from oscbench.models.trunk import Output
from oscbench.tasks import DualInputs


class TwoTowers(nn.Module):
    """Embeddings of images and of captions, which meet where their product is large.

    Args:
        inputs: of the task.
        see: images (B, C, height, width) to embeddings (B, E).
        captions: token ids (B, words) to embeddings (B, E).
    """

    def __init__(
        self,
        inputs: DualInputs,
        see: Callable[[Tensor], Tensor],
        captions: Callable[[Tensor], Tensor],
    ) -> None:
        super().__init__()
        self.inputs, self.see, self.captions = inputs, see, captions

    def images(self, rows: Tensor) -> Tensor:
        """Images (B, C, height, width) of rows of numbers."""
        pixels = rows[:, : self.inputs.pixels]
        return pixels.view(-1, self.inputs.channels, self.inputs.height, self.inputs.width)

    def forward(self, rows: Tensor) -> Output:
        """Both embeddings of each row of numbers (B, 2, E)."""
        ids = rows[:, self.inputs.pixels :].long()
        return Output(torch.stack((self.see(self.images(rows)), self.captions(ids)), dim=1))

"""Pairs of an image and a caption: the contrastive loss over a batch (CLIP, arXiv 2103.00020), and floors in the form of two towers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

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


def info_nce(pairs: Tensor, meanings: Tensor) -> Tensor:
    """InfoNCE [nats], the mean of both directions; a pair that means the same as another is no negative of it.

    Args:
        pairs: embeddings of images and captions (B, 2, E); one of them bears the scale.
        meanings: (B,), equal where two pairs say the same.
    """
    images, captions = pairs.unbind(1)
    same = meanings[:, None] == meanings
    same = same & ~torch.eye(len(same), dtype=torch.bool, device=same.device)
    logits = (images @ captions.T).masked_fill(same, float("-inf"))
    own = torch.arange(len(logits), device=logits.device)
    return (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2

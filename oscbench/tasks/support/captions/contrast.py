"""Contrastive learning of pairs: every example is an image and a caption, found among the others of its batch (CLIP, arXiv 2103.00020)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


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


def nearest_means_the_same(pairs: Tensor, meanings: Tensor) -> Tensor:
    """1 where an image (of pairs (B, 2, E)) is nearer to a caption of its own meaning than to any other of the batch."""
    images, captions = pairs.unbind(1)
    nearest = (images @ captions.T).argmax(1)
    return (meanings[nearest] == meanings).float()

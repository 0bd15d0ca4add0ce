"""What is asked of the embeddings of two views: that those of one image agree, and those of different images stay apart."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


def simclr(embeddings: Tensor, temperature: float) -> Tensor:
    """NT-Xent [nats]: each view is to be told from all others of the batch as its partner (SimCLR, arXiv 2002.05709, eq. 1).

    ℓ_ij = -log exp(z_i·z_j/τ) / Σ_{k≠i} exp(z_i·z_k/τ), the mean over all 2 B views i, j the other view of its image.

    Args:
        embeddings: (B, 2, E), each of length 1.
        temperature: τ.
    """
    views = embeddings.flatten(0, 1)
    likeness = views @ views.T / temperature
    itself = torch.eye(len(views), dtype=torch.bool, device=views.device)
    partner = torch.arange(len(views), device=views.device) ^ 1
    return cross_entropy(likeness.masked_fill(itself, float("-inf")), partner)


def coding_rate_loss(embeddings: Tensor, distortion: float, weight: float = 1.0) -> Tensor:
    """What SimDINO minimises: -cos(z_1, z_2) less the coding rate of each view's embeddings (arXiv 2502.10385, eq. 7, as its code has it).

    -w mean_b z_b1·z_b2 - mean_v (E + B)/(E B) ½ log det(I + E/(B ε) Z_vᵀ Z_v), with Z_v (B, E) the embeddings of view v. The code's ε stands
    where the paper's ε² does. Their target is a slow average of the model's own weights; here it is the model itself, whose gradient is twice
    that of a target held fixed, since the agreement of two views is symmetric.

    Args:
        embeddings: (B, 2, E), each of length 1.
        distortion: ε.
        weight: w, of the agreement.
    """
    count, _, channels = embeddings.shape
    agreement = (embeddings[:, 0] * embeddings[:, 1]).sum(-1).mean()
    views = embeddings.transpose(0, 1)
    # Of the two Gram matrices, which have one determinant, the smaller.
    gram = views.mT @ views if channels <= count else views @ views.mT
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    roots = torch.linalg.cholesky(eye + channels / (count * distortion) * gram)
    half_log_det = roots.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    spread = (channels + count) / (channels * count) * half_log_det.mean()
    loss: Tensor = -weight * agreement - spread
    return loss

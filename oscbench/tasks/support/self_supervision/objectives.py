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
    where the paper's ε² does. Their target is a slow average of the model's own weights (`taught_coding_rate_loss`); here it is the model
    itself, whose gradient is twice that of a target held fixed, since the agreement of two views is symmetric.

    Args:
        embeddings: (B, 2, E), each of length 1.
        distortion: ε.
        weight: w, of the agreement.
    """
    agreement = (embeddings[:, 0] * embeddings[:, 1]).sum(-1).mean()
    loss: Tensor = -weight * agreement - coding_rate(embeddings, distortion)
    return loss


def taught_coding_rate_loss(
    embeddings: Tensor, targets: Tensor, distortion: float, weight: float = 1.0
) -> Tensor:
    """What SimDINO minimises beside its slow teacher (arXiv 2502.10385, eq. 7, as its code has it).

    -w mean_{(v,u), v≠u} mean_b z_bv·t_bu - mean_u γ ½ log det(I + E/(B ε) A_uᵀ A_u), A_u = (Z_u + T_u)/2, γ = (E + B)/(E B): each view v
    of the student is to agree with each view u of the teacher but its own, 2 V - 2 pairs, and what spreads are the means of both
    embeddings of the views that both see. As theirs but for two things: B is the whole batch (they sum over the part of one GPU), and
    SimDINOv2's term of masked patches is left out.

    Args:
        embeddings: of the student, (B, V, E), each of length 1; the first two views are the teacher's.
        targets: of the teacher, (B, 2, E), each of length 1, without gradient.
        distortion: ε.
        weight: w, of the agreement.
    """
    seen, views = targets.shape[1], embeddings.shape[1]
    likeness = torch.einsum("nvc,nuc->vu", embeddings, targets) / len(targets)
    own = torch.eye(views, seen, dtype=torch.bool, device=likeness.device)
    agreement = likeness.masked_fill(own, 0.0).sum() / (seen * views - seen)
    spread = coding_rate((embeddings[:, :seen] + targets) / 2, distortion)
    loss: Tensor = -weight * agreement - spread
    return loss


def coding_rate(embeddings: Tensor, distortion: float) -> Tensor:
    """mean_v (E + B)/(E B) ½ log det(I + E/(B ε) Z_vᵀ Z_v) [nats] of embeddings (B, V, E), Z_v (B, E) those of view v."""
    count, _, channels = embeddings.shape
    views = embeddings.transpose(0, 1)
    # Of the two Gram matrices, which have one determinant, the smaller.
    gram = views.mT @ views if channels <= count else views @ views.mT
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    roots = torch.linalg.cholesky(eye + channels / (count * distortion) * gram)
    half_log_det = roots.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    rate: Tensor = (channels + count) / (channels * count) * half_log_det.mean()
    return rate

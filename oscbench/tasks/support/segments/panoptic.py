"""Panoptic segmentation with queries: each segment is matched to a query in training, and queries are merged into one map at test.

Labels and losses as Mask2Former has them (arXiv 2112.01527): Hungarian matching, class 2, mask 5, dice 5, and a tenth of the weight for
queries that stand for nothing. Thresholds of the merge are the same for all and never tuned.
"""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot, softplus

from oscbench.tasks.support.segments.panoptic_quality import VOID

INSTANCES = 8
"""A label is class · INSTANCES + instance; stuff has instance 0 alone."""
UNLABELLED = 255
CLASS_WEIGHT, MASK_WEIGHT, DICE_WEIGHT, NONE_WEIGHT = 2.0, 5.0, 5.0, 0.1
KEPT_SCORE, KEPT_SHARE = 0.5, 0.8
"""A query is kept above this score, and if so much of its mask is left to it."""


def segments_of(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Classes (B, S) of the segments of labels (B, h, w), -1 where an image has fewer, and their masks (B, S, h·w) as 0 and 1."""
    flat = labels.flatten(1)
    there = one_hot(flat.clamp_max(UNLABELLED), UNLABELLED + 1).amax(1)[:, :UNLABELLED].bool()
    most = max(1, int(there.sum(1).max()))
    numbers = torch.where(there, torch.arange(UNLABELLED, device=labels.device), UNLABELLED)
    numbers = numbers.sort(1).values[:, :most]
    masks = (flat[:, None] == numbers[..., None]) & (numbers < UNLABELLED)[..., None]
    return torch.where(numbers < UNLABELLED, numbers // INSTANCES, -1), masks.float()


def parted(prediction: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Class logits (B, Q, classes + 1) and mask logits (B, Q, h·w)."""
    logits, masks = prediction.split((classes + 1, prediction.shape[-1] - classes - 1), dim=-1)
    return logits, masks


def panoptic_loss(prediction: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Weighted losses of classes, masks and overlaps after the best matching of segments to queries."""
    logits, masks = parted(prediction, classes)
    wanted, truth = segments_of(labels)
    known = (labels != UNLABELLED).flatten(1).float()
    batch, query, segment = _matching(logits.detach(), masks.detach(), wanted, truth, known)
    targets = torch.full(logits.shape[:2], classes, device=logits.device)
    targets[batch, query] = wanted[batch, segment]
    weights = torch.ones(classes + 1, device=logits.device)
    weights[classes] = NONE_WEIGHT
    total = CLASS_WEIGHT * cross_entropy(logits.transpose(1, 2), targets, weights)
    if len(batch) == 0:
        return total
    chosen, true, seen = masks[batch, query], truth[batch, segment], known[batch]
    pixels = seen.sum(1).clamp_min(1.0)
    crossed = binary_cross_entropy_with_logits(chosen, true, reduction="none")
    mask = ((crossed * seen).sum(1) / pixels).mean()
    shown = chosen.sigmoid() * seen
    dice = 1.0 - (2.0 * (shown * true).sum(1) + 1.0) / (shown.sum(1) + true.sum(1) + 1.0)
    return total + MASK_WEIGHT * mask + DICE_WEIGHT * dice.mean()


def _matching(
    logits: Tensor, masks: Tensor, wanted: Tensor, truth: Tensor, known: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Image, query and segment of each match of least cost; with fewer queries than segments some stay alone."""
    chances = logits.softmax(-1).gather(2, wanted.clamp_min(0)[:, None].expand(-1, logits.shape[1], -1))
    # Cross-entropy of all pixels is softplus(x) - x t, and so a product of matrices.
    everywhere = (softplus(masks) * known[:, None]).sum(-1, keepdim=True)
    pixels = known.sum(1).clamp_min(1.0)[:, None, None]
    crossed = (everywhere - masks @ truth.transpose(1, 2)) / pixels
    shown = masks.sigmoid() * known[:, None]
    sizes = shown.sum(-1, keepdim=True) + truth.sum(-1)[:, None]
    dice = 1.0 - (2.0 * shown @ truth.transpose(1, 2) + 1.0) / (sizes + 1.0)
    cost = (MASK_WEIGHT * crossed + DICE_WEIGHT * dice - CLASS_WEIGHT * chances).cpu()
    found: list[tuple[int, int, int]] = []
    for image, count in enumerate((wanted >= 0).sum(1).tolist()):
        rows, columns = linear_sum_assignment(cost[image, :, :count].numpy())
        found += [(image, int(row), int(column)) for row, column in zip(rows, columns, strict=True)]
    index = torch.tensor(found, dtype=torch.int64, device=logits.device).view(-1, 3)
    return index[:, 0], index[:, 1], index[:, 2]


def merged(logits: Tensor, masks: Tensor, stuff: frozenset[int]) -> tuple[Tensor, list[int]]:
    """One image's queries as a segment map (h·w,), -1 where nothing is answered, and the class of each segment.

    Args:
        logits: of classes (Q, classes + 1).
        masks: mask logits (Q, h·w).
        stuff: classes whose segments are one.
    """
    scores, classes = logits.softmax(-1)[:, :-1].max(-1)
    kept = (scores > KEPT_SCORE) & (logits.argmax(-1) < logits.shape[-1] - 1)
    found = torch.full(masks.shape[1:], VOID)
    names: list[int] = []
    if not bool(kept.any()):
        return found, names
    shown = masks[kept].sigmoid()
    owner = (scores[kept, None] * shown).argmax(0)
    for place, number in enumerate(classes[kept].tolist()):
        own = (owner == place) & (shown[place] >= 0.5)
        whole = int((shown[place] >= 0.5).sum())
        if int(own.sum()) == 0 or int(own.sum()) < KEPT_SHARE * whole:
            continue
        if number in stuff and number in names:
            found[own.cpu()] = names.index(number)
            continue
        found[own.cpu()] = len(names)
        names.append(number)
    return found, names

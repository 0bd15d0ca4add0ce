"""Panoptic segmentation with queries: each segment is matched to a query in training, and queries are merged into one map at test.

Losses and merge as Mask2Former has them (arXiv 2112.01527): Hungarian matching, class 2, mask 5, dice 5, and a tenth of the weight for
queries that stand for nothing. Masks are compared in all pixels, not in drawn ones, and after the last layer alone. Thresholds of the merge
are the same for all and never tuned; Mask2Former keeps queries above a score of 0.8, and we above 0.5.

A label of a pixel is class · INSTANCES + instance, stuff having instance 0 alone; `VOID` where nobody labelled; and `crowd_of(class)` in a
crowd of things that nobody told apart. Neither void nor crowds move a mask.

Panoptic quality (Kirillov et al., arXiv 1801.00868): segments matched by class and overlap, counted over a whole split. A segment map gives
each pixel the number of its segment, from 0, and -1 for void: pixels that nobody labelled, or that no segment was answered for. Void of the
truth counts nowhere: it is taken out of every union, and a segment that lies mostly in it, or in a crowd of its own class, is no mistake.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, softplus

INSTANCES = 128
"""Most things of a class in an image."""
MOST_CLASSES = 2**15 // INSTANCES
"""Whose labels, and those of their crowds, are whole numbers of 16 bits."""
CLASS_WEIGHT, MASK_WEIGHT, DICE_WEIGHT, NONE_WEIGHT = 2.0, 5.0, 5.0, 0.1
KEPT_SCORE, KEPT_SHARE = 0.5, 0.8
"""A query is kept above this score, and if the pixels that it wins are so many of its mask's."""


def crowd_of(number: int) -> int:
    """Label of a crowd of a class."""
    return VOID - 1 - number


def segments_of(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Classes (B, S) of the segments of labels (B, h, w), -1 where an image has fewer, and their masks (B, S, h·w) as 0 and 1."""
    flat = labels.flatten(1)
    there = [found[found >= 0] for found in (row.unique() for row in flat)]
    numbers = flat.new_full((len(flat), max(1, *map(len, there))), VOID)
    for row, found in zip(numbers, there, strict=True):
        row[: len(found)] = found
    masks = (flat[:, None] == numbers[..., None]) & (numbers >= 0)[..., None]
    return torch.where(numbers >= 0, numbers // INSTANCES, -1), masks.float()


def truth_of(labels: Tensor) -> tuple[Tensor, list[int], list[bool]]:
    """An image's labels as a segment map of their shape, and each segment's class and whether it is a crowd."""
    numbers, places = labels.unique(return_inverse=True)
    labelled = numbers != VOID
    places = torch.where(labels == VOID, VOID, labelled.cumsum(0)[places] - 1)
    crowds = numbers[labelled] < VOID
    classes = torch.where(crowds, VOID - 1 - numbers[labelled], numbers[labelled] // INSTANCES)
    return places, classes.tolist(), crowds.tolist()


def parted(prediction: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Class logits (B, Q, classes + 1) and mask logits (B, Q, h·w)."""
    logits, masks = prediction.split((classes + 1, prediction.shape[-1] - classes - 1), dim=-1)
    return logits, masks


def panoptic_loss(prediction: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Weighted losses of classes, masks and overlaps after the best matching of segments to queries."""
    logits, masks = parted(prediction, classes)
    wanted, truth = segments_of(labels)
    known = (labels >= 0).flatten(1).float()
    batch, query, segment = _matching(logits.detach(), masks.detach(), wanted, truth, known)
    targets = torch.full(logits.shape[:2], classes, device=logits.device)
    targets[batch, query] = wanted[batch, segment]
    weights = torch.ones(classes + 1, device=logits.device)
    weights[classes] = NONE_WEIGHT
    if logits.is_cuda:  # where the mean over queries cannot be repeated
        each = cross_entropy(logits.transpose(1, 2), targets, weights, reduction="none")
        total = CLASS_WEIGHT * each.sum() / weights[targets].sum()
    else:
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
        won, whole = owner == place, shown[place] >= 0.5
        own = won & whole
        # As in Mask2Former's code, what it won is counted with pixels that are none of its mask.
        if not bool(own.any()) or int(won.sum()) < KEPT_SHARE * int(whole.sum()):
            continue
        if number in stuff and number in names:
            found[own.cpu()] = names.index(number)
            continue
        found[own.cpu()] = len(names)
        names.append(number)
    return found, names


VOID = -1
MATCHED = 0.5
"""Segments of one class with a larger intersection over union are the same; there is at most one such partner."""


def panoptic_counts(
    found: Tensor,
    found_classes: Sequence[int],
    truth: Tensor,
    truth_classes: Sequence[int],
    num_classes: int,
    crowd: Sequence[bool] | None = None,
) -> Tensor:
    """What an image adds: by class the sum of matched overlaps, and numbers of matches, false segments and missed ones, (classes, 4).

    Args:
        found: segment map of an answer (h, w).
        found_classes: class of each of its segments.
        truth: segment map of the truth (h, w).
        truth_classes: class of each of its segments.
        num_classes: how many classes there are.
        crowd: which segments of the truth are crowds, that are neither found nor missed.
    """
    crowds = torch.tensor(list(crowd or [False] * len(truth_classes)), dtype=torch.bool)
    ours, theirs = torch.tensor(list(found_classes)), torch.tensor(list(truth_classes))
    rows, columns = len(ours), len(theirs)
    # Pixels of each segment of the answer (rows, the last void) in each of the truth (columns, the last void).
    places = (found.cpu().long() % (rows + 1)) * (columns + 1) + truth.cpu().long() % (columns + 1)
    pairs = torch.bincount(places.flatten(), minlength=(rows + 1) * (columns + 1)).double()
    pairs = pairs.view(rows + 1, columns + 1)
    counts = torch.zeros(num_classes, 4, dtype=torch.float64)
    if rows == 0:
        missed = theirs[~crowds & (pairs[:, :columns].sum(0) > 0)]
        counts[:, 3] += torch.bincount(missed.long(), minlength=num_classes)
        return counts
    both, in_void = pairs[:rows, :columns], pairs[:rows, columns]
    area, true_area = pairs[:rows].sum(1), pairs[:, :columns].sum(0)
    union = (area - in_void)[:, None] + true_area - both
    same = ours[:, None] == theirs if columns else torch.zeros(rows, 0, dtype=torch.bool)
    overlap = both / union.clamp_min(1.0)
    matched = same & ~crowds & (overlap > MATCHED)
    excused = in_void + (both * (same & crowds)).sum(1)
    false = (area > 0) & ~matched.any(1) & (excused <= MATCHED * area)
    missed = (true_area > 0) & ~matched.any(0) & ~crowds
    row, column = matched.nonzero().unbind(1)
    counts[:, 0].index_add_(0, ours[row], overlap[row, column])
    counts[:, 1] += torch.bincount(ours[row], minlength=num_classes)
    counts[:, 2] += torch.bincount(ours[false], minlength=num_classes)
    counts[:, 3] += torch.bincount(theirs[missed].long(), minlength=num_classes)
    return counts


def qualities(counts: Tensor) -> Tensor:
    """PQ, SQ and RQ of each class (classes, 3) from summed counts; NaN for a class that neither truth nor answers have."""
    overlap, right, false, missed = counts.unbind(1)
    weight = right + 0.5 * (false + missed)
    quality = overlap / weight
    segmentation = torch.where(right > 0, overlap / right.clamp_min(1.0), torch.zeros_like(right))
    segmentation = torch.where(weight > 0, segmentation, torch.full_like(right, torch.nan))
    return torch.stack((quality, segmentation, right / weight), dim=1)

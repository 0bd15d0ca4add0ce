"""Panoptic quality (Kirillov et al., arXiv 1801.00868): segments matched by class and overlap, counted over a whole split.

A segment map gives each pixel the number of its segment, from 0, and -1 for void: pixels that nobody labelled, or that no segment was
answered for. Void of the truth counts nowhere: it is taken out of every union, and a segment that lies mostly in it, or in a crowd of its own
class, is no mistake.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

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

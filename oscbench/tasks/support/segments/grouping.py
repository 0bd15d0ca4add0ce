"""Groups of patches against the objects of an image, as object discovery measures them: clusters, adjusted Rand index, best overlap.

An object map gives each pixel the number of the object that it shows, -1 for none.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.metrics import adjusted_rand_score
from torch import Tensor
from torch.nn.functional import one_hot

NOTHING = -1


def patch_objects(maps: Tensor, patch: int, *, any_pixel: bool = False) -> Tensor:
    """The object that most pixels of each patch show, or none: (B, h, w) -> (B, patches) in reading order; a tie goes to the object.

    With `any_pixel` only pixels that show an object have a say, so that a patch with a single one belongs to it.
    """
    count = int(maps.max()) + 2
    background = count - 1  # last, so that it loses ties
    shown = one_hot(torch.where(maps == NOTHING, background, maps), count)
    patches = (
        shown.unflatten(1, (-1, patch)).unflatten(3, (-1, patch)).sum((2, 4))
    )  # (B, rows, columns, count)
    if any_pixel:
        patches[..., background] = patches[..., background].clamp_max(1) * (
            patches[..., :background].sum(-1) == 0
        )
    most = patches.argmax(-1).flatten(1)
    return torch.where(most == background, NOTHING, most)


def clusters(features: Tensor, number: int) -> np.ndarray:
    """Cluster number, from 0, of each of N rows of features (N, F): agglomerative with average linkage, cut at so many clusters at most."""
    if len(features) <= number:
        return np.arange(len(features))
    tree = linkage(features.double().numpy(), method="average")
    return np.asarray(fcluster(tree, number, criterion="maxclust") - 1)


def upsampled(patches: np.ndarray, grid: tuple[int, int], patch: int) -> np.ndarray:
    """Numbers of patches (N,) in reading order as a map of pixels (rows · patch, columns · patch)."""
    return patches.reshape(grid).repeat(patch, 0).repeat(patch, 1)


def foreground_ari(found: np.ndarray, objects: np.ndarray) -> float:
    """Adjusted Rand index of a map of segments with the objects of an image, over pixels that show an object alone (FG-ARI)."""
    seen = objects != NOTHING
    return float(adjusted_rand_score(objects[seen], found[seen]))


def whole_ari(found: np.ndarray, objects: np.ndarray) -> float:
    """The same over all pixels, those that show nothing as a group of their own."""
    return float(adjusted_rand_score(objects.ravel(), found.ravel()))


def mean_best_overlap(found: np.ndarray, objects: np.ndarray) -> float:
    """Mean over objects of the best intersection over union that any segment has with it (MBO)."""
    names = np.unique(objects[objects != NOTHING])
    segments = np.unique(found)
    # (objects, segments): pixels in both, from one count of pairs.
    pairs = np.zeros((len(names) + 1, len(segments)))
    rows = np.where(objects == NOTHING, len(names), np.searchsorted(names, objects))
    np.add.at(pairs, (rows.ravel(), np.searchsorted(segments, found).ravel()), 1)
    both = pairs[:-1]
    union = both.sum(1, keepdims=True) + pairs.sum(0) - both
    return float((both / union).max(1).mean())

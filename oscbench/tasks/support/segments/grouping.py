"""Groups of patches against the objects of an image, as object discovery measures them: clusters, adjusted Rand index, best overlap.

An object map gives each pixel the number of the object that it shows, -1 for none; -2 where objects overlap, which counts nowhere.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist, squareform
from sklearn.metrics import adjusted_rand_score
from torch import Tensor
from torch.nn.functional import one_hot

NOTHING, OVERLAP = -1, -2
JITTER, JITTER_SEED = 1e-5, 20_261_127
"""Noise on what is clustered, of the features' own spread: places on a grid lie equally far apart, and ties would go by index."""


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


def clusters(features: Tensor, number: int, draw: int = 0) -> np.ndarray:
    """Cluster number, from 0, of each of N rows of features (N, F): agglomerative with average linkage, cut at so many clusters at most.

    Of equal distances one is taken at random. That alone moves FG-ARI of coordinates by 0.1 a scene, so that every scene gets its own draw.

    Args:
        features: (N, F).
        number: of clusters at most.
        draw: whose ties are broken alike; the number of a scene.
    """
    if len(features) <= number:
        return np.arange(len(features))
    tree = linkage(_untied(features, draw), method="average")
    return np.asarray(fcluster(tree, number, criterion="maxclust") - 1)


def silhouette_clusters(features: Tensor, most: int, draw: int = 0) -> np.ndarray:
    """The same where nobody says how many: of 2 up to `most` clusters, as many as give the largest mean silhouette (Rousseeuw, 1987).

    All in one where no number of them has any, since rows are too few or alike.
    """
    condensed = pdist(_untied(features, draw))
    tree, distances = linkage(condensed, method="average"), squareform(condensed)
    best, found = -np.inf, np.zeros(len(features), dtype=np.int64)
    for number in range(2, min(most, len(features) - 1) + 1):
        tried = np.asarray(fcluster(tree, number, criterion="maxclust") - 1)
        if tried.max() == 0:
            continue
        score = silhouette(distances, tried)
        if score > best:
            best, found = score, tried
    return found


def _untied(features: Tensor, draw: int) -> np.ndarray:
    """Features (N, F) in double precision with a little noise, none where all are equal."""
    rows = features.double().numpy()
    noise = np.random.default_rng((JITTER_SEED, draw)).standard_normal(rows.shape)
    return np.asarray(rows + JITTER * rows.std() * noise)


def silhouette(distances: np.ndarray, groups: np.ndarray) -> float:
    """Mean over rows of (b - a) / max(a, b): mean distance to one's own group, a, and to the nearest other, b; 0 where one is alone.

    scikit-learn's checks its arguments for a hundred times as long, which would be most of an evaluation.

    Args:
        distances: (N, N).
        groups: (N,) numbers from 0, two of them at least.
    """
    member = np.eye(groups.max() + 1)[groups]
    sizes, itself = member.sum(0), np.arange(len(groups))
    sums = distances @ member  # (N, groups)
    own = sums[itself, groups] / np.maximum(sizes[groups] - 1, 1)
    sums[itself, groups] = np.inf
    other = (sums / sizes).min(1)
    most = np.maximum(own, other)
    values = np.where((sizes[groups] > 1) & (most > 0), (other - own) / np.where(most > 0, most, 1.0), 0.0)
    return float(values.mean())


def upsampled(patches: np.ndarray, grid: tuple[int, int], patch: int) -> np.ndarray:
    """Numbers of patches (N,) in reading order as a map of pixels (rows · patch, columns · patch)."""
    return patches.reshape(grid).repeat(patch, 0).repeat(patch, 1)


def foreground_ari(found: np.ndarray, objects: np.ndarray) -> float:
    """Adjusted Rand index of a map of segments with the objects of an image, over pixels that show an object alone (FG-ARI)."""
    seen = objects >= 0
    return float(adjusted_rand_score(objects[seen], found[seen]))


def whole_ari(found: np.ndarray, objects: np.ndarray) -> float:
    """The same over all pixels, those that show nothing as a group of their own."""
    known = objects != OVERLAP
    return float(adjusted_rand_score(objects[known], found[known]))


def mean_best_overlap(found: np.ndarray, objects: np.ndarray) -> float:
    """Mean over objects of the best intersection over union that any segment has with it (MBO); NaN where there is no object."""
    known = objects != OVERLAP
    objects, found = objects[known], found[known]
    names = np.unique(objects[objects != NOTHING])
    if len(names) == 0:
        return float("nan")
    segments = np.unique(found)
    # (objects, segments): pixels in both, from one count of pairs.
    pairs = np.zeros((len(names) + 1, len(segments)))
    rows = np.where(objects == NOTHING, len(names), np.searchsorted(names, objects))
    np.add.at(pairs, (rows, np.searchsorted(segments, found)), 1)
    both = pairs[:-1]
    union = both.sum(1, keepdims=True) + pairs.sum(0) - both
    return float((both / union).max(1).mean())

"""Groups against objects: adjusted Rand index and best overlap by their literal counts, degenerate images, and patches of objects."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist, squareform
from sklearn.metrics import adjusted_rand_score, silhouette_score

from oscbench.tasks.support.segments.grouping import (
    clusters,
    foreground_ari,
    mean_best_overlap,
    patch_objects,
    silhouette,
    silhouette_clusters,
    upsampled,
    whole_ari,
)


def literal_ari(one: list[int], two: list[int]) -> float:
    """(index - expected) / (most - expected) by counting pairs."""
    pairs = list(combinations(range(len(one)), 2))
    both = sum(one[i] == one[j] and two[i] == two[j] for i, j in pairs)
    first, second = (sum(x[i] == x[j] for i, j in pairs) for x in (one, two))
    expected = first * second / comb(len(one), 2)
    most = (first + second) / 2
    return 1.0 if most == expected else (both - expected) / (most - expected)


def literal_overlap(found: np.ndarray, objects: np.ndarray) -> float:
    best = []
    for name in set(objects.ravel().tolist()) - {-1}:
        mask = objects == name
        ious = [(mask & (found == s)).sum() / (mask | (found == s)).sum() for s in np.unique(found)]
        best.append(max(ious))
    return float(np.mean(best))


@pytest.mark.parametrize("seed", range(6))
def test_scores_are_their_literal_counts(seed: int) -> None:
    random = np.random.default_rng(seed)
    objects = random.integers(-1, 4, (6, 7))
    found = np.where(random.random((6, 7)) < 0.5, objects + 1, random.integers(0, 5, (6, 7)))
    seen = objects >= 0
    expected = literal_ari(objects[seen].tolist(), found[seen].tolist())
    assert foreground_ari(found, objects) == pytest.approx(expected)
    assert whole_ari(found, objects) == pytest.approx(
        literal_ari(objects.ravel().tolist(), found.ravel().tolist())
    )
    assert mean_best_overlap(found, objects) == pytest.approx(literal_overlap(found, objects))


def test_names_of_segments_do_not_count_and_objects_may_skip_numbers() -> None:
    objects = np.array([[7, 7, -1], [3, 3, -1]])
    found = np.array([[0, 0, 9], [5, 5, 9]])
    assert (
        foreground_ari(found, objects)
        == whole_ari(found, objects)
        == mean_best_overlap(found, objects)
        == 1.0
    )
    # All in one segment finds nothing, and each object overlaps a third of it.
    assert foreground_ari(np.zeros((2, 3), int), objects) == 0.0
    assert mean_best_overlap(np.zeros((2, 3), int), objects) == pytest.approx(1 / 3)
    # One object in one segment is right by definition.
    assert foreground_ari(np.zeros((1, 2), int), np.array([[4, 4]])) == 1.0


def test_a_patch_shows_what_most_of_its_pixels_show() -> None:
    maps = torch.tensor([[[0, 0, 1, 1], [-1, -1, 1, -1], [-1, 2, -1, -1], [-1, -1, -1, -1]]])
    assert patch_objects(maps, 2).tolist() == [[0, 1, -1, -1]]
    assert patch_objects(maps, 1).view(4, 4).tolist() == maps[0].tolist()
    assert patch_objects(maps, 2, any_pixel=True).tolist() == [[0, 1, 2, -1]]
    assert patch_objects(torch.full((2, 4, 4), -1), 2).tolist() == [[-1] * 4] * 2


def test_clusters_part_what_lies_apart() -> None:
    generator = torch.Generator().manual_seed(0)
    centres = torch.tensor([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0]])
    truth = torch.randint(3, (40,), generator=generator)
    features = centres[truth] + 0.3 * torch.randn(40, 2, generator=generator)
    found = clusters(features, 3)
    assert literal_ari(found.tolist(), truth.tolist()) == 1.0
    assert set(found.tolist()) == {0, 1, 2}
    assert clusters(features[:2], 3).tolist() == [0, 1]


def test_of_equal_distances_one_is_taken_at_random_and_the_same_again() -> None:
    """On a grid of places, in single and in double precision; where rows differ in earnest the noise says nothing."""
    places = torch.cartesian_prod(torch.arange(8.0), torch.arange(8.0))
    cut = [clusters(places, 4, draw) for draw in range(6)]
    assert np.array_equal(cut[0], clusters(places.double(), 4))
    assert len({tuple(found) for found in cut}) == 6
    turned = clusters(places.view(8, 8, 2).transpose(0, 1).flatten(0, 1), 4)
    assert adjusted_rand_score(cut[0], turned) < 1.0
    apart = places + 0.05 * torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    assert len({tuple(clusters(apart, 4, draw)) for draw in range(6)}) == 1
    assert len({tuple(silhouette_clusters(apart, 8, draw)) for draw in range(6)}) == 1
    assert clusters(torch.ones(6, 2), 3).tolist() == [0] * 6


def test_groups_of_patches_cover_their_pixels() -> None:
    found = upsampled(np.array([0, 1, 2, 3, 4, 5]), (2, 3), 2)
    assert found.shape == (4, 6)
    assert found[:2, 2:4].tolist() == [[1, 1], [1, 1]]
    assert found[2:, 4:].tolist() == [[5, 5], [5, 5]]


@pytest.mark.parametrize("seed", range(4))
def test_where_objects_overlap_nothing_is_counted(seed: int) -> None:
    random = np.random.default_rng(seed)
    objects, found = random.integers(-2, 3, (8, 9)), random.integers(0, 4, (8, 9))
    known = objects != -2
    other = np.where(known, found, 9 + random.integers(0, 5, (8, 9)))
    for score in (foreground_ari, whole_ari, mean_best_overlap):
        assert score(found, objects) == score(other, objects)
    assert whole_ari(found, objects) == adjusted_rand_score(objects[known], found[known])
    assert foreground_ari(found, objects) == adjusted_rand_score(objects[objects >= 0], found[objects >= 0])
    assert mean_best_overlap(found, objects) == pytest.approx(literal_overlap(found[known], objects[known]))


@pytest.mark.parametrize("found", [np.zeros((4, 4), int), np.arange(16).reshape(4, 4)])
def test_images_of_no_object_and_of_one(found: np.ndarray) -> None:
    nothing, one = np.full((4, 4), -1), np.full((4, 4), 2)
    assert foreground_ari(found, nothing) == 1.0
    assert np.isnan(mean_best_overlap(found, nothing))
    for objects in (nothing, one):
        assert whole_ari(found, objects) == adjusted_rand_score(objects.ravel(), found.ravel())
    assert mean_best_overlap(found, one) == 1 / len(np.unique(found))


@pytest.mark.parametrize("seed", range(4))
def test_the_silhouette_is_the_librarys(seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = random.normal(size=(20, 3))
    rows[1] = rows[0]
    distances = squareform(pdist(rows))
    groups = random.integers(0, 4, 20)
    groups[7] = 4  # one that is alone
    expected = silhouette_score(distances, groups, metric="precomputed")
    assert silhouette(distances, groups) == pytest.approx(expected)


def test_the_silhouette_tells_how_many_clusters_there_are() -> None:
    centres = 9.0 * torch.eye(4)
    truth = torch.arange(24) % 4
    rows = centres[truth] + 0.1 * torch.randn(24, 4, generator=torch.Generator().manual_seed(0))
    assert adjusted_rand_score(truth, silhouette_clusters(rows, 8)) == 1.0
    # Fewer at most, rows that are all alike, and too few of them.
    assert len(np.unique(silhouette_clusters(rows, 3))) <= 3
    assert silhouette_clusters(torch.ones(6, 2), 8).tolist() == [0] * 6
    assert silhouette_clusters(torch.eye(2), 8).tolist() == [0, 0]

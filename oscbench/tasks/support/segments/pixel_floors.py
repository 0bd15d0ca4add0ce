"""Floors of segmentation: what a pixel's class can be told by without anything being brought together from afar."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn.functional import interpolate, one_hot, unfold

from oscbench.models.trunk import named_seed
from oscbench.tasks import Batch
from oscbench.tasks.support.floors import NEVER, Floor, logistic

WINDOW = 5
"""Side of the neighbourhood that a pixel is told by [pixels]."""
DEGREE = 4
"""Of the polynomial in a pixel's row and column."""
FITTED_PIXELS = 20_000
SEED = 20_261_201


def most_frequent_pixel(labels: Tensor, classes: int, ignored: int) -> Floor:
    """Always the class that training labels (n, h, w) have most of, at every pixel."""
    shares = torch.bincount(labels[labels != ignored].long(), minlength=classes).double()
    scores = _scores(shares)

    def predict(images: Tensor) -> Tensor:
        return scores[:, None, None].expand(len(images), -1, *images.shape[-2:])

    return Floor(predict)


def most_frequent_at(labels: Tensor, classes: int, ignored: int) -> Floor:
    """At each place the class that training labels (n, h, w) have most of there; for images of another size, at the nearest place."""
    counts = torch.zeros(classes, *labels.shape[1:], dtype=torch.float64)
    for part in labels.split(64):
        known = torch.where(part == ignored, classes, part.long())
        counts += one_hot(known, classes + 1)[..., :classes].sum(0).permute(2, 0, 1)
    scores = _scores(counts)

    def predict(images: Tensor) -> Tensor:
        size = images.shape[-2:]
        there = scores if size == scores.shape[1:] else interpolate(scores[None], size, mode="nearest")[0]
        return there.expand(len(images), -1, -1, -1)

    return Floor(predict)


def window_logistic(training: Iterable[Batch], classes: int, ignored: int, *, placed: bool = False) -> Floor:
    """Logistic regression of a pixel's class on the square of pixels around it, fitted to pixels drawn from all of training.

    Args:
        training: images and labels in batches, not augmented.
        classes: how many there are.
        ignored: label of a pixel that counts nowhere.
        placed: also on a polynomial of where the pixel is in its image.
    """
    batches = list(training)
    per_batch = -(-FITTED_PIXELS // len(batches))
    drawn = []
    for index, batch in enumerate(batches):
        generator = torch.Generator().manual_seed(named_seed(SEED, str(index)))
        labels = batch.targets.flatten()
        places = (labels != ignored).nonzero()[:, 0]
        places = places[torch.randperm(len(places), generator=generator)[:per_batch]]
        told = _windows_at(batch.inputs, places)
        if placed:
            where = place_features(*batch.inputs.shape[-2:])
            told = torch.cat((told, where[places % len(where)]), dim=1)
        drawn.append(Batch(told, labels[places].long()))
    answer = logistic(drawn, lambda told: told, lambda targets: targets, classes)

    def predict(images: Tensor) -> Tensor:
        told = _windows(images)
        if placed:
            where = place_features(*images.shape[-2:])
            told = torch.cat((told, where.expand(len(images), -1, -1)), dim=2)
        scores: Tensor = answer(told.flatten(0, 1)).prediction
        found: Tensor = scores.view(len(images), -1, classes).transpose(1, 2)
        return found.reshape(len(images), classes, *images.shape[-2:])

    return Floor(predict)


def place_features(height: int, width: int) -> Tensor:
    """Products of powers of each pixel's row and column, both from -1 to 1, up to `DEGREE` together: (h·w, features)."""
    row, column = (2.0 * (torch.arange(count) + 0.5) / count - 1.0 for count in (height, width))
    powers = [(i, j) for i in range(DEGREE + 1) for j in range(DEGREE + 1 - i) if i + j]
    return torch.stack([(row[:, None] ** i * column**j).flatten() for i, j in powers], dim=1)


def _windows(images: Tensor) -> Tensor:
    """The surroundings of each pixel of images (B, C, h, w), the image's mean beyond its edges: (B, h·w, C·WINDOW²)."""
    mean = images.mean((-2, -1), keepdim=True)
    found = unfold(images - mean, WINDOW, padding=WINDOW // 2).transpose(1, 2)
    return found + mean.flatten(1).repeat_interleave(WINDOW**2, 1)[:, None]


def _windows_at(images: Tensor, places: Tensor) -> Tensor:
    """The same for some pixels, by their places among all pixels of all images."""
    pixels = images.shape[-2] * images.shape[-1]
    rows, inverse = (places // pixels).unique(return_inverse=True)
    found = torch.empty(len(places), images.shape[1] * WINDOW**2)
    for start in range(0, len(rows), 16):  # all windows of all images would take 25 times their memory
        here = (inverse >= start) & (inverse < start + 16)
        windows = _windows(images[rows[start : start + 16]])
        found[here] = windows[inverse[here] - start, places[here] % pixels]
    return found


def _scores(shares: Tensor) -> Tensor:
    """Logarithms of shares along the first axis; of what was never seen, the least that a score may be."""
    total = shares.sum(0, keepdim=True).clamp_min(1.0)
    return (shares / total).log().clamp_min(NEVER).float()

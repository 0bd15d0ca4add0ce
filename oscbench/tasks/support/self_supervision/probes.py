"""How frozen features are scored: by their neighbours' classes, and by a linear map of them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from oscbench.tasks import Batch
from oscbench.tasks.support.floors import logistic

AT_ONCE = 1024
"""Rows whose likeness to all known ones is held at once."""


def nearest_neighbours(
    known: Tensor, classes_of: Tensor, asked: Tensor, classes: int, count: int = 20, temperature: float = 0.07
) -> Tensor:
    """The class (n,) that the nearest known features vote for, each with weight exp(cos/τ) (Wu et al., arXiv 1805.01978; as in DINO).

    Args:
        known: (m, F).
        classes_of: those, (m,).
        asked: (n, F).
        classes: how many there are.
        count: neighbours that vote; all where there are fewer.
        temperature: τ.
    """
    known, votes_of = normalize(known.double(), dim=1), one_hot(classes_of, classes).double()
    found = []
    for rows in normalize(asked.double(), dim=1).split(AT_ONCE):
        likeness, nearest = (rows @ known.T).topk(min(count, len(known)), dim=1)
        # Less the largest, which changes no vote and overflows nothing.
        weights = ((likeness - likeness[:, :1]) / temperature).exp()
        found.append((weights[..., None] * votes_of[nearest]).sum(1).argmax(1))
    return torch.cat(found)


def linear_probe(known: Tensor, classes_of: Tensor, asked: Tensor, classes: int) -> Tensor:
    """The class (n,) of a logistic regression (scikit-learn, L2 with C = 1) on standardised features."""
    fitted = logistic([Batch(known, classes_of)], lambda x: x, lambda targets: targets, classes)
    answers: Tensor = fitted(asked).prediction
    return answers.argmax(1)

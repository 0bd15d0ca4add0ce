"""How frozen features are scored: by their neighbours' classes, and by a linear map of them."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from oscbench.tasks import Batch
from oscbench.tasks.support.floors import logistic
from oscbench.tasks.support.training_subsets import training_rows

AT_ONCE = 1024
"""Rows whose likeness to all known ones is held at once."""
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Values of C, weak ones first, each from where the last one came out."""
HELD_OUT = 0.2
"""Share of the known examples by which C is chosen."""
STEPS = 100
"""Of the optimiser at each value of C, while it is chosen."""


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


def linear_probe(known: Tensor, classes_of: Tensor, asked: Tensor, classes: int) -> tuple[Tensor, float]:
    """The class (n,) by logistic regression on standardised features, and the strength C that was chosen for it."""
    strength = chosen_strength(known, classes_of)
    fitted = logistic([Batch(known, classes_of)], lambda x: x, lambda targets: targets, classes, strength)
    answers: Tensor = fitted(asked).prediction
    return answers.argmax(1), strength


def chosen_strength(known: Tensor, classes_of: Tensor) -> float:
    """Of `STRENGTHS` the one that gets most of a held-out fifth of each class right, the smallest where several do.

    Thousands of pixels want another than tens of learned features: one for all would favour whom it fits. 1 where fewer than two classes
    have an example to fit.
    """
    # Here, since a plan fits nothing: scikit-learn takes a second and 140 MB.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    held = torch.zeros(len(known), dtype=torch.bool)
    held[training_rows(classes_of, HELD_OUT, "probe")] = True
    if len(classes_of[~held].unique()) < 2:
        return 1.0
    scaler = StandardScaler().fit(known[~held].float().numpy())
    fitting, asked = (scaler.transform(known[rows].float().numpy()) for rows in (~held, held))
    wanted, truth = classes_of[~held].numpy(), classes_of[held].numpy()
    model = LogisticRegression(max_iter=STEPS, warm_start=True)
    right = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # close enough to choose by
        for strength in STRENGTHS:
            model.set_params(C=strength).fit(fitting, wanted)
            right[strength] = model.score(asked, truth)
    return max(STRENGTHS, key=right.__getitem__)

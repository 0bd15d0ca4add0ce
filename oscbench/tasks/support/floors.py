"""Floors: answers that need no mixing of tokens, in the form of models, so that a task scores them as it scores any other.

None of them is trained by gradient descent and none is matched: what they reach, a task gives away without attention.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from oscbench.models.trunk import Output
from oscbench.tasks import Batch

NEVER = -1e4
"""Score of an answer that is never given; finite, since losses multiply it by 0."""
IMAGE_BINS = 16
STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)
"""C of scikit-learn, weakest first."""
ITERATIONS = 1_000


class Floor(nn.Module):
    """A function from inputs to a prediction of the task's form, which `Task.evaluate` takes for a model."""

    def __init__(self, predict: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.predict = predict

    def forward(self, inputs: Tensor) -> Output:
        """The prediction."""
        return Output(self.predict(inputs))


def most_frequent(targets: Tensor, classes: int) -> Floor:
    """Always the class that training (n,) has most of; scores are the logarithms of the classes' shares."""
    shares = torch.bincount(targets, minlength=classes).double() / len(targets)
    scores = shares.log().clamp_min(NEVER).float()
    return Floor(lambda inputs: scores.expand(len(inputs), -1))


def logistic(
    training: Iterable[Batch],
    features: Callable[[Tensor], Tensor],
    targets: Callable[[Tensor], Tensor],
    classes: int,
    strength: float = 1.0,
) -> Floor:
    """Logistic regression (scikit-learn, L2) on standardised features of an example.

    Args:
        training: batches of all examples, not augmented.
        features: of inputs, (B, ·) -> (B, F).
        targets: of a batch's targets, the class of each example (B,).
        classes: how many there are; those that training lacks are never answered.
        strength: C, by which the loss of all examples counts more than the squares of the weights.
    """
    found, wanted = _gathered(training, features, targets)
    answer = _fitted(found, wanted, classes, strength)
    return Floor(lambda inputs: answer(features(inputs)))


def best_logistic(
    training: Iterable[Batch],
    validation: Iterable[Batch],
    features: Callable[[Tensor], Tensor],
    classes: int,
    strengths: Iterable[float] = STRENGTHS,
) -> Floor:
    """The same at the strength that answers most of validation rightly; of equals the weakest."""
    found, wanted = _gathered(training, features, lambda targets: targets)
    unseen, right = _gathered(validation, features, lambda targets: targets)
    fitted = [_fitted(found, wanted, classes, strength) for strength in strengths]
    rights = [int((answer(torch.from_numpy(unseen)).argmax(1).numpy() == right).sum()) for answer in fitted]
    answer = fitted[rights.index(max(rights))]
    return Floor(lambda inputs: answer(features(inputs)))


def logistic_each(
    training: Iterable[Batch], features: Callable[[Tensor], Tensor], targets: Callable[[Tensor], Tensor]
) -> Floor:
    """A logistic regression for each of several yes-or-no answers, targets (B, answers); predicts their logits."""
    found, wanted = _gathered(training, features, targets)
    answers = [_fitted(found, column, 2) for column in wanted.T]

    def predict(inputs: Tensor) -> Tensor:
        seen = features(inputs)
        both = torch.stack([answer(seen) for answer in answers], dim=1)
        return both[..., 1] - both[..., 0]

    return Floor(predict)


def histogram(images: Iterable[Batch], bins: int = IMAGE_BINS) -> Callable[[Tensor], Tensor]:
    """A bag of pixels: of images (B, C, h, w), the share of each channel's pixels in equal bins over the range of training."""
    values = [(batch.inputs.amin((0, 2, 3)), batch.inputs.amax((0, 2, 3))) for batch in images]
    low = torch.stack([low for low, _ in values]).amin(0)
    high = torch.stack([high for _, high in values]).amax(0)
    width = ((high - low) / bins).clamp_min(1e-6)

    def features(inputs: Tensor) -> Tensor:
        place = (inputs - low[:, None, None]) / width[:, None, None]
        index = place.long().clamp(0, bins - 1).flatten(2)
        shares = torch.zeros(*index.shape[:2], bins)
        shares.scatter_add_(2, index, torch.full(index.shape, 1.0 / index.shape[2]))
        return shares.flatten(1)

    return features


def moments(frames: Tensor) -> Tensor:
    """A bag of frames: mean and spread of each feature over (B, N, F) -> (B, 2F)."""
    return torch.cat((frames.mean(1), frames.std(1)), dim=1)


def bag_of_tokens(vocabulary: int) -> Callable[[Tensor], Tensor]:
    """How often each id stands in a row, (B, N) -> (B, vocabulary)."""

    def features(ids: Tensor) -> Tensor:
        counts = torch.zeros(len(ids), vocabulary)
        return counts.scatter_add_(1, ids, torch.ones(ids.shape))

    return features


def _gathered(
    training: Iterable[Batch], features: Callable[[Tensor], Tensor], targets: Callable[[Tensor], Tensor]
) -> tuple[np.ndarray, np.ndarray]:
    parts = [(features(batch.inputs).double(), targets(batch.targets)) for batch in training]
    return torch.cat([x for x, _ in parts]).numpy(), torch.cat([y for _, y in parts]).numpy()


def _fitted(
    features: np.ndarray, wanted: np.ndarray, classes: int, strength: float = 1.0
) -> Callable[[Tensor], Tensor]:
    """From features (B, F) to log-probabilities of all classes (B, classes)."""
    there = np.unique(wanted).astype(int)
    if len(there) == 1:
        only = torch.full((classes,), NEVER)
        only[there[0]] = 0.0
        return lambda seen: only.expand(len(seen), -1)
    # Here, since a plan fits nothing: scikit-learn takes a second and 140 MB.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=ITERATIONS))
    with warnings.catch_warnings():
        # Where the optimum lies far out, the answers have long settled.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features, wanted)

    def answer(seen: Tensor) -> Tensor:
        scores = torch.full((len(seen), classes), NEVER)
        scores[:, there] = (
            torch.from_numpy(model.predict_log_proba(seen.double().numpy())).float().clamp_min(NEVER)
        )
        return scores

    return answer


ONE_LOOP = SimpleNamespace(loops=1)


class Looped(Floor):
    """A floor whose cells' answers (B, N, outputs) are the same after every loop."""

    config = ONE_LOOP

    def forward(self, inputs: Tensor, *, loops: int = 1, diagnostics: bool = False) -> Output:
        """Outputs (B, loops, N, outputs)."""
        del diagnostics
        return Output(self.predict(inputs)[:, None].expand(-1, loops, -1, -1))


class OwnMark(nn.Module):
    """Each cell by what stands in it and by the task's token alone: a table of logits (marks, marks) for each token.

    A token's table is the logarithm of how often training turned a mark into another, or the mark itself where `learned` is False.
    New tokens start from the mean of the known ones, and training at test time may change them, as in any model.

    Args:
        training: batches of ids (B, 1 + N), the token first, and marks (B, N).
        tokens: of all tasks.
        marks: that a cell may hold, before and after.
        learned: count them, or keep every cell as it is whatever comes.
    """

    config = ONE_LOOP

    def __init__(self, training: Iterable[Batch], tokens: int, marks: int, *, learned: bool) -> None:
        super().__init__()
        self.marks, self.learned = marks, learned
        counts = torch.zeros(tokens, marks, marks)
        for batch in training if learned else ():
            token, cells = batch.inputs.split((1, batch.inputs.shape[1] - 1), dim=1)
            place = (token * marks + cells) * marks + batch.targets
            counts += torch.bincount(place.flatten(), minlength=counts.numel()).view_as(counts)
        seen = counts.sum(-1, keepdim=True)
        same = one_hot(torch.arange(marks)).float()
        shares = torch.where(seen > 0, counts / seen.clamp_min(1), same)
        self.task_tokens = nn.Embedding(tokens, marks * marks)
        with torch.no_grad():
            self.task_tokens.weight.copy_(shares.log().clamp_min(NEVER).flatten(1))

    def forward(self, inputs: Tensor, *, loops: int = 1, diagnostics: bool = False) -> Output:
        """Logits (B, loops, N, marks)."""
        del diagnostics
        tables = self.task_tokens(inputs[:, 0]).view(-1, self.marks, self.marks)
        if not self.learned:
            tables = tables.detach() + 0.0 * tables  # a gradient of 0: nothing moves it
        cells = inputs[:, 1:, None].expand(-1, -1, self.marks)
        return Output(tables.gather(1, cells)[:, None].expand(-1, loops, -1, -1))

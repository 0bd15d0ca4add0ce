"""Semantic segmentation: a class for every pixel, scored by intersection over union of the whole split.

One confusion matrix is counted over all pixels of a split, as the benchmarks do: a mean of images' own values is another number. Pixels that
nobody labelled are left out of prediction and truth alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from oscbench.modes import evaluating
from oscbench.tasks import Batch, ImageInputs, Metric, Score, Split
from oscbench.tasks.support.in_memory import InMemoryTask
from oscbench.tasks.support.segments.kept import SHOWN, kept_examples
from oscbench.tasks.support.segments.pixel_floors import (
    DEGREE,
    WINDOW,
    most_frequent_at,
    most_frequent_pixel,
    window_logistic,
)

IGNORED = 255
"""Label of a pixel that counts nowhere."""
PIXELS_AT_ONCE = 2**19
"""Of an evaluation, which bounds what a batch's logits take."""


class Segmentation(InMemoryTask):
    """A class for every pixel; splits hold images and labels (n, height, width) as bytes, `ready` makes of them what a model reads.

    Attributes:
        classes: names, in the order of their labels.
        background: label that the mean without background leaves out; None where all classes are things to find.
    """

    metric = Metric("miou", "test mIoU", "fraction", "higher")
    backbone = "dense"
    inputs: ImageInputs
    classes: tuple[str, ...]
    background: int | None = None

    @classmethod
    def floors(cls, config: Any) -> dict[str, str]:
        """The most frequent class, everywhere and place by place, and what a pixel's own neighbourhood tells, and both together."""
        del config
        return {
            "chance": "the most frequent class of training, everywhere",
            "place": "the most frequent class of training at each place of the image",
            "window": f"logistic regression on the {WINDOW} × {WINDOW} pixels around",
            "window_place": f"the same, and a polynomial of degree {DEGREE} of where in the image they are",
        }

    def floor(self, name: str) -> nn.Module:
        """One of them."""
        if name.startswith("window"):
            return window_logistic(self.fitting(), len(self.classes), IGNORED, placed=name == "window_place")
        found = most_frequent_pixel if name == "chance" else most_frequent_at
        return found(self.splits["train"].targets, len(self.classes), IGNORED)

    def loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy of a pixel [nats], the mean over those that are labelled; 0 where none is."""
        if prediction.is_cuda:  # where the sum over places cannot be repeated
            total = cross_entropy(prediction, batch.targets, ignore_index=IGNORED, reduction="none").sum()
        else:
            total = cross_entropy(prediction, batch.targets, ignore_index=IGNORED, reduction="sum")
        return total / (batch.targets != IGNORED).sum().clamp_min(1)

    def count(self, prediction: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The confusion matrix of a batch."""
        return {"confusion": confusion(prediction.argmax(1), batch.targets, len(self.classes))}

    def finish(self, counts: Mapping[str, Tensor]) -> dict[str, Score]:
        """Mean intersection over union of all classes and without background, of each class, and the share of right pixels."""
        matrix = counts["confusion"].double().cpu()
        pixels = int(matrix.sum())
        if pixels == 0:
            return {}
        iou = intersection_over_union(matrix)
        found = {"miou": self._mean(iou, range(len(iou)))}
        if self.background is not None:
            found["miou_foreground"] = self._mean(iou, [c for c in range(len(iou)) if c != self.background])
        found["pixel_accuracy"] = Score(float(matrix.diagonal().sum() / pixels), pixels)
        for name, value in zip(self.classes, iou.tolist(), strict=True):
            if value == value:  # no number where neither truth nor prediction shows the class
                found[f"iou_{name}"] = Score(value, pixels)
        return {name: score for name, score in found.items() if score.count}

    def _mean(self, iou: Tensor, of: Sequence[int]) -> Score:
        """Mean over the classes of a selection that the split shows; the others are named."""
        seen = [c for c in of if not iou[c].isnan()]
        left_out = [self.classes[c] for c in of if iou[c].isnan()]
        value = float(iou[seen].mean()) if seen else 0.0
        return Score(value, len(seen), {"never_seen": left_out} if left_out else {})

    def metric_named(self, name: str) -> Metric:
        """Labels of what `finish` gives."""
        label = {
            "miou": "test mIoU",
            "miou_foreground": "test mIoU without background",
            "pixel_accuracy": "test pixels right",
        }.get(name, f"test IoU of {name.removeprefix('iou_').replace('_', ' ')}")
        return Metric(name, label, "fraction", "higher")

    @torch.no_grad()
    def evaluate(
        self, model: nn.Module, split: Split, device: torch.device, batch_size: int = 256
    ) -> dict[str, Score]:
        """As for every task, with no more pixels at once than memory should hold; of the test, the first answers are kept to be looked at."""
        fits = max(1, PIXELS_AT_ONCE // (self.inputs.height * self.inputs.width))
        found = super().evaluate(model, split, device, min(batch_size, fits))
        if split == "test" and "pixel_accuracy" in found:
            kept = {"examples": self._examples(model, device)}
            found["pixel_accuracy"] = replace(found["pixel_accuracy"], details=kept)
        return found

    def _examples(self, model: nn.Module, device: torch.device) -> dict[str, Any]:
        """The first test images, what they show and what the model answers."""
        with evaluating(model):
            batch = next(self.batches("test", SHOWN))
            answers = model(batch.inputs.to(device)).prediction.argmax(1).cpu()
        maps = {"truth": batch.targets, "answers": answers}
        return kept_examples(self.splits["test"].inputs[:SHOWN], maps, self.classes, self.background)


def confusion(answers: Tensor, truth: Tensor, classes: int) -> Tensor:
    """How often each class (row) was taken for each (column): (classes, classes) int64, without pixels whose truth is `IGNORED`."""
    counted = truth != IGNORED
    pairs = truth[counted] * classes + answers[counted]
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)


def intersection_over_union(matrix: Tensor) -> Tensor:
    """TP / (TP + FP + FN) of each class from a confusion matrix; NaN for a class that neither truth nor prediction shows."""
    right = matrix.diagonal()
    union = matrix.sum(0) + matrix.sum(1) - right
    return right / union

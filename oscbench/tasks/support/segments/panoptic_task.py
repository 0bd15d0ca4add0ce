"""What tasks of panoptic segmentation share: queries trained after the best matching, and merged into a map that panoptic quality scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from oscbench.modes import evaluating
from oscbench.tasks import Batch, ImageInputs, Metric, Score, Split
from oscbench.tasks.support.in_memory import InMemoryTask
from oscbench.tasks.support.segments.kept import SHOWN, kept_examples
from oscbench.tasks.support.segments.panoptic import (
    merged,
    panoptic_counts,
    panoptic_loss,
    parted,
    qualities,
    truth_of,
)
from oscbench.tasks.support.segments.segmentation import PIXELS_AT_ONCE

UNKNOWN = 255
"""In maps of classes that are kept to be looked at: a pixel of no segment."""
SURE = 20.0
"""A logit that leaves no doubt."""
LABELS = {
    "pq": "test PQ",
    "sq": "test SQ, overlap of matched segments",
    "rq": "test RQ, F1 of matching",
    "pq_things": "test PQ of things",
    "pq_stuff": "test PQ of stuff",
}


class Panoptic(InMemoryTask):
    """Segments and their classes; the targets of splits are labels (n, h, w) as `panoptic` has them, which `ready` makes int64.

    Attributes:
        classes: names, in the order of their numbers.
        stuff: numbers of the classes whose segments in an image are one; the others are things.
    """

    metric = Metric("pq", LABELS["pq"], "fraction", "higher")
    backbone = "queries"
    inputs: ImageInputs
    classes: tuple[str, ...]
    stuff: frozenset[int]

    def loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Of classes and masks after the best matching."""
        return panoptic_loss(prediction, batch.targets, len(self.classes))

    def count(self, prediction: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Overlaps, matches, false and missed segments by class."""
        logits, masks = parted(prediction.float().cpu(), len(self.classes))
        total = torch.zeros(len(self.classes), 4, dtype=torch.float64)
        for image, labels in enumerate(batch.targets.cpu().flatten(1)):
            found, classes = merged(logits[image], masks[image], self.stuff)
            truth, names, crowds = truth_of(labels)
            total += panoptic_counts(found, classes, truth, names, len(self.classes), crowds)
        return {"segments": total}

    def finish(self, counts: Mapping[str, Tensor]) -> dict[str, Score]:
        """PQ, SQ and RQ, means over the classes that the split or an answer shows; PQ also of things and of stuff."""
        found = qualities(counts["segments"])
        seen = ~found[:, 0].isnan()
        things = torch.tensor([number not in self.stuff for number in range(len(self.classes))])
        parts = {"pq": (0, seen), "sq": (1, seen), "rq": (2, seen)}
        parts |= {"pq_things": (0, seen & things), "pq_stuff": (0, seen & ~things)}
        never = [self.classes[number] for number in (~seen).nonzero()[:, 0].tolist()]
        details = {"never_seen": never} if never else {}
        return {
            name: Score(float(found[of, column].mean()), int(of.sum()), details if name == "pq" else {})
            for name, (column, of) in parts.items()
            if bool(of.any())
        }

    def metric_named(self, name: str) -> Metric:
        """Labels of what `finish` gives."""
        return Metric(name, LABELS[name], "fraction", "higher")

    @torch.no_grad()
    def evaluate(
        self, model: nn.Module, split: Split, device: torch.device, batch_size: int = 256
    ) -> dict[str, Score]:
        """As for every task, with no more pixels at once than memory should hold: each query has a mask of all.

        Of the test, the first answers are kept to be looked at.
        """
        fits = max(1, PIXELS_AT_ONCE // (self.inputs.height * self.inputs.width))
        found = super().evaluate(model, split, device, min(batch_size, fits))
        if split == "test" and "pq" in found:
            kept = {"examples": self._examples(model, device)}
            found["pq"] = replace(found["pq"], details={**found["pq"].details, **kept})
        return found

    def _examples(self, model: nn.Module, device: torch.device) -> dict[str, Any]:
        """The first test images, and classes and segments of what they show and of what the model answers."""
        with evaluating(model):
            batch = next(self.batches("test", SHOWN))
            # One image at a time: each query has a mask of all pixels.
            each = [model(one.to(device)).prediction.float().cpu() for one in batch.inputs.split(1)]
            logits, masks = parted(torch.cat(each), len(self.classes))
        answers = [merged(*one, self.stuff) for one in zip(logits, masks, strict=True)]
        truth = [truth_of(labels)[:2] for labels in batch.targets.flatten(1)]
        maps = {}
        for name, found in (("truth", truth), ("answers", answers)):
            segments = torch.stack([places for places, _ in found]).view_as(batch.targets)
            # The last of its names, for void, stands at -1, where a segment map has it.
            maps[name] = torch.stack(
                [
                    torch.tensor([*names, UNKNOWN])[places]
                    for places, (_, names) in zip(segments, found, strict=True)
                ]
            )
            maps[f"{name}_segments"] = (segments + 1) % 256
        # Of many kinds of stuff none is the ground.
        background = min(self.stuff) if 0 < len(self.stuff) <= len(self.classes) / 4 else None
        return kept_examples(self.splits["test"].inputs[:SHOWN], maps, self.classes, background)


def sure_of(names: Sequence[int], classes: int) -> Tensor:
    """Class logits (1, Q, classes + 1) of queries that are sure of a class each."""
    scores = torch.full((1, len(names), classes + 1), -SURE)
    scores[0, range(len(names)), list(names)] = SURE
    return scores

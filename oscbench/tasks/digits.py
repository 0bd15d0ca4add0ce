"""Digits: 1,797 real scans of handwritten digits, 8 × 8 pixels, shipped with scikit-learn (UCI Optical Recognition, Alpaydin & Kaynak).

The split is stratified: 1,047 for training, 250 for validation, 500 for test, which are the same 500 in every draw. Which of its 13 writers
wrote a scan is not told, so that writers may stand on both sides of it.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import pad

from oscbench.settings import added
from oscbench.tasks import Batch, Draw, ImageInputs, Metric, TaskConfig, draw_number
from oscbench.tasks.support.floors import best_logistic
from oscbench.tasks.support.in_memory import Classification
from oscbench.tasks.support.training_subsets import drawn, training_rows

SPLIT_SEED = 20_260_101
NUM_TEST, NUM_VALIDATION = 500, 250


class DigitsConfig(TaskConfig):
    """Settings of the digits task.

    Attributes:
        shift: training images are shifted by up to so many pixels in each direction; 0 turns it off.
        fraction: share of the training images that is used, of each digit alike; smaller shares lie within larger ones.
        draw: which of the scans outside the test train and which validate; `per_seed` draws them anew for each seed.
    """

    shift: int = Field(default=1, ge=0, le=4)
    fraction: float = Field(default=1.0, gt=0.0, le=1.0)
    draw: Draw = added("fixed", neutral="fixed")


class Digits(Classification):
    """Which of ten digits was written."""

    Config = DigitsConfig
    version = 1
    label = "handwritten digits"
    metric = Metric("accuracy", "test accuracy", "fraction", "higher")
    backbone = "vision"
    inputs = ImageInputs(channels=1, height=8, width=8, num_classes=10)

    def __init__(self, config: DigitsConfig) -> None:
        self.config = config
        draw = draw_number(config.draw)
        scans = digit_splits(draw)
        kept = training_rows(scans["train"].targets, config.fraction, drawn("share", draw))
        scans["train"] = Batch(scans["train"].inputs[kept], scans["train"].targets[kept])
        mean, std = scans["train"].inputs.mean(), scans["train"].inputs.std()
        self.splits = {name: Batch((part.inputs - mean) / std, part.targets) for name, part in scans.items()}
        self.background = float(-mean / std)
        self.full_ink = float((1.0 - mean) / std)

    @classmethod
    def references(cls, config: DigitsConfig) -> dict[str, str]:
        """A linear model of the whole scan."""
        del config
        return {
            "linear": "logistic regression on all pixels where they stand, as strong as validation prefers it"
        }

    def floor(self, name: str) -> nn.Module:
        """As of every classification, and the linear model."""
        if name != "linear":
            return super().floor(name)
        return best_logistic(
            self.fitting(),
            self.batches("validation", 256),
            lambda images: images.flatten(1),
            self.inputs.num_classes,
        )

    def input_range(self) -> tuple[Tensor, Tensor]:
        """No ink and full ink."""
        return torch.full((1, 1, 1), self.background), torch.full((1, 1, 1), self.full_ink)

    def augmented(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Every image shifted."""
        return Batch(shifted(batch.inputs, self.config.shift, self.background, generator), batch.targets)


def digit_splits(draw: int = 0) -> dict[str, Batch]:
    """Scans (n, 1, 8, 8) with ink from 0 to 1, and digits, of the three splits; every draw has the same test."""
    # Here, since a plan reads no data: scikit-learn takes a second and 140 MB.
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32)[:, None] / 16.0
    labels = torch.tensor(data.target, dtype=torch.int64)
    index = list(range(len(labels)))
    rest, test = train_test_split(index, test_size=NUM_TEST, stratify=labels, random_state=SPLIT_SEED)
    train, validation = train_test_split(
        rest, test_size=NUM_VALIDATION, stratify=labels[rest], random_state=SPLIT_SEED + draw
    )
    rows_of = {"train": train, "validation": validation, "test": test}
    return {name: Batch(images[rows], labels[rows]) for name, rows in rows_of.items()}


def shifted(images: Tensor, by: int, background: float, generator: torch.Generator) -> Tensor:
    """Each image (B, C, h, w) moved by its own draw of up to `by` pixels a direction; background comes in at the edges."""
    if by == 0:
        return images
    height, width = images.shape[-2:]
    wide = pad(images, (by, by, by, by), value=background)
    top, left = torch.randint(0, 2 * by + 1, (2, len(images)), generator=generator)
    rows = top[:, None] + torch.arange(height)
    columns = left[:, None] + torch.arange(width)
    picked = wide[torch.arange(len(images))[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return picked.permute(0, 3, 1, 2)


task = Digits

"""A floor of panoptic segmentation: connected bright pixels are a segment, and a logistic regression tells its class by its look."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from scipy.ndimage import find_objects
from scipy.ndimage import label as connected
from torch import Tensor
from torch.nn.functional import interpolate

from oscbench.tasks import Batch
from oscbench.tasks.support.floors import Floor, logistic
from oscbench.tasks.support.segments.panoptic import INSTANCES
from oscbench.tasks.support.segments.panoptic_task import SURE, sure_of

SIDE = 10
"""Of what a part is shrunk or stretched to before it is classed [pixels]."""
SMALLEST = 12
"""Pixels of a part that may be a thing."""
MOST = 8
"""Parts of an image that may be things, the largest first."""
FITTED_SCENES = 4_000


class Part(NamedTuple):
    """Connected pixels: their mask (h, w), and what their class is told by."""

    mask: Tensor
    features: Tensor


def parts_of(image: Tensor, level: float) -> list[Part]:
    """The largest connected parts, diagonals too, of an image (h, w) above a level: SIDE × SIDE pixels around each, and its three sizes."""
    numbers, _ = connected((image > level).numpy(), structure=np.ones((3, 3)))
    found = []
    for number, box in enumerate(find_objects(numbers), start=1):
        mask = torch.from_numpy(numbers == number)
        crop = (image * mask)[box][None, None]
        look = interpolate(crop, (SIDE, SIDE), mode="bilinear", align_corners=False).flatten()
        sizes = torch.tensor([*crop.shape[2:], int(mask.sum())], dtype=image.dtype)
        if sizes[2] >= SMALLEST:
            found.append(Part(mask, torch.cat((look, sizes))))
    return sorted(found, key=lambda part: -int(part.mask.sum()))[:MOST]


def classed_parts(training: Iterable[Batch], level: float, classes: int, empty: int, clutter: int) -> Floor:
    """Parts that are classed as things are things, every other bright pixel is clutter, and the rest empty.

    Args:
        training: images (B, 1, h, w) and their labels, class · INSTANCES + instance, in batches, not augmented.
        level: brightness above which a pixel is not empty.
        classes: how many there are, the two kinds of stuff among them.
        empty: class of the ground.
        clutter: class of what is bright and no thing.
    """
    features, wanted = [], []
    pairs = (pair for batch in training for pair in zip(batch.inputs[:, 0], batch.targets, strict=True))
    for image, labels in islice(pairs, FITTED_SCENES):
        for part in parts_of(image, level):
            features.append(part.features)
            wanted.append(int((labels[part.mask] // INSTANCES).mode().values))
    known = Batch(torch.stack(features), torch.tensor(wanted))
    told = logistic([known], lambda seen: seen, lambda targets: targets, classes)

    def predict(images: Tensor) -> Tensor:
        return torch.stack([_answer(image) for image in images[:, 0].cpu()])

    def _answer(image: Tensor) -> Tensor:
        names, masks = [classes] * (2 + MOST), torch.zeros(2 + MOST, *image.shape, dtype=torch.bool)
        parts = parts_of(image, level)
        looks = torch.stack([part.features for part in parts]) if parts else torch.zeros(0, 1)
        found = told(looks).prediction.argmax(1).tolist() if parts else []
        for place, (part, name) in enumerate(zip(parts, found, strict=True), start=2):
            if name not in (empty, clutter):
                names[place], masks[place] = name, part.mask
        bright = image > level
        names[:2], masks[0], masks[1] = [empty, clutter], ~bright, bright & ~masks[2:].any(0)
        sure = torch.where(masks.flatten(1), SURE, -SURE)
        return torch.cat((sure_of(names, classes)[0], sure), dim=1)

    return Floor(predict)

"""Object discovery: a model that was never told what an object is, asked which patches belong together.

It is trained on two views of each scene. Whole test scenes then give features of patches, before any pooling; those of a scene are
clustered by average linkage into as many clusters as it has objects and one more, each patch's cluster is that of its pixels, and the
clusters are held against the objects, as AKOrN is scored (arXiv 2410.13821): FG-ARI over pixels that show an object, the mean best overlap
(MBO), and ARI over all pixels, each a mean over scenes of two objects or more.

FG-ARI alone rewards cutting a scene into blobs, since an object lies in one place: coordinates reach 0.4 to 0.6 without having seen
the scene, and what is bright cut by place reaches more, with all three scores. Hence the floors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from oscbench.errors import UserError
from oscbench.models.backbones.vision import patches_of
from oscbench.models.trunk import named_seed
from oscbench.ops.phases import circle, rotary_angles
from oscbench.tasks import Batch, Metric, Score, Split, ViewInputs
from oscbench.tasks.support.floors import Floor
from oscbench.tasks.support.segments.grouping import (
    OVERLAP,
    clusters,
    foreground_ari,
    mean_best_overlap,
    silhouette_clusters,
    upsampled,
    whole_ari,
)
from oscbench.tasks.support.segments.kept import packed
from oscbench.tasks.support.self_supervision.paired import PairedConfig, PairedViews, whole_features

FLOOR_SEED = 20_261_128
HEAD_WIDTH, BASE = 16, 20.0
"""Channels of a head whose start phases are a floor, and the base of KoPE's frequencies over images."""
RANDOM_FEATURES = 16
FAR = -1e3
"""Row and column that all dark patches share, so that they are a cluster of their own."""
PLACES = ("coordinates", "bright_places")
"""Floors that stand beside every model's scores."""
MOST_CLUSTERS = 8
"""Tried where nobody says how many there are."""
SHOWN, SHOWN_SIDE = 5, 48
"""Test scenes whose clusters a record keeps, and the largest side that they are kept at [pixels]."""
SCORES = {"fg_ari": foreground_ari, "mbo": mean_best_overlap, "ari": whole_ari}
LABELS = {"fg_ari": "FG-ARI", "mbo": "MBO", "ari": "ARI with background"}
ESTIMATED = "_estimated"


class DiscoveryConfig(PairedConfig):
    """Settings of views and of floors.

    Attributes:
        floor_patch: side of the patches that floors cluster [pixels]; as large as the model's, so that they can be compared.
    """

    floor_patch: int = Field(default=4, ge=1)

    def inputs(self, channels: int, height: int, width: int) -> ViewInputs:
        """As of all pairs of views; floors cut scenes into whole patches."""
        if height % self.floor_patch or width % self.floor_patch:
            raise UserError(
                f"task.floor_patch: {self.floor_patch} does not divide scenes of {height} × {width} pixels; set it to the model's patch"
            )
        return super().inputs(channels, height, width)


class ObjectDiscovery(PairedViews):
    """Splits hold scenes and, but for training, which object each pixel shows, (n, h, w): -1 none, -2 where objects overlap."""

    metric = Metric("fg_ari", "test FG-ARI", "fraction", "higher")
    config: DiscoveryConfig

    @classmethod
    def floors(cls, config: Any) -> dict[str, str]:
        """What patches can be clustered by that nobody learned."""
        del config
        return {
            "chance": "clusters of random numbers",
            "coordinates": "clusters of the patches' rows and columns, whatever the scene",
            "start_phases": "clusters of the phases that RoPE and KoPE begin with, whatever the scene",
            "pixels": "clusters of the patches' own pixels",
            "bright_places": "clusters of rows and columns of the bright patches (Otsu's threshold), the dark ones together",
        }

    def floor(self, name: str) -> nn.Module:
        """One of them, in the form of patches' features (B, N, F)."""
        side, generator = self.config.floor_patch, torch.Generator().manual_seed(named_seed(FLOOR_SEED, name))

        def features(images: Tensor) -> Tensor:
            rows, columns = (length // side for length in images.shape[-2:])
            if name == "pixels":
                return patches_of(images, side)
            if name == "chance":
                return torch.randn(len(images), rows * columns, RANDOM_FEATURES, generator=generator)
            places = torch.cartesian_prod(torch.arange(rows).double(), torch.arange(columns).double())
            if name == "start_phases":
                ordinary = torch.zeros(len(places), dtype=torch.bool)
                places = circle(rotary_angles(places, ordinary, HEAD_WIDTH, BASE))
            places = places.expand(len(images), -1, -1)
            if name == "bright_places":
                is_bright = bright(patches_of(images, side).mean(2))
                places = torch.where(is_bright[..., None], places, places.new_tensor(FAR))
            return places

        return Floor(features)

    def metric_named(self, name: str) -> Metric:
        """Labels of what `evaluate` gives."""
        label = LABELS[name.removesuffix(ESTIMATED)]
        if name.endswith(ESTIMATED):
            label += ", number of clusters by silhouette"
        return Metric(name, f"test {label}", "fraction", "higher")

    @torch.no_grad()
    def evaluate(
        self, model: nn.Module, split: Split, device: torch.device, batch_size: int = 256
    ) -> dict[str, Score]:
        """Every score; on the test also with a number of clusters that nobody tells, and with the first scenes to be looked at.

        A model's features are compared by their direction alone, a floor's as they are.
        """
        features, maps = whole_features(self, model, split, device, batch_size)
        if not bool(features.isfinite().all()):  # no clusters, of a model that is none either
            return {name: Score(math.nan, 0) for name in SCORES}
        if not isinstance(model, Floor):
            features = normalize(features, dim=-1)
        found, shown = self._scores(features, maps, estimated=split == "test")
        details: dict[str, dict[str, Any]] = {name: {} for name in found}
        if split == "test" and shown:
            details[self.metric.name]["scenes"] = self._scenes(shown)
            for floor in PLACES:
                places, _ = whole_features(self, self.floor(floor), split, torch.device("cpu"), batch_size)
                for name, values in self._scores(places, maps)[0].items():
                    details[name].setdefault("floors", {})[floor] = float(np.mean(values))
        return {
            name: Score(float(np.mean(values)), len(values), details[name]) for name, values in found.items()
        }

    def num_clusters(self, objects: np.ndarray) -> int:
        """Into how many clusters a scene is cut: as many as it has objects, and one for the ground."""
        return num_objects(objects) + 1

    def _scores(
        self, features: Tensor, maps: Tensor, *, estimated: bool = False
    ) -> tuple[dict[str, list[float]], list[np.ndarray]]:
        """Every score of every scene of two objects or more, by name, and the clusters of the first scenes as maps (h, w)."""
        found: dict[str, list[float]] = {}
        shown: list[np.ndarray] = []
        for scene, (rows, objects) in enumerate(zip(features, maps.numpy(), strict=True)):
            if num_objects(objects) < 2:
                continue
            groups = as_pixels(clusters(rows, self.num_clusters(objects), scene), objects.shape)
            if len(shown) < SHOWN:
                shown.append(groups)
            tried = {"": groups}
            if estimated:
                tried[ESTIMATED] = as_pixels(silhouette_clusters(rows, MOST_CLUSTERS, scene), objects.shape)
            for suffix, segments in tried.items():
                for name, score in SCORES.items():
                    found.setdefault(name + suffix, []).append(score(segments, objects))
        return found, shown

    def _scenes(self, shown: list[np.ndarray]) -> dict[str, Any]:
        """The first scenes of two objects or more as bytes, their objects and the clusters found, thinned out to a small side, as text."""
        test = self.splits["test"]
        several = [row for row, objects in enumerate(test.targets.numpy()) if num_objects(objects) > 1]
        rows = several[: len(shown)]
        step = -(-max(test.inputs.shape[-2:]) // SHOWN_SIDE)
        parts = {
            "images": test.inputs[rows],
            "objects": test.targets[rows].clamp_min(OVERLAP) - OVERLAP,
            "clusters": torch.from_numpy(np.stack(shown)),
        }
        thinned = {name: part[..., ::step, ::step].to(torch.uint8) for name, part in parts.items()}
        return {
            "shape": list(thinned["images"].shape),
            **{name: packed(part) for name, part in thinned.items()},
        }

    def objects(self, split: Split, count: int) -> tuple[Batch, Tensor]:
        """Whole scenes, and which object a pixel shows; where objects overlap, none."""
        batch = next(self.whole(split, count))
        maps = batch.targets.long()
        return batch, torch.where(maps == OVERLAP, -1, maps)


def bright(levels: Tensor) -> Tensor:
    """Which patches of each image are bright, (B, N) bool, by the threshold that parts their levels (B, N) best (Otsu, 1979).

    Of all cuts of the ordered levels the one with the largest variance between its two sides, w (1 - w) (μ₁ - μ₀)², w the share below.
    """
    ordered = levels.double().sort(1).values
    count = ordered.shape[1]
    below = torch.arange(1, count, dtype=torch.float64, device=levels.device)
    sums = ordered.cumsum(1)
    low = sums[:, :-1] / below
    high = (sums[:, -1:] - sums[:, :-1]) / (count - below)
    between = below * (count - below) * (high - low) ** 2
    cut = ordered.gather(1, between.argmax(1, keepdim=True))
    return levels.double() > cut


def num_objects(objects: np.ndarray) -> int:
    """How many objects a map (h, w) shows somewhere alone."""
    return len(np.unique(objects[objects >= 0]))


def as_pixels(found: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Clusters of square patches (N,) in reading order as a map of pixels (h, w)."""
    height, width = size
    patch = round((height * width / len(found)) ** 0.5)
    return upsampled(found, (height // patch, width // patch), patch)


def without_objects(images: Tensor) -> Batch:
    """A split of training, of which nobody says what it shows."""
    return Batch(images, torch.zeros(len(images), dtype=torch.uint8))


def with_objects(made: Mapping[str, Tensor]) -> Batch:
    """A split with its objects."""
    return Batch(made["images"], made["objects"])

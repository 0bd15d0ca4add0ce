"""Binding: do phases group what belongs together, and does attention stay with it? By layer, before and after training, or all along it.

On test images whose objects are known (`Task.objects`). Of phases: how much more in step patches of one object are than those of two, and
how well clusters of them find the objects (FG-ARI, average linkage, as many clusters as there are objects, and one for the rest). Of
attention: how much of it stays in the asking patch's object, how unevenly it falls on the patches (Gini) and, where there are phases, the
attention-weighted synchrony of KoPE (arXiv 2604.07904); both from the CLS token, or where there is none from each patch, over patches.

Patches of an object lie side by side, and so whatever follows place groups them. Hence the floors: the phases that enter the first
layer, which KoPE would keep if they were frozen, also under the attention of each layer; a random walk from there in steps as long as
those taken; coordinates; coordinates of the bright patches alone, the dark ones together (Otsu's threshold), since whatever depends on the
image tells bright from dark; and phases or attention of the next image, held against the objects of this one. And a ceiling of FG-ARI:
patches that know their object.

KoPE's attention sees phases that each layer has mixed anew, and the coupling moves those that it has not: `binding_mixed_*` and
`binding_*`.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from oscbench.instruments.synchrony import (
    attention_inside,
    gini,
    mean_of_givers,
    reading_rows,
    synchrony,
    walked,
    weighted_synchrony,
)
from oscbench.measures import FEW_EXAMPLES, Findings, History, Measure, MeasureConfig, Subject
from oscbench.measures.training_dynamics import curves_of_layers, spaced
from oscbench.models.backbones.vision import patches_of
from oscbench.models.trunk import named_seed
from oscbench.modes import evaluating
from oscbench.records.schema import Curve, Measurement
from oscbench.settings import added
from oscbench.tasks.support.segments.discovery import FAR, bright
from oscbench.tasks.support.segments.grouping import clusters, foreground_ari, patch_objects, upsampled

SEED = 20_261_203
BATCH_SIZE = 50
FOLLOWED = 50
"""Images that are looked at while a model trains."""
LABELS = {
    "synchrony": "synchrony within objects minus between",
    "fg_ari": "FG-ARI of clustered phases",
    "attention": "attention inside the asking patch's object",
    "gini": "Gini of attention over patches",
    "weighted_synchrony": "attention-weighted synchrony",
}


class BindingConfig(MeasureConfig):
    """Settings of the binding measure.

    Attributes:
        examples: of the test, the first so many.
        clustered: of those, the first so many for clustering, which takes some milliseconds an image and layer.
        points: follow all but clusters on the first images too, before training and at so many of its steps, spaced evenly on a
            logarithmic axis; by default they are looked at before and after it alone.
    """

    examples: int = Field(default=200, ge=2)
    clustered: int = Field(default=100, ge=1)
    points: int | None = added(None, neutral=None, ge=2, le=1000)


class Binding(Measure):
    """`binding_<quantity>` in the last layer after training; every layer, the start and the floors stand in its details."""

    Config = BindingConfig
    version = 2  # equal distances are clustered by chance and no longer by index
    label = "binding"

    def __init__(self, config: BindingConfig) -> None:
        super().__init__(config)
        self._start: dict[str, list[float]] = {}

    def before(self, subject: Subject) -> Findings:
        """Look, and keep it for the details."""
        seen = _look(subject, self.config.examples)
        self._start = {} if seen is None else _quantities(seen, self.config.clustered)
        return Findings()

    def steps(self, total: int) -> Container[int]:
        """Those asked for, and 0."""
        return () if self.config.points is None else spaced(self.config.points, total)

    def during(self, subject: Subject) -> dict[str, float]:
        """Every quantity of every layer but what clusters find."""
        seen = _look(subject, min(FOLLOWED, self.config.examples))
        found = {} if seen is None else _quantities(seen, clustered=0)
        return {
            f"binding/{name}/{layer}": value
            for name, values in found.items()
            for layer, value in enumerate(values)
        }

    def curves(self, history: History) -> dict[str, Curve]:
        """One for each quantity and layer."""
        return curves_of_layers(history, "binding")

    def smaller(self) -> tuple[BindingConfig, float]:
        """Fewer images."""
        config = self.config
        few = min(config.examples, FEW_EXAMPLES)
        clustered = max(1, round(few * config.clustered / config.examples))
        part = config.model_copy(update={"examples": few, "clustered": clustered})
        return part, config.examples / few

    def after(self, subject: Subject) -> Findings:
        """Every quantity with its floors; null with its reason where nobody says what the objects are."""
        seen = _look(subject, self.config.examples)
        if seen is None:
            return Findings(
                {"binding_attention": _nothing("this task does not say which objects its images show")}
            )
        end = _quantities(seen, self.config.clustered)
        floors = _floors(seen, self.config.clustered)
        found = {}
        for name, by_layer in end.items():
            kind = name.removeprefix("mixed_")
            label = LABELS[kind] + (", phases as mixed" if kind != name else "")
            details: dict[str, Any] = {"start": self._start.get(name, []), "end": by_layer}
            details["floors"] = {floor: values[name] for floor, values in floors.items() if name in values}
            if kind == "fg_ari":
                details["ceiling"] = _ceiling(seen, self.config.clustered)
            if kind in ("gini", "weighted_synchrony"):
                details["from"] = "CLS" if seen.num_special == 1 else "patches"
            found[f"binding_{name}"] = Measurement(
                value=by_layer[-1],
                unit="fraction" if kind == "attention" else "1",
                label=f"{label}, last layer",
                direction="none" if kind in ("gini", "weighted_synchrony") else "higher",
                n=len(seen.objects) if kind != "fg_ari" else min(self.config.clustered, len(seen.objects)),
                details=details,
            )
        return Findings(found)


class _Seen:
    """What a model does on some images.

    Attributes:
        maps: which object each pixel shows (B, h, w).
        levels: mean over pixels and channels of each patch (B, N).
        objects: the same of each patch (B, N).
        attention: by layer, (B, H, S + N, S + N), S special tokens first.
        phases: by name (`phases`, or `carried_phases` before a layer mixes them), by layer, (B, H, N, m).
        num_special: S.
        grid: of patches.
        patch: side of one [pixels].
    """

    def __init__(self, images: Tensor, maps: Tensor, grid: tuple[int, int], num_special: int) -> None:
        self.maps, self.grid, self.num_special = maps, grid, num_special
        self.patch = maps.shape[1] // grid[0]
        self.levels = patches_of(images, self.patch).mean(2)
        self.objects = patch_objects(maps, self.patch)
        self.attention: list[Tensor] = []
        self.phases: dict[str, list[Tensor]] = {}

    def patches(self, layer: int) -> Tensor:
        """Attention of patches to patches."""
        return self.attention[layer][..., self.num_special :, self.num_special :]

    def rows(self, layer: int) -> Tensor:
        """What the CLS token, or else each patch, gives patches, as shares of that."""
        weights = self.attention[layer]
        return reading_rows(weights, torch.arange(weights.shape[-1]) < self.num_special)


@torch.no_grad()
def _look(subject: Subject, examples: int) -> _Seen | None:
    """One pass over the first test images with all diagnostics; None where the task knows no objects."""
    known = subject.task.objects("test", examples)
    if known is None:
        return None
    batch, maps = known
    model = subject.model
    positions = model.context(batch.inputs[:1].to(subject.device)).positions
    special = int(positions.special.sum())
    last = positions.coordinates[-1].long()
    seen = _Seen(batch.inputs, maps, (int(last[0]) + 1, int(last[1]) + 1), special)
    with evaluating(model):
        parts: dict[str, list[list[Tensor]]] = {}
        for inputs in batch.inputs.split(BATCH_SIZE):
            for layer, found in enumerate(model(inputs.to(subject.device), diagnostics=True).diagnostics):
                for name in ("attention", "phases", "carried_phases"):
                    if name in found:
                        layers = parts.setdefault(name, [])
                        layers += [[]] if len(layers) == layer else []
                        layers[layer].append(found[name].cpu())
    joined = {name: [torch.cat(layer) for layer in layers] for name, layers in parts.items()}
    seen.attention = joined.pop("attention")
    seen.phases = {name: [layer[..., special:, :] for layer in layers] for name, layers in joined.items()}
    return seen


def _quantities(seen: _Seen, clustered: int) -> dict[str, list[float]]:
    """By name, then by layer."""
    layers = range(len(seen.attention))
    found = {
        "attention": [_mass(seen.patches(layer), seen.objects) for layer in layers],
        "gini": [mean_of_givers(gini(rows), rows) for rows in map(seen.rows, layers)],
    }
    if "phases" in seen.phases:
        found["weighted_synchrony"] = [_weighted(seen, layer, layer) for layer in layers]
    for prefix, phases in _phases(seen).items():
        found[f"{prefix}synchrony"] = [_gain(of_layer, seen.objects) for of_layer in phases]
        found[f"{prefix}fg_ari"] = [_found_objects(seen, _circle(of_layer), clustered) for of_layer in phases]
    return {name: values for name, values in found.items() if not np.isnan(values).any()}


def _phases(seen: _Seen) -> dict[str, list[Tensor]]:
    """Those that tokens carry, and under `mixed_` those that attention sees where they are others."""
    if "carried_phases" in seen.phases:
        return {"": seen.phases["carried_phases"], "mixed_": seen.phases["phases"]}
    return {"": seen.phases["phases"]} if "phases" in seen.phases else {}


def _floors(seen: _Seen, clustered: int) -> dict[str, dict[str, list[float]]]:
    """By floor, then by quantity, then by layer; of one value where layers do not differ."""
    layers = range(len(seen.attention))
    other = seen.objects.roll(1, 0)  # the objects of the image before, for what is seen of this one
    found: dict[str, dict[str, list[float]]] = {
        "even_attention": {"attention": [_share(seen)]},
        "other_image": {"attention": [_mass(seen.patches(layer), other) for layer in layers]},
    }
    if "phases" in seen.phases:
        found["start_phases"] = {"weighted_synchrony": [_weighted(seen, layer, 0) for layer in layers]}
    by_place = _by_place(seen, clustered) if seen.phases else {}
    for prefix, phases in _phases(seen).items():
        generator = torch.Generator().manual_seed(named_seed(SEED, prefix))
        walk = walked(phases, generator)
        found["other_image"][f"{prefix}synchrony"] = [_gain(of_layer, other) for of_layer in phases]
        for floor, floored in (("start_phases", phases[:1]), ("random_walk", walk)):
            values = found.setdefault(floor, {})
            values[f"{prefix}synchrony"] = [_gain(of_layer, seen.objects) for of_layer in floored]
            values[f"{prefix}fg_ari"] = [
                _found_objects(seen, _circle(of_layer), clustered) for of_layer in floored
            ]
        for floor, value in by_place.items():
            found.setdefault(floor, {})[f"{prefix}fg_ari"] = [value]
    return found


def _by_place(seen: _Seen, clustered: int) -> dict[str, float]:
    """FG-ARI of clusters of coordinates, and of those of bright patches."""
    coordinates = torch.cartesian_prod(*(torch.arange(side).double() for side in seen.grid))
    places = coordinates.expand(len(seen.objects), -1, -1)
    by_light = torch.where(bright(seen.levels)[..., None], places, places.new_tensor(FAR))
    return {
        "coordinates": _found_objects(seen, places, clustered),
        "bright_places": _found_objects(seen, by_light, clustered),
    }


def _weighted(seen: _Seen, layer: int, phases: int) -> float:
    """Attention of one layer over the phases of another."""
    rows = seen.rows(layer)
    return mean_of_givers(weighted_synchrony(rows, seen.phases["phases"][phases]), rows)


def _gain(phases: Tensor, objects: Tensor) -> float:
    found = synchrony(phases, objects)
    return float("nan") if found is None else found.gain


def _mass(attention: Tensor, objects: Tensor) -> float:
    found = attention_inside(attention, objects)
    return float("nan") if found is None else found.mass


def _share(seen: _Seen) -> float:
    found = attention_inside(seen.patches(0), seen.objects)
    return float("nan") if found is None else found.share


def _circle(phases: Tensor) -> Tensor:
    """Cosines and sines of all heads and oscillators, (B, H, N, m) -> (B, N, 2·H·m)."""
    waves = torch.cat((phases.cos(), phases.sin()), dim=-1)
    return waves.transpose(1, 2).flatten(2)


def _found_objects(seen: _Seen, features: Tensor, clustered: int) -> float:
    """Mean FG-ARI of clusters of patches' features (B, N, F) over the first images that show two objects or more."""
    scores = []
    pairs = zip(features[:clustered], seen.maps[:clustered].numpy(), strict=True)
    for image, (row, objects) in enumerate(pairs):
        number = len(np.unique(objects[objects >= 0]))
        if number > 1:
            groups = upsampled(clusters(row, number + 1, image), seen.grid, seen.patch)
            scores.append(foreground_ari(groups, objects))
    return float(np.mean(scores)) if scores else float("nan")


def _ceiling(seen: _Seen, clustered: int) -> float:
    """FG-ARI of patches that know which object most of their object pixels show."""
    known = patch_objects(seen.maps, seen.patch, any_pixel=True)
    one_hot = torch.nn.functional.one_hot(known + 1).double()
    return _found_objects(seen, one_hot, clustered)


def _nothing(reason: str) -> Measurement:
    label = f"{LABELS['attention']}, last layer"
    return Measurement.unavailable(f"unavailable: {reason}", unit="fraction", label=label, direction="higher")


measure = Binding

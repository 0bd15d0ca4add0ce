"""Training dynamics: what health says of each layer, followed while the model trains, so that one sees what comes first.

Before the first step and after each validation, or at so many optimiser steps in equal ratios, on the probe batch that health looks at:
all its quantities by layer, and concentration and synchrony as KoPE's paper follows them (arXiv 2604.07904, figure 6), which are Gini and
attention-weighted synchrony of what CLS, or where there is none each token, gives the patches.
"""

from __future__ import annotations

from collections.abc import Container, Mapping

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from oscbench.instruments.synchrony import gini, reading_rows, weighted_synchrony
from oscbench.measures import Findings, History, Measure, MeasureConfig, Subject
from oscbench.measures.health import layer_quantities
from oscbench.modes import evaluating
from oscbench.records.schema import Curve


class TrainingDynamicsConfig(MeasureConfig):
    """Settings of training dynamics.

    Attributes:
        points: at so many steps from the first to the last, spaced evenly on a logarithmic axis, and before the first; fewer where
            training is shorter. By default after every validation.
    """

    points: int | None = Field(default=None, ge=2, le=1000)


class TrainingDynamics(Measure):
    """Curves `<quantity>/<layer>`."""

    Config = TrainingDynamicsConfig
    label = "order and concentration during training"

    def after(self, subject: Subject) -> Findings:
        """Nothing more: the curves say it."""
        del subject
        return Findings()

    def steps(self, total: int) -> Container[int] | None:
        """Those asked for, and 0."""
        points = self.config.points
        if points is None:
            return None
        return spaced(points, total)

    @torch.no_grad()
    def during(self, subject: Subject) -> dict[str, float]:
        """Every quantity of every layer, in evaluation mode."""
        model = subject.model
        with evaluating(model):
            special = model.context(subject.probe.inputs).positions.special
            found: dict[str, float] = {}
            for layer, seen in enumerate(model(subject.probe.inputs, diagnostics=True).diagnostics):
                quantities = layer_quantities(seen, special)
                if "attention" in seen and bool((~special).any()):
                    quantities |= _read(seen, special)
                found |= {f"{name}/{layer}": value for name, value in quantities.items()}
        return found

    def curves(self, history: History) -> dict[str, Curve]:
        """One for each quantity and layer."""
        return curves_of_layers(history)


def spaced(points: int, total: int) -> set[int]:
    """0, and so many steps from the first to the last, spaced evenly on a logarithmic axis; fewer where training is shorter."""
    return {0, *np.geomspace(1, max(total, 1), points).round().astype(int).tolist()}


def curves_of_layers(history: History, owner: str = "") -> dict[str, Curve]:
    """A curve for each `<quantity>/<layer>` that was followed, or each `<owner>/<quantity>/<layer>`: a history has those of all measures."""
    found = {}
    for name, seen in history.followed.items():
        *before, quantity, layer = ["", *name.split("/")][-3:]
        if layer.isdecimal() and before == [owner]:
            found[name] = Curve(
                label=f"{f'{owner} {quantity}'.strip().replace('_', ' ')}, layer {int(layer) + 1}",
                unit="1",
                layer=int(layer),
                x=tuple(step for step, _ in seen),
                y=tuple(value for _, value in seen),
            )
    return found


def _read(seen: Mapping[str, Tensor], special: Tensor) -> dict[str, float]:
    """Of what the reading tokens hear; of one that hears no ordinary token, nothing can be said."""
    rows = reading_rows(seen["attention"], special)
    hears = rows.sum(-1) > 0.0
    if not bool(hears.any()):
        return {}
    found = {"gini": float(gini(rows)[hears].mean())}
    if "phases" in seen:
        found["weighted_synchrony"] = float(
            weighted_synchrony(rows, seen["phases"][..., ~special, :])[hears].mean()
        )
    return found


measure = TrainingDynamics

"""Evaluations: how often a solver read its right-hand side in a forward pass, counted over all layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch

from oscbench.measures import Findings, Measure, Subject
from oscbench.modes import evaluating
from oscbench.records.schema import Measurement
from oscbench.roles import Role


class Evaluations(Measure):
    """Function evaluations of the ODE; a mechanism that solves none has exactly 0."""

    label = "evaluations"
    roles: ClassVar[Mapping[str, Role]] = {"evaluations": {"exact": True}}

    def before(self, subject: Subject) -> Findings:
        """At the start, where the pull is still weak."""
        return self._count(subject, "evaluations_start", "ODE evaluations a forward pass at the start")

    def after(self, subject: Subject) -> Findings:
        """At the end."""
        return self._count(subject, "evaluations", "ODE evaluations a forward pass")

    def _count(self, subject: Subject, name: str, label: str) -> Findings:
        by_layer = evaluations_by_layer(subject)
        known = by_layer is not None
        repeats = subject.model.trunk.repeats  # each is taken to be as the last, which alone is told
        value = Measurement(
            value=None if by_layer is None else repeats * sum(by_layer),
            unit="1",
            label=label,
            direction="lower",
            method="measured" if known else "unavailable",
            reason=None if known else "the mechanism is iterative but reports no `evaluations`",
            details={} if by_layer is None else {"by_layer": by_layer},
        )
        return Findings({name: value})


@torch.no_grad()
def evaluations_by_layer(subject: Subject) -> list[float] | None:
    """Evaluations of each layer on the probe; [] where nothing is solved, None where they are not told."""
    model = subject.model
    if not model.trunk.mechanism.traits.iterative:
        return []
    with evaluating(model):
        found = model(subject.probe.inputs, diagnostics=True).diagnostics
    if not all("evaluations" in layer for layer in found):
        return None
    return [float(layer["evaluations"]) for layer in found]


def count_evaluations(subject: Subject) -> float | None:
    """Evaluations a layer, averaged over the layers; None where they are not known."""
    by_layer = evaluations_by_layer(subject)
    if by_layer is None:
        return None
    return sum(by_layer) / len(by_layer) if by_layer else 0.0


measure = Evaluations

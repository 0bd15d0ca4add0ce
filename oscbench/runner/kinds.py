"""The kinds of cells there are, by the word that a spec says it with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oscbench.runner.floors import Floors
from oscbench.runner.kind import Kind
from oscbench.runner.timing.kind import Timing
from oscbench.runner.training.kind import Training

KINDS: dict[str, Kind] = {"train": Training(), "timing": Timing(), "floor": Floors()}


def kind_of(spec: Mapping[str, Any]) -> Kind:
    """The kind of a resolved spec."""
    return KINDS[spec["kind"]]

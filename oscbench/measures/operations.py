"""Operations: multiply-add equivalents of a forward pass; exponentials, sines and roots are among them.

FLOPs count matrix products alone, which leaves out what oscillators cost. The counts are closed forms of the
cheapest exact algorithm; a solver's part is its measured evaluations times the cost of one. Where a mechanism
could be built otherwise (fixed query in part as a physical system), each way is a value of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field, field_validator

from oscbench.measures import Findings, Measure, MeasureConfig, Subject
from oscbench.measures.evaluations import count_evaluations
from oscbench.ops.operations import DEFAULT_WEIGHTS, KINDS, Operations
from oscbench.records.schema import Measurement
from oscbench.roles import Role


class OperationsConfig(MeasureConfig):
    """Settings of the operations measure.

    Attributes:
        weights: multiply-add equivalents by kind; by default an exponential counts 10 and the others 1.
    """

    weights: dict[str, float] = Field(default_factory=dict)

    @field_validator("weights")
    @classmethod
    def _known(cls, weights: dict[str, float]) -> dict[str, float]:
        for kind, weight in weights.items():
            if kind not in KINDS:
                raise ValueError(f'no kind of operation "{kind}"; there are: {", ".join(KINDS)}')
            if not 0.0 <= weight < float("inf"):
                raise ValueError(f"the weight of {kind} is {weight}; it must be 0 or more")
        return weights


class OperationCount(Measure):
    """Operations a sample, forward, of the whole model."""

    Config = OperationsConfig
    label = "operations"
    roles: ClassVar[Mapping[str, Role]] = {
        "operations": {"rank": 20, "cost": "Operations a sample", "exact": True},
        "operations_*": {"exact": True},
    }

    def after(self, subject: Subject) -> Findings:
        """Evaluate the closed forms."""
        if not subject.model.one_pass:
            return Findings(
                {"operations": _unknown("a sample goes through this model's blocks more than once")}
            )
        evaluations = count_evaluations(subject)
        if evaluations is None:
            reason = "the mechanism solves an equation but does not say how often it read the right-hand side"
            return Findings({"operations": _unknown(reason)})
        trunk, tokens = subject.model.trunk, subject.model.num_tokens
        own = trunk.repeats * trunk.mechanism.counted(tokens, evaluations)
        around = surroundings(subject)
        found = {"operations": self._measurement(own + around, own, tokens, "operations a sample")}
        for name, once in trunk.mechanism.implementations(tokens).items():
            ours, label = trunk.repeats * once, f"operations a sample, {name} implementation"
            found[f"operations_{name}"] = self._measurement(ours + around, ours, tokens, label)
        return Findings(found)

    def _measurement(self, total: Operations, own: Operations, tokens: int, label: str) -> Measurement:
        weights = {**DEFAULT_WEIGHTS, **self.config.weights}
        details: dict[str, Any] = {
            "tokens": tokens,
            "weights": weights,
            "counts": total.as_dict(),
            "mechanism_counts": own.as_dict(),
            "mechanism": own.equivalents(weights),
        }
        return Measurement(
            value=total.equivalents(weights),
            unit="multiply-add equivalents",
            label=label,
            direction="lower",
            method="computed",
            details=details,
        )


def surroundings(subject: Subject) -> Operations:
    """What stands around the mechanism: linear maps, GELUs (an error function each) and LayerNorms."""
    model = subject.model
    trunk, tokens = model.trunk, model.num_tokens
    blocks = trunk.repeats * trunk.mechanism.shape.layers
    products = (model.flops() - trunk.repeats * trunk.mechanism.flops(tokens)) // 2
    # A stream that is not normalised says so by its features: angles need no norm.
    norms = 0 if trunk.mechanism.stream.features_per_channel == 2 else (2 * blocks + 1) * tokens
    return Operations(
        multiply_adds=products,
        elementwise=norms * trunk.mechanism.shape.width,
        exponentials=blocks * tokens * trunk.hidden,
        reductions=2 * norms,
        divisions=norms,
    )


def _unknown(reason: str) -> Measurement:
    return Measurement.unavailable(reason, unit="multiply-add equivalents", label="operations a sample")


measure = OperationCount

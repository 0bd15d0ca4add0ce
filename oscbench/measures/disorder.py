"""Disorder: what is left of a trained model whose couplings, states and frequencies are not what training left.

Fixed-query attention is offered as a physical system, and physical parts are imperfect: arXiv 2606.12059 disturbs trained models without
training them again. Softmax stands the same log-normal noise on its couplings; it has no states and no frequencies.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field

from oscbench.measures import FEW_EXAMPLES, Findings, Measure, MeasureConfig, Subject
from oscbench.models.trunk import named_seed
from oscbench.modes import evaluating
from oscbench.ops.disorder import KINDS, Disorder, Kind
from oscbench.records.schema import Measurement
from oscbench.tasks import UnscoredError

SEED = 20_260_612
WORDS: dict[Kind, str] = {
    "coupling": "couplings times exp(N(0, σ²))",
    "state": "N(0, σ²) on settled states",
    "frequency": "oscillators that turn at N(0, σ²)",
}


class DisorderConfig(MeasureConfig):
    """Settings of the disorder measure.

    Attributes:
        strengths: σ of every kind.
        draws: of the noise, over which the metric is averaged.
        examples: of the test, the first so many.
    """

    strengths: list[Annotated[float, Field(gt=0.0)]] = Field(
        default=[0.01, 0.05, 0.1, 0.2, 0.5], min_length=1
    )
    draws: int = Field(default=5, ge=1)
    examples: int = Field(default=512, ge=1)


class DisorderMeasure(Measure):
    """`<metric>_disorder_<kind>_<strength>`, and `<metric>_disorder_none` on the same examples."""

    Config = DisorderConfig
    label = "metric under disorder in the mechanism"

    def after(self, subject: Subject) -> Findings:
        """Evaluate with each kind and strength; null with its reason where the mechanism has no such part."""
        found, name = Findings(), subject.task.metric.name
        with evaluating(subject.model):
            found.measures[f"{name}_disorder_none"] = self._averaged(subject, [None], "no disorder")
            for kind in KINDS:
                for strength in self.config.strengths:
                    found.measures[f"{name}_disorder_{kind}_{strength:g}"] = self._disturbed(
                        subject, kind, strength
                    )
        return found

    def smaller(self) -> tuple[DisorderConfig, float]:
        """One draw of one strength for a few examples."""
        config = self.config
        few = min(config.examples, FEW_EXAMPLES)
        part = config.model_copy(update={"strengths": config.strengths[-1:], "draws": 1, "examples": few})
        return part, len(config.strengths) * config.draws * config.examples / few

    def _disturbed(self, subject: Subject, kind: Kind, strength: float) -> Measurement:
        """The metric under one disorder, averaged over draws of its noise."""
        mechanism, words = subject.model.trunk.mechanism, f"{WORDS[kind]}, σ = {strength:g}"
        if kind not in mechanism.disorders:
            return self._measured(subject, [], words, f"{mechanism.label} knows no disorder of its {kind}")
        draws = [
            torch.Generator().manual_seed(named_seed(SEED, f"{kind}/{strength:g}/{draw}"))
            for draw in range(self.config.draws)
        ]
        return self._averaged(subject, [Disorder(kind, strength, one) for one in draws], words)

    def _averaged(self, subject: Subject, disorders: Sequence[Disorder | None], words: str) -> Measurement:
        """The metric's mean over them; null with its reason where the task scores no single batches."""
        try:
            return self._measured(subject, [self._evaluate(subject, one) for one in disorders], words)
        except UnscoredError as error:
            return self._measured(subject, [], words, str(error))

    @torch.no_grad()
    def _evaluate(self, subject: Subject, disorder: Disorder | None) -> float:
        """The metric on the first test examples."""
        mechanism, task = subject.model.trunk.mechanism, subject.task
        examples = subject.first_examples("test", self.config.examples)
        mechanism.disorder = disorder
        try:
            scores = task.scored((subject.model(batch.inputs).prediction, batch) for batch in examples)
        finally:
            mechanism.disorder = None
        return float(scores[task.metric.name].value)

    def _measured(
        self, subject: Subject, values: list[float], words: str, reason: str | None = None
    ) -> Measurement:
        metric = subject.task.metric
        return Measurement.model_validate(
            {
                "value": statistics.fmean(values) if values else None,
                "unit": metric.unit,
                "label": f"{metric.label}, {words}",
                "direction": metric.direction,
                "n": len(values),
                "method": "measured" if values else "unavailable",
                "reason": reason and f"unavailable: {reason}",
                "details": {"by_draw": values} if len(values) > 1 else {},
            }
        )


measure = DisorderMeasure

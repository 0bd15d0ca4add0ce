"""Untrained: the task's scores on the test before the first step, where every score after training begins.

Architectures are not equal before they learn: patches of a model that was never trained may cluster by the objects that they show, and
random features tell classes. What training added is the difference. Taken after calibration, with the start values of the cell's seed.
"""

from __future__ import annotations

import torch

from oscbench.measures import Findings, Measure, Subject
from oscbench.records import Measurement


class Untrained(Measure):
    """`untrained_<name>` for every score of the task on its test."""

    label = "scores before training"

    def before(self, subject: Subject) -> Findings:
        """Score, leaving random numbers and the model as they were."""
        task = subject.task
        with torch.random.fork_rng():
            scores = task.evaluate(subject.model, "test", subject.device)
        metrics = {name: task.metric_named(name) for name in scores}
        return Findings(
            {
                f"untrained_{name}": Measurement(
                    value=score.value,
                    unit=metrics[name].unit,
                    label=f"{metrics[name].label}, before training",
                    direction=metrics[name].direction,
                    n=score.count,
                )
                for name, score in scores.items()
            }
        )

    def after(self, subject: Subject) -> Findings:
        """Nothing more."""
        del subject
        return Findings()


measure = Untrained

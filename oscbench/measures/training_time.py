"""Training time: wall-clock seconds of the whole training and of its median step, on the threads the cell has."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import ClassVar

from oscbench.measures import Findings, Measure, Subject
from oscbench.records.schema import Measurement
from oscbench.roles import Role

WARM_UP = 3
MAX_SAMPLES = 400


class TrainingTime(Measure):
    """Seconds of training, evaluation left out; compare as ratios within one run only."""

    label = "training time"
    roles: ClassVar[Mapping[str, Role]] = {
        "training_s": {
            "rank": 30,
            "cost": "Training time",
            "of_machine": True,
            "column": "Training",
            "speed": True,
        },
        "step_s": {
            "rank": 31,
            "cost": "Training time",
            "of_machine": True,
            "speed": True,
            "a_step": "Seconds",
        },
    }

    def after(self, subject: Subject) -> Findings:
        """Summarise the steps' own clocks."""
        history = subject.history
        steps = history.step_seconds[WARM_UP:] or history.step_seconds
        if not steps:
            nothing = Measurement.unavailable("no step was taken", unit="s", label="median training step")
            return Findings({"step_s": nothing})
        thinned = steps[:: max(1, len(steps) // MAX_SAMPLES)]
        return Findings(
            {
                "step_s": Measurement(
                    value=statistics.median(steps),
                    unit="s",
                    label="median training step",
                    direction="lower",
                    n=len(steps),
                    samples=tuple(thinned),
                ),
                "training_s": Measurement(
                    value=history.training_seconds, unit="s", label="training time", direction="lower"
                ),
                "waiting_s": Measurement(
                    value=history.waiting_seconds,
                    unit="s",
                    label="waiting for data between steps",
                    direction="lower",
                ),
            }
        )


measure = TrainingTime

"""FLOPs: closed form of the cheapest exact dense algorithm, forward a sample and training a step.

Projections and MLP as usual, attention by the op's own formula, causal not halved, nothing skipped, backward twice the forward,
recomputation not counted. What a model computes without a backward pass, as the embeddings of a slow teacher, counts once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from oscbench.measures import Findings, Measure, Subject
from oscbench.records.schema import Measurement
from oscbench.roles import Role


class Flops(Measure):
    """Floating-point operations of matrix products; exponentials and sines are not among them."""

    label = "FLOPs"
    roles: ClassVar[Mapping[str, Role]] = {
        "flops": {
            "rank": 10,
            "cost": "Forward FLOPs a sample",
            "column": "FLOPs",
            "basis": "compute",
            "exact": True,
        },
        "training_flops": {"rank": 35, "a_step": "Training FLOPs", "exact": True},
    }

    def after(self, subject: Subject) -> Findings:
        """Evaluate the closed forms."""
        forward = subject.model.flops()
        tokens = {"tokens": subject.model.num_tokens}
        step = {**tokens, "batch_size": subject.batch_size}
        return Findings(
            {
                "flops": Measurement(
                    value=forward,
                    unit="FLOP",
                    label="forward FLOPs a sample",
                    direction="lower",
                    method="computed",
                    details=tokens,
                ),
                "training_flops": Measurement(
                    value=subject.model.training_flops() * subject.batch_size,
                    unit="FLOP",
                    label="FLOPs a training step",
                    direction="lower",
                    method="computed",
                    details=step,
                ),
            }
        )


measure = Flops

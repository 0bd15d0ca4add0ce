"""What a runner would leave of a search's trials, with scores that are made up, so that nothing trains."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from oscbench.records.schema import Curve, Measurement, MechanismCard, Record
from oscbench.runner.training.specs import recipe

BEST = 2e-3


def score_of(cell):
    """Best at one learning rate and the smallest gamma; seeds differ a little."""
    distance = abs(math.log(recipe(cell.spec)["learning_rate"] / BEST))
    return 1.0 - 0.1 * distance - cell.spec["mechanism"].get("gamma", 0.0) + 1e-3 * cell.spec["seed"]


def record_of(cell, status="ok"):
    """What a runner would leave of a trial cell with a made-up score."""
    value = score_of(cell)
    now = datetime.now(UTC)
    metric = Measurement(value=value, unit="1", label="validation accuracy", direction="higher")
    measures = {"validation_accuracy": metric, "flops": Measurement(value=100, unit="FLOP", label="flops")}
    return Record(
        identity=cell.identity,
        suite=cell.suite,
        protocol=cell.protocol,
        task="digits",
        task_label="",
        mechanism=cell.spec["mechanism"]["name"],
        variant=cell.spec["variant"],
        seed=cell.spec["seed"],
        status=status,
        device="cpu",
        metric="accuracy",
        card=MechanismCard(name="x", label="x", idea="", citation="", traits={}),
        spec_given={},
        spec=cell.spec,
        versions={},
        measures=measures if status == "ok" else {},
        curves={"train_loss": Curve(label="", unit="", x=(7.0,), y=(1.0,))},
        started_utc=now,
        finished_utc=now,
        seconds=2.0,
    )

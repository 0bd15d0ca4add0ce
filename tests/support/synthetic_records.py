"""Synthetic records.

What a runner would leave behind, made up from a generator so that no test trains anything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from oscbench.records import (
    Curve,
    HealthRow,
    Matching,
    Measurement,
    MechanismCard,
    Record,
    identity,
    protocol,
)

START = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
# Gains over 0.90 and relative costs of made-up mechanisms; the report must not care what they are called.
GAIN = {"plain": 0.0, "wave": 0.02, "ring": -0.01, "lock": -0.3}
COST = {"plain": 1.0, "wave": 1.21, "ring": 1.9, "lock": 1.0}


def make_record(
    mechanism: str = "plain",
    seed: int = 0,
    *,
    variant: str = "default",
    suite: str = "toy",
    task: str = "digits",
    value: float | None = None,
    status: str = "ok",
    reason: str | None = None,
    data_hash: str | None = "",
    epochs: int = 3,
    later: float = 0.0,
    device: str = "cpu",
    reference: str | None = "plain",
    by: str = "params",
    flags: tuple[str, ...] = (),
    points: int = 40,
    layers: int = 4,
    **changes: Any,
) -> Record:
    """One record; `changes` replaces any field of it."""
    rng = np.random.default_rng([seed, *mechanism.encode(), *task.encode()])
    shared = np.random.default_rng([seed, 1]).normal(0, 0.006)
    score = value if value is not None else 0.90 + GAIN.get(mechanism, 0.0) + shared + rng.normal(0, 0.004)
    spec = {
        "task": {"name": task},
        "train": {"epochs": epochs},
        "matching": {"by": by},
        "device": device,
        "mechanism": {"name": mechanism},
        "variant": variant,
        "seed": seed,
        "versions": {"mechanism": 1, "task": 1},
    }
    cost = COST.get(mechanism, 1.0)
    ok = status == "ok"
    fields: dict[str, Any] = {
        "identity": identity(spec | {"suite": suite}),
        "suite": suite,
        "suite_description": "A made-up suite.",
        "protocol": protocol(spec),
        "task": task,
        "task_label": task.capitalize(),
        "mechanism": mechanism,
        "variant": variant,
        "seed": seed,
        "status": status,
        "reason": reason,
        "device": device,
        "metric": "accuracy",
        "card": MechanismCard(
            name=mechanism,
            label=mechanism,
            idea=f"What {mechanism} does.",
            citation="arXiv:0",
            traits={},
        ),
        "spec_given": {},
        "spec": spec,
        "versions": {"oscbench": "0.1.0", "torch": "2.13"},
        "matching": Matching(
            by=by, reference=reference, target=1e5, value=1.002e5, residual=0.002, hidden=128
        ),
        "data_hash": f"hash{seed}" if data_hash == "" else data_hash,
        "measures": _measures(score, cost, rng) if ok else {},
        "curves": _curves(score, points, rng) if ok else {},
        "health": _health(layers, rng) if ok else (),
        "flags": flags,
        "environment": {"cpu": "made-up", "threads": 1, "load_average": 1.0, "torch": {"version": "2.13"}},
        "commit": "0123456789abcdef",
        "dirty": False,
        "started_utc": START,
        "finished_utc": START + timedelta(seconds=60 + later),
        "seconds": 60.0,
    }
    return Record(**(fields | changes))


def _measures(score: float, cost: float, rng: np.random.Generator) -> dict[str, Measurement]:
    return {
        "accuracy": Measurement(value=score, unit="fraction", label="Accuracy", direction="higher", n=540),
        "params": Measurement(
            value=100_000 + int(200 * cost), unit="1", label="parameters", method="computed"
        ),
        "flops": Measurement(value=2.5e6 * cost, unit="FLOP", label="forward FLOPs a sample"),
        "step_s": Measurement(
            value=0.02 * cost * float(rng.uniform(0.95, 1.05)),
            unit="s",
            label="median training step",
            direction="lower",
        ),
        "training_s": Measurement(
            value=12 * cost * float(rng.uniform(0.95, 1.05)),
            unit="s",
            label="training time",
            direction="lower",
        ),
        "energy": Measurement(
            value=None, unit="J", label="Energy", direction="lower", method="unavailable", reason="no counter"
        ),
    }


def _curves(score: float, points: int, rng: np.random.Generator) -> dict[str, Curve]:
    x = tuple(float(10 * (i + 1)) for i in range(points))
    accuracy = tuple(
        score * (1 - math.exp(-(i + 1) / points * 4)) + float(rng.normal(0, 0.01)) for i in range(points)
    )
    loss = tuple(
        2.3 * math.exp(-(i + 1) / points * 3) + abs(float(rng.normal(0, 0.05))) for i in range(points)
    )
    return {
        "validation_accuracy": Curve(
            label="validation accuracy", unit="fraction", direction="higher", x=x, y=accuracy
        ),
        "train_loss": Curve(label="training loss", unit="nats", direction="lower", x=x, y=loss),
    }


def _health(layers: int, rng: np.random.Generator) -> tuple[HealthRow, ...]:
    return tuple(
        HealthRow(
            when=when,
            layer=layer,
            quantities={
                "attention_entropy": float(rng.uniform(0.4, 0.95)),
                "identity_distance": float(rng.uniform(0.5, 1.0)),
                "order_parameter": float(rng.uniform(0.0, 1.0)),
            },
        )
        for when in ("start", "end")
        for layer in range(layers)
    )


def toy_suite(seeds: int = 6, **shared: Any) -> list[Record]:
    """Three mechanisms over some seeds.

    A fourth in two variants of which one is dead, and one that never ran.
    """
    records = [make_record(m, s, **shared) for m in ("plain", "wave", "ring") for s in range(seeds)]
    records += [
        make_record("lock", s, variant="dead", flags=("mixing is the identity",), **shared)
        for s in range(seeds)
    ]
    records += [make_record("lock", s, variant="calibrated", value=0.89, **shared) for s in range(seeds)]
    records.append(
        make_record("ring", seeds, status="diverged", reason="loss is not finite at step 12", **shared)
    )
    records.append(make_record("ghost", 0, status="unsupported", reason="needs a GPU", **shared))
    return records


def replaced(record: Record, measures: Mapping[str, Measurement]) -> Record:
    """The record with some measures added or exchanged."""
    return record.model_copy(update={"measures": {**record.measures, **measures}})

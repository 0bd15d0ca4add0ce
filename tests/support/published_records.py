"""Records as the runs behind published numbers would leave them here."""

from __future__ import annotations

from typing import Any

from synthetic_records import make_record

from oscbench.records import Matching, Measurement, Record

CONFIG_G = {"width": 32, "heads": 1, "layers": 1, "position": "sinusoidal", "dropout": 0.1}
RECIPE = {
    "epochs": 20,
    "batch_size": 64,
    "learning_rate": 5e-4,
    "weight_decay": 1e-4,
    "warmup": 0.0,
    "beta2": 0.999,
}


def measured(value: float | None, unit: str = "fraction", **more: Any) -> Measurement:
    return Measurement(value=value, unit=unit, label="made up", **more)


def record(task: str, mechanism: str, seed: int, measures: dict[str, Measurement], **spec: Any) -> Record:
    """A record of some task whose spec is `spec`; the mechanism's settings are its `settings`."""
    settings, hidden = spec.pop("settings", {}), spec.pop("hidden", 64)
    metric = next(iter(measures))
    whole = {
        "task": {"name": task, **spec.pop("given", {})},
        "model": CONFIG_G,
        "train": RECIPE,
        "kind": "train",
        **spec,
    }
    whole["mechanism"] = {"name": mechanism, **settings}
    return make_record(
        mechanism,
        seed,
        task=task,
        spec=whole,
        metric=metric,
        measures=measures,
        matching=Matching(by="none", hidden=hidden),
        identity=f"{mechanism}{seed}",
    )

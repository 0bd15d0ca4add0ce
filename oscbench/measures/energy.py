"""Energy: joules of a forward pass and of a training step from the machine's own counter, idle power apart.

NVML's total-energy counter on a GPU, RAPL on a processor where it may be read; elsewhere the value is null with the reason.
Whatever else runs on the machine is in the count, so run alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field

from oscbench.instruments.joules import (
    MIN_WINDOW_S,
    Counter,
    CounterError,
    Energy,
    counter_for,
    measure_energy,
    median,
)
from oscbench.instruments.passes import Pass, model_pass
from oscbench.measures import Findings, Measure, MeasureConfig, Subject
from oscbench.modes import evaluating
from oscbench.records.schema import Measurement
from oscbench.roles import Role

LABELS: dict[Pass, str] = {"forward": "energy of a forward pass", "step": "energy of a training step"}


class EnergyConfig(MeasureConfig):
    """Settings of the energy measure.

    Attributes:
        windows: how many are measured.
        window_s: seconds of each; the counters are too coarse for less than two.
    """

    windows: int = Field(default=3, ge=1)
    window_s: float = Field(default=MIN_WINDOW_S, ge=MIN_WINDOW_S, le=60.0)


class EnergyMeasure(Measure):
    """Joules a batch, net of idle, with joules a sample and gross joules beside them."""

    Config = EnergyConfig
    label = "energy"
    roles: ClassVar[Mapping[str, Role]] = {
        "step_energy_j": {
            "rank": 50,
            "cost": "Energy",
            "of_machine": True,
            "energy": (1, "Joules a training step"),
            "a_step": "Joules",
        },
        "forward_energy_j": {
            "rank": 51,
            "cost": "Energy",
            "of_machine": True,
            "energy": (0, "Joules a forward pass"),
        },
        "step_energy_a_sample_j": {"rank": 52, "energy": (3, "A sample, step")},
        "forward_energy_a_sample_j": {"rank": 53, "energy": (2, "A sample, forward")},
    }

    def after(self, subject: Subject) -> Findings:
        """Run both passes over windows."""
        try:
            counter: Counter | CounterError = counter_for(subject.device)
        except CounterError as error:
            counter = error
        found: dict[str, Measurement] = {}
        with evaluating(subject.model):
            for name in LABELS:
                subject.model.train(name != "forward")
                found |= self._one(name, subject, counter)
                subject.model.zero_grad(set_to_none=True)
        return Findings(found)

    @classmethod
    def unavailable(cls) -> str | None:
        """No counter that can be read."""
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            counter_for(device).joules()
        except CounterError as error:
            return str(error)
        return None

    def _one(self, name: Pass, subject: Subject, counter: Counter | CounterError) -> dict[str, Measurement]:
        key, label = f"{name}_energy_j", LABELS[name]
        if isinstance(counter, CounterError):
            return {key: _unavailable(label, counter)}
        run = model_pass(name, subject.model, subject.task, subject.probe).run
        config = self.config

        def finished() -> None:
            run()
            if subject.device.type == "cuda":
                torch.cuda.synchronize(subject.device)

        try:
            energy = measure_energy(finished, counter, windows=config.windows, window_s=config.window_s)
        except CounterError as error:
            return {key: _unavailable(label, error)}
        return _measurements(key, label, energy, len(subject.probe.inputs), counter.name)


def _measurements(
    key: str, label: str, energy: Energy, batch_size: int, counter: str
) -> dict[str, Measurement]:
    details: dict[str, Any] = {
        "counter": counter,
        "idle_watts": energy.idle_watts,
        "gross_joules": energy.gross_joules,
        "calls": energy.calls,
        "window_s": energy.window_s,
        "batch_size": batch_size,
    }
    common: dict[str, Any] = {"unit": "J", "direction": "lower", "n": len(energy.joules)}
    whole = Measurement(
        value=median(energy.joules), label=label, samples=tuple(energy.joules), details=details, **common
    )
    a_sample = Measurement(
        value=median(energy.joules) / batch_size,
        label=f"{label}, a sample",
        samples=tuple(joules / batch_size for joules in energy.joules),
        details=details,
        **common,
    )
    return {key: whole, key.replace("_energy_j", "_energy_a_sample_j"): a_sample}


def _unavailable(label: str, error: CounterError) -> Measurement:
    return Measurement.unavailable(str(error), unit="J", label=label)


measure = EnergyMeasure

"""Memory: peak bytes of a forward pass and of a training step above the level before it, weights apart.

On CUDA the allocator's own peaks, allocated and reserved. On a CPU a fresh child process does the pass and reads its own
high-water mark; where the system does not tell it the value is null, never 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field

from oscbench.instruments.passes import Pass, model_pass
from oscbench.instruments.peak_memory import PeakError, peak_in_child
from oscbench.measures import Findings, Measure, MeasureConfig, Subject
from oscbench.models.backbones import Backbone
from oscbench.modes import evaluating
from oscbench.records.schema import Measurement
from oscbench.roles import Role
from oscbench.tasks import Batch, Task

LABELS: dict[Pass, str] = {
    "forward": "peak memory of a forward pass",
    "step": "peak memory of a training step",
}


class MemoryConfig(MeasureConfig):
    """Settings of the memory measure.

    Attributes:
        batch_size: examples of the probe that are used; all (64) by default.
    """

    batch_size: int | None = Field(default=None, ge=1)


class Memory(Measure):
    """Peaks above the level before the pass; weights and AdamW's two moments belong to the level."""

    Config = MemoryConfig
    version = 2  # gradients are above the level, as they are made in a step
    label = "memory"
    roles: ClassVar[Mapping[str, Role]] = {
        "step_peak_memory_bytes": {"rank": 40, "cost": "Peak memory", "peak": True},
        "forward_peak_memory_bytes": {"rank": 41, "cost": "Peak memory", "peak": True},
        "*_peak_memory_bytes": {"peak": True},
    }

    def after(self, subject: Subject) -> Findings:
        """Measure both passes."""
        model, batch = subject.model, subject.probe
        if self.config.batch_size is not None:
            kept = slice(self.config.batch_size)
            batch = type(batch)(batch.inputs[kept], batch.targets[kept])
        weights = sum(p.numel() * p.element_size() for p in model.parameters())
        with evaluating(model):
            found: dict[str, Measurement] = {}
            for name, label in LABELS.items():
                model.train(name != "forward")
                details = {"batch_size": len(batch.inputs), "weights_bytes": weights}
                arguments = (name, model, subject.task, batch)
                found |= peaks(
                    f"{name}_peak_memory_bytes", label, details, subject.device, _passes, *arguments
                )
                model.zero_grad(set_to_none=True)
        return Findings(found)


def _passes(name: Pass, model: Backbone, task: Task, batch: Batch) -> Callable[[], Any]:
    run: Callable[[], Any] = model_pass(name, model, task, batch).run
    return run


def peaks(
    key: str,
    label: str,
    details: dict[str, Any],
    device: torch.device,
    build: Callable[..., Callable[[], Any]],
    *arguments: Any,
) -> dict[str, Measurement]:
    """Peak of `build(*arguments)()` above the level before it; on CUDA what was reserved as well."""
    if device.type == "cuda":
        return cuda_peaks(key, label, details, device, build(*arguments))
    threads = torch.get_num_threads()
    known = {**details, "how": "VmHWM of a fresh child process", "threads": threads}
    try:
        peak = peak_in_child(build, *arguments, threads=threads)
    except PeakError as error:
        return {key: no_memory(label, str(error), known)}
    return {key: memory_measurement(label, peak.above, {**known, "level_bytes": peak.level})}


def cuda_peaks(
    key: str, label: str, details: dict[str, Any], device: torch.device, run: Callable[[], Any]
) -> dict[str, Measurement]:
    """Allocated and reserved peaks of a call above the level before it."""
    run()  # what is allocated once and kept (moments, workspaces) belongs to the level
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    allocated, reserved = torch.cuda.memory_allocated(device), torch.cuda.memory_reserved(device)
    run()
    torch.cuda.synchronize(device)
    known = {**details, "how": "torch's CUDA allocator", "level_bytes": allocated}
    above = torch.cuda.max_memory_allocated(device) - allocated
    more = torch.cuda.max_memory_reserved(device) - reserved
    return {
        key: memory_measurement(label, above, known),
        key.replace("_memory_bytes", "_reserved_bytes"): memory_measurement(
            f"{label}, reserved", more, known
        ),
    }


def memory_measurement(label: str, value: int, details: dict[str, Any]) -> Measurement:
    """A peak."""
    return Measurement(value=value, unit="B", label=label, direction="lower", details=details)


def no_memory(label: str, reason: str, details: dict[str, Any]) -> Measurement:
    """A peak that could not be measured."""
    return Measurement.unavailable(reason, unit="B", label=label, details=details)


measure = Memory

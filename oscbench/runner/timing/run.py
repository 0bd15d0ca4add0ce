"""One timing cell: all contenders of one size, in turn, in one process; raw samples and ratios go into the record."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from oscbench.errors import first_line, kind_and_line
from oscbench.instruments.ceilings import Ceilings, measure_ceilings
from oscbench.instruments.clock import (
    Clock,
    Contender,
    Effort,
    Timed,
    captured,
    clock_for,
    interleave,
    known_half_width,
    paired_ratio,
)
from oscbench.instruments.nvml import handle_of
from oscbench.instruments.peak_memory import PeakError, peaks_in_child
from oscbench.machine.idle import wait_for_idle
from oscbench.measures.latency import measurement, nothing
from oscbench.measures.memory import cuda_peaks, memory_measurement, no_memory
from oscbench.ops.compiling import compiled
from oscbench.records import Measurement
from oscbench.runner.cell_spec import Progress
from oscbench.runner.timing.models import make_batch, make_model, model_contender, model_cost
from oscbench.runner.timing.ops import Cost, op_cost, op_pass, prepare
from oscbench.runner.timing.plan import Spec, left_out, op_size

PATIENCE_S = 5.0
LABELS = {"forward": "forward pass", "backward": "backward pass", "step": "training step"}


def run_timing(
    spec: Spec, device: torch.device, measures: dict[str, Measurement], progress: Progress
) -> dict[str, Any]:
    """Time every pass in every mode; values go into `measures` as they come. Returns what the machine was like.

    A contender that cannot run at this size costs its own values alone.
    """
    quiet = wait_for_idle(1.0, PATIENCE_S)
    dtype = getattr(torch, spec["setting"]["dtype"])
    clock = clock_for(device)
    ceilings = measure_ceilings(device, dtype, clock)
    passes = [(name, mode) for mode in spec["setting"]["modes"] for name in spec["setting"]["passes"]]
    total = len(passes) + 1
    for done, (name, mode) in enumerate(passes):
        _time_pass(spec, name, mode, device, dtype, clock, measures)
        progress(done + 1, total)
    ceilings = ceilings.best_of(measure_ceilings(device, dtype, clock))
    measures |= ceilings.measurements()
    for key, measured in measures.items():
        measures[key] = _on_roofline(measured, ceilings)
    if spec["setting"]["memory"]:
        measures |= _memory(spec, device, dtype)
    progress(total, total)
    return {
        "quiet": vars(quiet),
        "load_average_after": round(os.getloadavg()[0], 2),
        "clock": clock.name,
        "gpu": gpu_state(device),
    }


def _time_pass(
    spec: Spec,
    name: str,
    mode: str,
    device: torch.device,
    dtype: torch.dtype,
    clock: Clock,
    measures: dict[str, Measurement],
) -> None:
    """All contenders in one pass and mode, round by round."""
    quantity = name if mode == "eager" else f"{name}_{mode}"
    ready: dict[str, Contender] = {}
    costs: dict[str, Cost] = {}
    for contender in spec["contenders"]:
        key = contender["key"]
        try:
            ready[key], costs[key] = _contender(spec, contender, name, mode, device, dtype)
        except Exception as error:  # a compiler's errors derive from no common class
            measures[f"{quantity}_s/{key}"] = nothing(
                LABELS[name], _reason(error), {"pass": name, "mode": mode}
            )
    if not ready:
        return
    timed = interleave(ready, clock, Effort(**spec["effort"]))
    reference = timed.get(spec["reference"])
    for key, found in timed.items():
        details = {"pass": name, "mode": mode, "threads": torch.get_num_threads(), "clock": clock.name}
        cost = costs[key]
        details |= {"flops": cost.flops, "bytes": cost.moved, "special_functions": cost.special}
        measures[f"{quantity}_s/{key}"] = measurement(found, LABELS[name], details)
        if reference is not None:
            measures[f"{quantity}_ratio/{key}"] = _ratio(name, mode, found, reference, spec["reference"])


def _on_roofline(measured: Measurement, ceilings: Ceilings) -> Measurement:
    """A time with the share of the ceiling that binds it: 1 is as fast as this machine can."""
    details = measured.details
    if measured.value is None or "flops" not in details:
        return measured
    ideal, bound = ceilings.ideal_s(details["flops"], details["bytes"], details["special_functions"])
    known = {"roofline_share": ideal / measured.value, "bound_by": bound, "ideal_s": ideal}
    return measured.model_copy(update={"details": {**details, **known}})


def _contender(
    spec: Spec, contender: Spec, name: str, mode: str, device: torch.device, dtype: torch.dtype
) -> tuple[Contender, Cost]:
    """A contender that has run once, and its cost.

    Raises:
        ValueError: it is left out at this size, or cannot run in this mode.
        RuntimeError: it failed.
    """
    reason = left_out(spec, contender)
    if reason:
        raise ValueError(reason)
    if mode == "graph" and device.type != "cuda":
        raise ValueError("CUDA graphs need a CUDA device")
    if spec["family"] == "ops":
        size = op_size(spec)
        prepared = prepare(contender["name"], contender["backend"], size, device, dtype)
        if mode == "compiled":
            prepared = type(prepared)(prepared.leaves, compiled(prepared.call))
        made, cost = op_pass(name, prepared), op_cost(name, contender["name"], size, dtype)
    else:
        model = make_model(spec["family"], contender, spec["setting"], spec["tokens"]).to(device, dtype)
        batch = make_batch(spec["family"], spec["setting"], spec["batch"], spec["tokens"]).to(device)
        if batch.inputs.is_floating_point():
            batch = type(batch)(batch.inputs.to(dtype), batch.targets)
        made = model_contender(name, spec["family"], model, batch, compiled=mode == "compiled")  # type: ignore[arg-type]
        cost = model_cost(name, model, spec["batch"], spec["tokens"])  # type: ignore[arg-type]
    made.run(*(made.prepare() if made.prepare else ()))
    return (captured(made) if mode == "graph" else made), cost


def _ratio(name: str, mode: str, found: Timed, reference: Timed, key: str) -> Measurement:
    pairs = paired_ratio(found, reference)
    return Measurement(
        value=statistics.median(pairs),
        unit="1",
        label=f"{LABELS[name]} over that of {key}",
        direction="lower",
        n=len(pairs),
        samples=tuple(pairs),
        details={
            "pass": name,
            "mode": mode,
            "reference": key,
            "converged": found.converged,
            "half_width": known_half_width(pairs),
        },
    )


def _memory(spec: Spec, device: torch.device, dtype: torch.dtype) -> dict[str, Measurement]:
    """Peaks of the heaviest pass: a training step, or an op's forward and backward."""
    name = "step" if "step" in spec["setting"]["passes"] else spec["setting"]["passes"][-1]
    label = f"peak memory of a {LABELS[name]}"
    contenders = [one for one in spec["contenders"] if left_out(spec, one) is None]
    found: dict[str, Measurement] = {}
    if device.type == "cuda":
        for one in contenders:
            found |= _cuda_memory(spec, one, name, device, dtype, label)
        return found
    details = {"pass": name, "how": "VmHWM of a fresh child process"}
    try:
        peaks = peaks_in_child(_runs_in_child, {**spec, "contenders": contenders}, name)
    except PeakError as error:
        peaks = {one["key"]: error for one in contenders}
    for key, peak in peaks.items():
        value = (
            no_memory(label, str(peak), details)
            if isinstance(peak, PeakError)
            else memory_measurement(label, peak.above, {**details, "level_bytes": peak.level})
        )
        found[f"{name}_peak_memory_bytes/{key}"] = value
    return found


def _cuda_memory(
    spec: Spec, contender: Spec, name: str, device: torch.device, dtype: torch.dtype, label: str
) -> dict[str, Measurement]:
    key = f"{name}_peak_memory_bytes/{contender['key']}"
    try:
        made, _ = _contender(spec, contender, name, "eager", device, dtype)
        return cuda_peaks(key, label, {"pass": name}, device, partial(_whole, made))
    except Exception as error:
        return {key: no_memory(label, _reason(error), {"pass": name})}


def _runs_in_child(spec: Spec, name: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    """One contender after the other, so that only one holds memory."""
    cpu, dtype = torch.device("cpu"), getattr(torch, spec["setting"]["dtype"])
    for contender in spec["contenders"]:
        try:
            made, _ = _contender(spec, contender, name, "eager", cpu, dtype)
        except Exception as error:
            yield contender["key"], partial(_fail, _reason(error))
            continue
        yield contender["key"], partial(_whole, made)


def _whole(made: Contender) -> None:
    """A pass with its preparation: the backward pass holds what the forward pass kept."""
    made.run(*(made.prepare() if made.prepare else ()))


def _fail(reason: str) -> None:
    raise PeakError(reason)


def _reason(error: BaseException) -> str:
    ours = isinstance(error, ValueError) and str(error).strip()  # left out, or unsupported here
    return first_line(error) if ours else kind_and_line(error)


def gpu_state(device: torch.device) -> dict[str, Any] | None:
    """Clocks, temperature and throttle reasons of a GPU, read and never changed; None without one."""
    if device.type != "cuda":
        return None
    import pynvml

    try:
        handle = handle_of(device)
        return {
            "sm_clock_hz": pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM) * 1e6,
            "memory_clock_hz": pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_MEM) * 1e6,
            "temperature_celsius": pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU),
            "throttle_reasons": pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle),
        }
    except (pynvml.NVMLError, AttributeError) as error:  # an older pynvml lacks some
        return {"unavailable": str(error)}

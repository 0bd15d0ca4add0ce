"""Latency: seconds of a forward pass, a backward pass and a training step, on the threads that the cell has.

Eager calls by default; `compiled` goes through `torch.compile` and tells its compile time apart; on CUDA `graph` replays
the kernels without the launching, after the L2 cache was cleared. Times of different cells were taken at different
moments: where the ratio of two mechanisms matters, a suite of `kind: timing` interleaves them.

Causal sequence models generate too: seconds of one more token after so many are cached, and tokens a second of a whole
generation, prompt pass included.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, cast

import torch
from pydantic import Field, field_validator

from oscbench.errors import kind_and_line
from oscbench.instruments.clock import (
    Contender,
    Effort,
    Timed,
    captured,
    clock_for,
    interleave,
    known_half_width,
)
from oscbench.instruments.passes import Pass, model_pass
from oscbench.measures import Findings, Measure, MeasureConfig, Subject
from oscbench.models import generation
from oscbench.models.backbones.sequence import Sequence
from oscbench.modes import evaluating
from oscbench.ops.decode import Cache
from oscbench.records.schema import Measurement

Mode = Literal["eager", "compiled", "graph"]
LABELS = {"forward": "forward pass", "backward": "backward pass", "step": "training step"}


class LatencyConfig(MeasureConfig):
    """Settings of the latency measure.

    Attributes:
        passes: which of `forward`, `backward`, `step`.
        modes: which of `eager`, `compiled`, `graph` (CUDA only).
        batch_size: examples of the probe that are used; all (64) by default.
        seconds: spent on one pass in one mode, at most 10.
        min_rounds: samples that are taken in any case.
        cached_tokens: after how many cached tokens one more is timed, each below the probe's length; by default a quarter and
            half of that length, and all but one. Empty leaves generation out.
        generated_batch_size: sequences that are generated side by side.
    """

    passes: tuple[Pass, ...] = ("forward", "backward", "step")
    modes: tuple[Mode, ...] = ("eager",)
    batch_size: int | None = Field(default=None, ge=1)
    seconds: float = Field(default=5.0, gt=0.0, le=10.0)
    min_rounds: int = Field(default=10, ge=1)
    cached_tokens: tuple[int, ...] | None = None
    generated_batch_size: int = Field(default=1, ge=1)

    @field_validator("passes", "modes", "cached_tokens", mode="before")
    @classmethod
    def _listed(cls, given: Any) -> Any:
        """YAML has lists only."""
        return tuple(given) if isinstance(given, list) else given


class Latency(Measure):
    """Times the trained model on the probe batch."""

    Config = LatencyConfig
    label = "latency"

    def after(self, subject: Subject) -> Findings:
        """Time each pass in each mode."""
        config = self.config
        batch = subject.probe
        if config.batch_size is not None:
            batch = type(batch)(batch.inputs[: config.batch_size], batch.targets[: config.batch_size])
        effort = Effort(config.seconds, config.min_rounds)
        with evaluating(subject.model):
            found = {}
            for mode in config.modes:
                for name in config.passes:
                    subject.model.train(name != "forward")
                    make = partial(
                        model_pass, name, subject.model, subject.task, batch, compiled=mode == "compiled"
                    )
                    key = f"{name}_s" if mode == "eager" else f"{name}_{mode}_s"
                    label = LABELS[name] + ("" if mode == "eager" else f", {mode}")
                    details = {"batch_size": len(batch.inputs), "pass": name, "mode": mode}
                    found[key] = time_one(make, mode, subject.device, effort, label, details)
                    subject.model.zero_grad(set_to_none=True)
            if config.cached_tokens != ():
                subject.model.eval()
                found |= time_generation(config, subject, effort)
        return Findings(found)


def time_generation(config: LatencyConfig, subject: Subject, effort: Effort) -> dict[str, Measurement]:
    """One more token at several lengths of the cache, and a whole generation; or the reason why not."""
    label = "generated tokens"
    reason = generation.why_not(subject.model)
    if reason is not None:
        return {"generated_tokens_per_s": per_second(nothing(label, reason, {}), 1)}
    model = cast("Sequence", subject.model)
    ids = subject.probe.inputs[: config.generated_batch_size]
    length = ids.shape[1]
    asked = config.cached_tokens
    lengths = sorted({length // 4, length // 2, length - 1} - {0}) if asked is None else asked
    found = {}
    for cached in lengths:
        name = f"one token after {cached}"
        details: dict[str, Any] = {"batch_size": len(ids), "cached_tokens": cached}
        if not 1 <= cached < length:
            found[f"token_after_{cached}_s"] = nothing(
                name, f"the probe has {length} tokens, so 1 to {length - 1} can be cached", details
            )
            continue
        cache = prompted(model, ids[:, :cached])
        details |= {"cache_bytes": cache.num_bytes(), "flops": len(ids) * model.token_flops(cached + 1)}
        make = partial(next_token, model, ids[:, cached : cached + 1], cache)
        found[f"token_after_{cached}_s"] = time_one(make, "eager", subject.device, effort, name, details)
    prompt = ids[:, : max(1, length // 4)]
    num_new = length - prompt.shape[1] + 1
    details = {"batch_size": len(ids), "prompt_tokens": prompt.shape[1], "new_tokens": num_new}
    whole = Contender(partial(generation.generate, model, prompt, num_new))
    timed = time_one(lambda: whole, "eager", subject.device, effort, label, details)
    found["generated_tokens_per_s"] = per_second(timed, len(ids) * num_new)
    return found


@torch.no_grad()
def prompted(model: Sequence, prompt: torch.Tensor) -> Cache:
    """A cache that holds a prompt and has room for one token more."""
    cache = Cache(prompt.shape[1] + 1)
    model.proceed(prompt, cache)
    return cache


def next_token(model: Sequence, token: torch.Tensor, cache: Cache) -> Contender:
    """One more token, each time on a copy of the same cache; copying is not timed."""

    @torch.no_grad()
    def step(copied: Cache) -> None:
        model.proceed(token, copied)

    return Contender(step, lambda: (cache.copy(),))


def per_second(timed: Measurement, tokens: int) -> Measurement:
    """The same as tokens a second, where a call gives so many."""
    value = None if timed.value is None else tokens / timed.value
    samples = tuple(tokens / seconds for seconds in timed.samples)
    changed = {"value": value, "samples": samples, "unit": "tokens/s", "direction": "higher"}
    return timed.model_copy(update=changed)


def time_one(
    make: Callable[[], Contender],
    mode: Mode,
    device: torch.device,
    effort: Effort,
    label: str,
    details: dict[str, Any],
) -> Measurement:
    """One contender's time, or null with the reason why it could not be timed this way."""
    try:
        if mode == "graph" and device.type != "cuda":
            return nothing(label, "CUDA graphs need a CUDA device", details)
        contender = make()
        if mode == "graph":
            contender = captured(contender)
        timed = interleave({"it": contender}, clock_for(device), effort)["it"]
    except Exception as error:  # a compiler's errors derive from no common class
        return nothing(label, kind_and_line(error), details)
    return measurement(timed, label, {**details, **conditions(device)})


def measurement(timed: Timed, label: str, details: dict[str, Any]) -> Measurement:
    """Median and raw samples of what was timed."""
    known = {
        "converged": timed.converged,
        "half_width": known_half_width(timed.samples),
        "repeats": timed.repeats,
        "warm_up_samples": timed.warm_up,
        "first_call_s": timed.first,
    }
    return Measurement(
        value=timed.median,
        unit="s",
        label=label,
        direction="lower",
        n=len(timed.samples),
        samples=tuple(timed.samples),
        details={**details, **known},
    )


def nothing(label: str, reason: str, details: dict[str, Any]) -> Measurement:
    """What could not be timed."""
    return Measurement.unavailable(reason, unit="s", label=label, details=details)


def conditions(device: torch.device) -> dict[str, Any]:
    """What a reader must know of the machine while it was timed."""
    return {
        "clock": clock_name(device),
        "threads": torch.get_num_threads(),
        "load_average": round(os.getloadavg()[0], 2),
    }


def clock_name(device: torch.device) -> str:
    """`perf_counter` or `cuda_events`."""
    return "cuda_events" if device.type == "cuda" else "perf_counter"


measure = Latency

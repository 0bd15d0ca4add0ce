"""What the machine can do at best, measured: matrix products, copying, exponentials.

A timed op is then shown as a share of the ceiling that binds it, so that a reader sees how far from the limit it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from oscbench.instruments.clock import Clock, Contender, Effort, interleave
from oscbench.instruments.nvml import handle_of
from oscbench.records.schema import Measurement

SPECIAL_A_CLOCK = 16
"""Exponentials that a multiprocessor takes a clock (CUDA C++ Programming Guide, throughput of instructions, 8.0 to 9.0)."""
EFFORT = Effort(seconds=0.5, min_rounds=5, max_rounds=50)


@dataclass(frozen=True)
class Ceilings:
    """Best rates of this machine in this process, on the threads that it has.

    Attributes:
        flops_per_s: of a large square matrix product.
        bytes_per_s: read and written, of a copy far larger than the caches.
        exponentials_per_s: of an array that fits the caches; on a GPU what its units take at the highest clock, computed, since there
            no array of them is computed faster than it is read.
    """

    flops_per_s: float
    bytes_per_s: float
    exponentials_per_s: float

    def ideal_s(self, flops: float, moved: float, exponentials: float) -> tuple[float, str]:
        """Seconds that the binding ceiling alone would take, and which it is."""
        times = {
            "matmul": flops / self.flops_per_s,
            "copy": moved / self.bytes_per_s,
            "exponential": exponentials / self.exponentials_per_s,
        }
        bound = max(times, key=lambda name: times[name])
        return times[bound], bound

    def best_of(self, other: Ceilings) -> Ceilings:
        """The higher of each: a ceiling measured while others worked is none."""
        return Ceilings(
            max(self.flops_per_s, other.flops_per_s),
            max(self.bytes_per_s, other.bytes_per_s),
            max(self.exponentials_per_s, other.exponentials_per_s),
        )

    def measurements(self) -> dict[str, Measurement]:
        """For a record."""
        named = {
            "ceiling_matmul": (self.flops_per_s, "FLOP/s", "best rate of a matrix product"),
            "ceiling_copy": (self.bytes_per_s, "B/s", "best rate of a copy, read and written"),
            "ceiling_exponential": (self.exponentials_per_s, "1/s", "best rate of exponentials"),
        }
        return {
            name: Measurement(value=value, unit=unit, label=label, direction="higher")
            for name, (value, unit, label) in named.items()
        }


def measure_ceilings(device: torch.device, dtype: torch.dtype, clock: Clock) -> Ceilings:
    """The best of several samples of each."""
    large = device.type == "cuda"
    side = 8192 if large else 1024
    count = 2**28 if large else 2**24
    few = 2**24 if large else 2**16
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    product = torch.empty_like(a)
    source, target = (torch.zeros(count, device=device, dtype=torch.float32) for _ in range(2))
    numbers = torch.randn(few, device=device, dtype=torch.float32)
    powers = torch.empty_like(numbers)
    found = interleave(
        {
            "matmul": Contender(lambda: torch.mm(a, b, out=product)),
            "copy": Contender(lambda: target.copy_(source)),
            "exponential": Contender(lambda: torch.exp(numbers, out=powers)),
        },
        clock,
        EFFORT,
    )
    best = {name: min(timed.samples) for name, timed in found.items()}
    powers_per_s = few / best["exponential"]
    if large:
        powers_per_s = max(powers_per_s, _special_per_s(device))
    return Ceilings(2 * side**3 / best["matmul"], 8 * count / best["copy"], powers_per_s)


def _special_per_s(device: torch.device) -> float:
    """Exponentials that all of a GPU's units take at its highest clock; 0 where its driver does not say that."""
    import pynvml

    try:
        clock: float = 1e6 * pynvml.nvmlDeviceGetMaxClockInfo(handle_of(device), pynvml.NVML_CLOCK_SM)
    except pynvml.NVMLError:
        return 0.0
    units: int = torch.cuda.get_device_properties(device).multi_processor_count
    return SPECIAL_A_CLOCK * units * clock

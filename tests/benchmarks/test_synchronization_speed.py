"""Selective synchronization's speed on this machine: ratios measured in one process, backends in turn.

They inform and never gate. `pytest tests/benchmarks/test_synchronization_speed.py` prints a table a test; a round
times the backend under test, `extra_info` holds what it was compared with and the machine's load.
"""

from __future__ import annotations

import os
import time

import pytest
import torch
from skippable_blocks import skippable_share

from oscbench.ops import selective_synchronization
from oscbench.ops.synchronization.geometry import lock_radius
from oscbench.ops.synchronization.order import order_parameter

WIDTH = 32


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def draw(shape, heads, tokens, share, seed=0):
    """Inputs in which a share of the pairs locks, with the frequencies on a line, in 8 clusters or in a cloud."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*sizes):
        return torch.randn(*sizes, generator=generator)

    theta, v = normal(1, heads, tokens, WIDTH) * 0.5, normal(1, heads, tokens, WIDTH)
    coupling = alpha = torch.full((heads,), 1.3133)
    radius = float(lock_radius(order_parameter(theta), coupling, alpha).mean())
    if shape == "line":
        direction = torch.nn.functional.normalize(normal(1, heads, 1, WIDTH), dim=-1)
        omega = torch.rand(1, heads, tokens, 1, generator=generator) * (2 * radius / share) * direction
    else:
        clusters = 8 if shape == "clusters" else 1
        distances = (normal(20_000, WIDTH) - normal(20_000, WIDTH)).norm(dim=-1)
        spread = radius / float(distances.quantile(share * clusters))
        centres = 2.0 * normal(1, heads, clusters, WIDTH) * (clusters > 1)
        chosen = torch.randint(clusters, (1, heads, tokens, 1), generator=generator).expand(-1, -1, -1, WIDTH)
        omega = centres.gather(2, chosen) + spread * normal(1, heads, tokens, WIDTH)
    return omega, theta, v, coupling, alpha


def call(inputs, backend, causal, backward):
    """Seconds of one call, or of a call with its backward pass."""
    leaves = [x.clone().requires_grad_(backward) for x in inputs]
    start = time.perf_counter()
    out = selective_synchronization(
        *leaves[:3], coupling=leaves[3], alpha=leaves[4], is_causal=causal, backend=backend
    )
    if backward:
        out.backward(inputs[2])
    return time.perf_counter() - start


def compare(benchmark, inputs, slow, fast, *, causal, backward, rounds, **told):
    """Time `fast` in rounds with one call of `slow` before each; the best of both make the ratio."""
    slow_times, fast_times = [], []

    def before():
        slow_times.append(call(inputs, slow, causal, backward))

    benchmark.pedantic(
        lambda: fast_times.append(call(inputs, fast, causal, backward)), setup=before, rounds=rounds,
        warmup_rounds=1,
    )  # fmt: skip
    ratio = min(slow_times) / min(fast_times)
    benchmark.extra_info.update(against=slow, ratio=round(ratio, 2), load=os.getloadavg()[0], **told)
    what = f"{fast} against {slow}, {'forward + backward' if backward else 'forward'}"
    print(
        f"\n{what}{', causal' if causal else ''}: {ratio:.2f} times as fast {told} (load {os.getloadavg()[0]:.1f})"
    )


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "both"])
@pytest.mark.parametrize("causal", [False, True], ids=["all", "causal"])
@pytest.mark.parametrize("tokens", [64, 256, 1024])
def test_blocked_against_the_literal_form(benchmark, tokens, causal, backward):
    """Half the pairs locked, 8 heads of 32; wanted at N = 1024: 5 forward, 3.5 with the backward pass."""
    inputs = draw("cloud", 8, tokens, 0.5)
    compare(benchmark, inputs, "reference", "blocked", causal=causal, backward=backward, rounds=5)


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "both"])
@pytest.mark.parametrize(
    ("shape", "tokens", "heads"), [("line", 4096, 8), ("clusters", 16384, 1), ("cloud", 4096, 8)]
)
def test_sparse_against_dense(benchmark, shape, tokens, heads, backward):
    """5 % locked; wanted: 3 on a line, 1.6 in 8 clusters, never under 1/1.15."""
    inputs = draw(shape, heads, tokens, 0.05)
    share = float(skippable_share(*inputs[:2], coupling=inputs[3], alpha=inputs[4]).mean())
    compare(
        benchmark, inputs, "blocked", "sparse", causal=False, backward=backward, rounds=3,
        shape=shape, skippable=round(share, 3),
    )  # fmt: skip

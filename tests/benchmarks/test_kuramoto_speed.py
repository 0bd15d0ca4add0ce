"""The Kuramoto step beside its literal form and beside plain attention of the same width; issue 3 sets no goal."""

from __future__ import annotations

import pytest
import torch
from interleaved import both, forward, race
from torch.nn.functional import scaled_dot_product_attention

from oscbench import ops

pytestmark = pytest.mark.timed


@pytest.mark.parametrize("against", ["reference", "attention"])
@pytest.mark.parametrize("part", [forward, both])
def test_step(benchmark, capsys, part, against):
    q, k, v = (torch.randn(1, 8, 1024, 64, requires_grad=True) for _ in range(3))
    angle = torch.randn(1, 8, 1024, 32, requires_grad=True)

    def step(backend):
        cos, sin = ops.kuramoto_step(q, k, angle.cos(), angle.sin(), gamma=0.05, backend=backend)
        return cos + sin

    rivals = {
        "reference": lambda: step("reference"),
        "attention": lambda: scaled_dot_product_attention(q, k, v),
    }
    name = f"Kuramoto step {part.__name__} against {against}"
    race(benchmark, capsys, name, part(rivals[against]), part(lambda: step("auto")))

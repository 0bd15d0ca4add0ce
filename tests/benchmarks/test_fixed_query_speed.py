"""Fixed query, d_osc 8, p 1, causal, B 1, H 8, N 2048, d 64: at least 7x forward and 5x with the backward."""

from __future__ import annotations

import pytest
import torch
from interleaved import both, forward, race, show_memory

from oscbench import ops

pytestmark = pytest.mark.timed


@pytest.mark.parametrize(("part", "least"), [(forward, 7.0), (both, 5.0)])
def test_against_the_literal_form(benchmark, capsys, part, least):
    q, k, v = (torch.randn(1, 8, 2048, 64, requires_grad=True) for _ in range(3))
    anchors = torch.nn.functional.normalize(torch.randn(8, 2048, 8), dim=-1).requires_grad_()

    def contender(backend):
        return part(lambda: ops.fixed_query_attention(q, k, v, anchors, is_causal=True, backend=backend))

    name = f"fixed query {part.__name__} (goal {least})"
    race(benchmark, capsys, name, contender("reference"), contender("blocked"), rounds=4)


def test_memory(benchmark, capsys):
    show_memory(benchmark, capsys, "fixed_query_attention", "blocked")

"""Torus, width 2n = 32: at least 50x and 40x the literal form, and at least 0.85 of plain attention's speed."""

from __future__ import annotations

import pytest
import torch
from interleaved import both, forward, race, show_memory
from torch.nn.functional import scaled_dot_product_attention

from oscbench import ops

pytestmark = pytest.mark.timed


def pull(part, tokens, backend, include_self):
    theta = torch.randn(1, 4, tokens, 16, requires_grad=True)
    gate = torch.full((4, 1, 16), 0.5)
    return part(lambda: ops.torus_attention(theta, gate, include_self=include_self, backend=backend))


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize(("part", "least"), [(forward, 50.0), (both, 40.0)])
def test_against_the_literal_form(benchmark, capsys, part, least, include_self):
    literal = pull(part, 512, "reference", include_self)
    name = f"torus {part.__name__} with self {include_self} (goal {least})"
    race(benchmark, capsys, name, literal, pull(part, 512, "auto", include_self), rounds=4)


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("part", [forward, both])
def test_against_plain_attention_of_the_same_width(benchmark, capsys, part, include_self):
    q, k, v = (torch.randn(1, 4, 2048, 32, requires_grad=True) for _ in range(3))
    plain = part(lambda: scaled_dot_product_attention(q, k, v, is_causal=True))
    name = f"torus against SDPA {part.__name__} with self {include_self} (goal 0.85)"
    race(benchmark, capsys, name, plain, pull(part, 2048, "auto", include_self), rounds=30)


def test_memory(benchmark, capsys):
    show_memory(benchmark, capsys, "torus_attention", "blocked")

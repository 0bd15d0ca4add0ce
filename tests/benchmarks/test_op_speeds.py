"""Ops beside their literal forms, and beside plain attention of the same width; selective synchronization has a file of its own."""

from __future__ import annotations

import pytest
import torch
from interleaved import both, forward, race, show_memory
from torch.nn.functional import scaled_dot_product_attention

from oscbench import ops

pytestmark = pytest.mark.timed


@pytest.mark.parametrize("against", ["reference", "attention"])
@pytest.mark.parametrize("part", [forward, both])
def test_kuramoto_step(benchmark, capsys, part, against):
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


def plainly(x, cos, sin):
    first, second = x[..., 0::2], x[..., 1::2]
    return torch.stack((first * cos - second * sin, first * sin + second * cos), dim=-1).flatten(-2)


@pytest.mark.parametrize(("part", "least"), [(forward, 1.2), (both, 1.1)])
def test_kope_against_plain_rotations(benchmark, capsys, part, least):
    q, k, v = (torch.randn(8, 6, 197, 64, requires_grad=True) for _ in range(3))
    angle = torch.randn(8, 6, 197, 32)
    cos, sin = angle.cos().requires_grad_(), angle.sin().requires_grad_()

    def plain():
        turned = [plainly(x, cos, sin) for x in (q, k, v)]
        return plainly(scaled_dot_product_attention(*turned), cos, -sin)

    def ours():
        return ops.kope_attention(q, k, v, cos, sin)

    race(benchmark, capsys, f"KoPE {part.__name__} (goal {least})", part(plain), part(ours), rounds=30)


def pull(part, tokens, backend, include_self):
    theta = torch.randn(1, 4, tokens, 16, requires_grad=True)
    gate = torch.full((4, 1, 16), 0.5)
    return part(lambda: ops.torus_attention(theta, gate, include_self=include_self, backend=backend))


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize(("part", "least"), [(forward, 50.0), (both, 40.0)])
def test_torus_against_the_literal_form(benchmark, capsys, part, least, include_self):
    literal = pull(part, 512, "reference", include_self)
    name = f"torus {part.__name__} with self {include_self} (goal {least})"
    race(benchmark, capsys, name, literal, pull(part, 512, "auto", include_self), rounds=4)


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("part", [forward, both])
def test_torus_against_plain_attention_of_the_same_width(benchmark, capsys, part, include_self):
    q, k, v = (torch.randn(1, 4, 2048, 32, requires_grad=True) for _ in range(3))
    plain = part(lambda: scaled_dot_product_attention(q, k, v, is_causal=True))
    name = f"torus against SDPA {part.__name__} with self {include_self} (goal 0.85)"
    race(benchmark, capsys, name, plain, pull(part, 2048, "auto", include_self), rounds=30)


@pytest.mark.parametrize(("part", "least"), [(forward, 7.0), (both, 5.0)])
def test_fixed_query_against_the_literal_form(benchmark, capsys, part, least):
    """d_osc 8, p 1, causal, B 1, H 8, N 2048, d 64."""
    q, k, v = (torch.randn(1, 8, 2048, 64, requires_grad=True) for _ in range(3))
    anchors = torch.nn.functional.normalize(torch.randn(8, 2048, 8), dim=-1).requires_grad_()

    def contender(backend):
        return part(lambda: ops.fixed_query_attention(q, k, v, anchors, is_causal=True, backend=backend))

    name = f"fixed query {part.__name__} (goal {least})"
    race(benchmark, capsys, name, contender("reference"), contender("blocked"), rounds=4)


@pytest.mark.parametrize("op", ["torus_attention", "fixed_query_attention", "selective_synchronization"])
def test_memory(benchmark, capsys, op):
    show_memory(benchmark, capsys, op)

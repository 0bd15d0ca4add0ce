"""KoPE attention, B 8, H 6, N 197, d 64: at least 1.2x and 1.1x rotations written plainly around SDPA."""

from __future__ import annotations

import pytest
import torch
from interleaved import both, forward, race
from torch.nn.functional import scaled_dot_product_attention

from oscbench import ops

pytestmark = pytest.mark.timed


def plainly(x, cos, sin):
    first, second = x[..., 0::2], x[..., 1::2]
    return torch.stack((first * cos - second * sin, first * sin + second * cos), dim=-1).flatten(-2)


@pytest.mark.parametrize(("part", "least"), [(forward, 1.2), (both, 1.1)])
def test_against_plain_rotations(benchmark, capsys, part, least):
    q, k, v = (torch.randn(8, 6, 197, 64, requires_grad=True) for _ in range(3))
    angle = torch.randn(8, 6, 197, 32)
    cos, sin = angle.cos().requires_grad_(), angle.sin().requires_grad_()

    def plain():
        turned = [plainly(x, cos, sin) for x in (q, k, v)]
        return plainly(scaled_dot_product_attention(*turned), cos, -sin)

    def ours():
        return ops.kope_attention(q, k, v, cos, sin)

    race(benchmark, capsys, f"KoPE {part.__name__} (goal {least})", part(plain), part(ours), rounds=30)

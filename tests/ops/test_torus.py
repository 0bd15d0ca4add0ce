"""Torus attention: a dominant self, silent padding, the tiles behind the fused path, and its symmetry."""

from __future__ import annotations

import draws
import pytest
import torch

from oscbench import ops
from oscbench.ops import torus_attention, triton_tools
from oscbench.ops.torus import sink
from oscbench.ops.torus.heard import heard


def judged(out, expected):
    """The torus rule: ‖out - ref‖ / max(‖ref‖, 1e-4 √count)."""
    out, expected = out.double(), expected.double()
    return float((out - expected).norm() / max(float(expected.norm()), 1e-4 * expected.numel() ** 0.5))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    "backend", [b for b in ops.backends("torus_attention") if b not in ("sdpa", "xformers")]
)
def test_a_dominant_self_costs_no_digits(backend, causal):
    """Own score 64 against a typical 0: what is left of the update is tiny, and still exact."""
    theta = torch.randn(1, 2, 130, 32, generator=draws.generator(0)) * 2
    gate = torch.full((1,), 2.0)
    out = ops.torus_attention(theta, gate, is_causal=causal, backend=backend)
    expected = ops.torus_attention(theta.double(), gate.double(), is_causal=causal, backend="reference")
    assert judged(out, expected) < 1e-5


def test_static_gate_turns_with_all_angles():
    theta = torch.randn(1, 2, 17, 8, dtype=torch.float64)
    gate = torch.rand(2, 1, 8, dtype=torch.float64)
    plain = ops.torus_attention(theta, gate)
    turned = ops.torus_attention(theta + 1.234, gate)
    torch.testing.assert_close(turned, plain)


def test_drift_turns_the_score_only():
    """A full turn an index changes nothing; ready angles are the same as a drift."""
    theta = torch.randn(1, 2, 17, 8, dtype=torch.float64)
    gate = torch.ones(1, dtype=torch.float64)
    plain = ops.torus_attention(theta, gate)
    whole = ops.torus_attention(theta, gate, drift=torch.full((8,), 2 * torch.pi, dtype=torch.float64))
    torch.testing.assert_close(whole, plain)
    drift = torch.rand(8, dtype=torch.float64)
    ready = torch.arange(17)[:, None] * drift
    by_index = ops.torus_attention(theta, gate, drift=drift)
    torch.testing.assert_close(ops.torus_attention(theta, gate, drift=ready), by_index)
    assert not torch.allclose(by_index, plain)


@pytest.mark.parametrize("masked", [0, 1024])
@pytest.mark.parametrize("causal", [False, True])
def test_tiles_agree_with_the_fused_kernel(causal, masked, monkeypatch):
    monkeypatch.setitem(sink._TILE_ELEMENTS, "cpu", 2 * 41 * 16)
    monkeypatch.setattr(sink, "MASKED", masked)
    generator = draws.generator(0)
    q, k, v, grad = (torch.randn(1, 2, 41, 6, generator=generator, dtype=torch.float64) for _ in range(4))
    own = torch.randn(1, 2, 41, generator=generator, dtype=torch.float64)
    out, lse = sink._fused(q, k, v, own, causal)
    tiled_out, tiled_lse = sink._tiled(q, k, v, own, None, causal)
    torch.testing.assert_close(tiled_out, out)
    torch.testing.assert_close(tiled_lse, lse)
    fused = sink._fused_backward(grad, q, k, v, out, lse, causal)
    tiled = sink._tiled_backward(grad, q, k, v, out, lse, None, causal)
    torch.testing.assert_close(tiled, fused)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_opcheck(causal, padded):
    generator = draws.generator(0)
    q, k, v, own = (
        torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        for shape in ((2, 1, 5, 4), (2, 1, 5, 4), (2, 1, 5, 4), (2, 1, 5))
    )
    mask = torch.tensor([[False] * 5, [False, True, False, False, True]]) if padded else None
    torch.library.opcheck(sink.sink_attention, (q, k, v, own, mask, causal))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("include_self", [False, True])
def test_one_function_is_the_same_as_its_parts(causal, include_self, monkeypatch):
    """Every argument with a gradient, gates and drifts of every shape; beyond `MASKED` tokens the parts run."""
    draw = draws.generator(0)
    theta = torch.randn(2, 3, 19, 8, generator=draw, dtype=torch.float64)
    weight = torch.randn(2, 3, 19, 8, generator=draw, dtype=torch.float64)
    for gate_shape, drift_shape in (((1,), (8,)), ((3, 1, 8), (19, 8)), ((2, 3, 19, 8), (3, 19, 8))):
        gate, drift = (
            torch.rand(shape, generator=draw, dtype=torch.float64) for shape in (gate_shape, drift_shape)
        )
        given = (theta, gate, drift, torch.rand(3, 1, 8, generator=draw, dtype=torch.float64))
        results = []
        for masked in (1024, 0):
            monkeypatch.setattr(sink, "MASKED", masked)
            leaves = [x.clone().requires_grad_() for x in given]
            options = {"include_self": include_self, "is_causal": causal, "backend": "blocked"}
            out = ops.torus_attention(*leaves[:2], drift=leaves[2], lag=leaves[3], **options)
            results.append((out, *torch.autograd.grad((out * weight).sum(), leaves)))
        torch.testing.assert_close(*results)


def test_not_causal_without_self_has_no_single_fused_form():
    theta = torch.randn(1, 1, 5, 4)
    with pytest.raises(ValueError, match="without self and not causal"):
        ops.torus_attention(theta, torch.ones(1), include_self=False, is_causal=False, backend="sdpa")


def test_a_compiler_sees_no_break_where_no_kernel_serves():
    theta, gate, values = torch.randn(2, 2, 9, 8), torch.rand(2, 1, 8), torch.randn(2, 2, 9, 8)
    mask = torch.arange(9) >= torch.tensor([[9], [6]])

    def both(theta, gate, values):
        options = {"include_self": False, "is_causal": False, "key_padding_mask": mask}
        return torus_attention(theta, gate, **options) + heard(theta, gate, values, **options)

    compiled = torch.compile(both, fullgraph=True, backend="eager")
    assert torch.equal(compiled(theta, gate, values), both(theta, gate, values))


def test_a_compiler_takes_what_triton_can_do_for_a_constant():
    def served(x):
        return x + 1 if triton_tools.installed() and not triton_tools.interpreting() else x - 1

    x = torch.ones(3)
    assert torch.equal(torch.compile(served, fullgraph=True, backend="eager")(x), served(x))

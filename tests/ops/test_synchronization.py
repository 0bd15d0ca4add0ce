"""Selective synchronization's fast backends: exactness, gradients, and the inputs at which formulas break.

The laws common to all ops are in test_laws.py; here is what belongs to this op alone.
"""

from __future__ import annotations

import draws
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from oscbench.ops import selective_synchronization
from oscbench.ops.synchronization import blocked, dense, plan, sparse
from oscbench.ops.synchronization.order import order_parameter

FAST = ("blocked", "sparse")


@pytest.fixture
def small_blocks(monkeypatch):
    """Sparse plans and several tiles even for a handful of tokens, which are dense otherwise."""
    monkeypatch.setattr(dense, "MOST_PAIRS", 0)
    monkeypatch.setattr(sparse, "LEAST_TOKENS", 1)
    monkeypatch.setattr(sparse, "BLOCK", 8)
    monkeypatch.setattr(sparse, "LEAST_SAVING", -10.0)
    monkeypatch.setattr(plan, "CPU_TILE", 256)


def draw(tokens, width=8, value_width=5, *, batch=1, heads=2, spread=0.16, seed=0, dtype=torch.float64):
    """Inputs of which about half the pairs lock."""
    generator = draws.generator(seed)

    def normal(channels):
        return torch.randn(batch, heads, tokens, channels, generator=generator, dtype=torch.float64)

    coupling, alpha = torch.tensor([1.3, 0.9][:heads]), torch.tensor([1.3, 0.0][:heads])
    found = (normal(width) * spread, normal(width) * 0.5, normal(value_width), coupling, alpha)
    return [x.to(dtype) for x in found]


def call(inputs, backend, **options):
    omega, theta, v, coupling, alpha = inputs
    return selective_synchronization(
        omega, theta, v, coupling=coupling, alpha=alpha, backend=backend, **options
    )


def error(out, expected):
    return float((out.double() - expected.double()).norm() / expected.double().norm())


def gradients(inputs, backend, **options):
    leaves = [x.clone().requires_grad_() for x in inputs]
    out = call(leaves, backend, **options)
    weights = torch.randn(out.shape, generator=draws.generator(1), dtype=torch.float64)
    return torch.autograd.grad((out * weights.to(out.dtype)).sum(), leaves)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("tokens", [1, 7, 50])
def test_equals_reference_with_gradients(small_blocks, backend, tokens, causal):
    inputs = draw(tokens, batch=2)
    mask = torch.rand(2, tokens, generator=draws.generator(2)) < 0.3
    for options in ({}, {"key_padding_mask": mask}, {"edge": 0.2}):
        out = call(inputs, backend, is_causal=causal, **options)
        torch.testing.assert_close(out, call(inputs, "reference", is_causal=causal, **options))
        found = gradients(inputs, backend, is_causal=causal, **options)
        expected = gradients(inputs, "reference", is_causal=causal, **options)
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("most_pairs", [0, dense.MOST_PAIRS])
@pytest.mark.parametrize("causal", [False, True])
def test_large_tiles_and_dense_equal_reference(causal, most_pairs, monkeypatch):
    monkeypatch.setattr(dense, "MOST_PAIRS", most_pairs)
    inputs = draw(300, 16, spread=0.1)
    expected = call(inputs, "reference", is_causal=causal)
    for dtype, bound in ((torch.float32, 2e-5), (torch.bfloat16, 2e-2), (torch.float16, 5e-3)):
        rounded = [x.to(dtype) for x in inputs[:3]] + [x.float() for x in inputs[3:]]
        wide = call([x.double() for x in rounded], "reference", is_causal=causal)
        out = call(rounded, "blocked", is_causal=causal)
        assert out.dtype == dtype
        assert error(out, wide) < bound
    assert error(call(inputs, "blocked", is_causal=causal), expected) < 1e-12


def test_float32_gradients_with_a_bounded_slope():
    inputs = draw(257, 16, spread=0.1)
    expected = gradients(inputs, "reference", edge=0.05)
    for ours, theirs in zip(
        gradients([x.float() for x in inputs], "blocked", edge=0.05), expected, strict=True
    ):
        assert error(ours, theirs) < 1e-4


@pytest.mark.parametrize("causal", [False, True])
def test_gradcheck(small_blocks, causal):
    inputs = draw(5, 2, 1, spread=0.3, seed=3)
    inputs[4] = inputs[4] + 0.5  # away from 0, where α may not be moved down
    inputs = [x.requires_grad_() for x in inputs]
    assert torch.autograd.gradcheck(lambda *x: call(x, "blocked", is_causal=causal), inputs)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("top_k", [1, 4, 100])
def test_top_k(small_blocks, top_k, causal):
    inputs = draw(37)
    mask = torch.zeros(1, 37, dtype=torch.bool)
    mask[:, ::5] = True
    options = {"top_k": top_k, "is_causal": causal, "key_padding_mask": mask, "edge": 0.1}
    torch.testing.assert_close(call(inputs, "blocked", **options), call(inputs, "reference", **options))
    found, expected = gradients(inputs, "blocked", **options), gradients(inputs, "reference", **options)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-8)
    with pytest.raises(ValueError, match="whole rows"):
        call(inputs, "sparse", top_k=top_k)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("causal", [False, True])
def test_nothing_in_reach_leaves_oneself(small_blocks, backend, causal):
    omega, theta, v, coupling, alpha = draw(20)
    alone = v / (1 + 1e-8)
    for inputs in (
        (omega, theta, v, 0.0 * coupling, alpha),
        (
            torch.zeros_like(omega),
            theta,
            v,
            0.0 * coupling,
            alpha,
        ),  # the same frequency does not lock at K = 0
    ):
        torch.testing.assert_close(call(inputs, backend, is_causal=causal), alone)
        assert all(bool(x.isfinite().all()) for x in gradients(inputs, backend, is_causal=causal))
    opposed = torch.zeros_like(theta)
    opposed[..., 1::2, :] = torch.pi  # r is 0 up to rounding
    inputs = (omega, opposed, v, coupling, alpha)
    torch.testing.assert_close(
        call(inputs, backend, is_causal=causal), call(inputs, "reference", is_causal=causal)
    )


@pytest.mark.parametrize("backend", FAST)
def test_all_locked_at_strong_coupling(small_blocks, backend):
    omega, theta, v, coupling, alpha = draw(40)
    out = call((omega, theta, v, 1e12 * coupling, 0.0 * alpha), backend)
    torch.testing.assert_close(out, v.mean(dim=2, keepdim=True).expand_as(v))


@pytest.mark.parametrize("backend", ["reference", *FAST])
def test_an_offset_of_all_frequencies_changes_nothing(small_blocks, backend):
    inputs = draw(150, 16, spread=0.1, dtype=torch.float32)
    # A multiple of a large power of two: both sums are exact, so only the backend's own arithmetic is tested.
    inputs[0] = (inputs[0] * 2**12).round() / 2**12
    expected = call([x.double() for x in inputs], "reference")
    inputs[0] = inputs[0] + 128.0
    for causal in (False, True):
        expected = call([x.double() for x in inputs], "reference", is_causal=causal)
        assert error(call(inputs, backend, is_causal=causal), expected) < 2e-5


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("where", [0, 1, 2])
def test_nan_is_seen(small_blocks, backend, where):
    inputs = draw(40)
    inputs[where][0, 0, 17] = torch.nan
    out = call(inputs, backend)
    assert bool(out[0, 0].isnan().all())
    assert bool(out[0, 1].isfinite().all())
    later = call(inputs, backend, is_causal=True)
    assert bool(later[0, 0, 17:].isnan().all())
    if where != 2:  # a product with zero lets NaN in v through, in the literal form too
        assert bool(later[0, 0, :17].isfinite().all())


@pytest.mark.parametrize("backend", FAST)
def test_causal_is_bitwise(small_blocks, backend):
    inputs = draw(60, dtype=torch.float32)
    before = call(inputs, backend, is_causal=True)
    for x in inputs[:3]:
        x[:, :, 31] += 3.0
    after = call(inputs, backend, is_causal=True)
    if backend == "blocked":  # sorting sums in another order
        assert torch.equal(before[:, :, :31], after[:, :, :31])
    torch.testing.assert_close(before[:, :, :31], after[:, :, :31])
    assert not torch.equal(before[:, :, 31:], after[:, :, 31:])


@pytest.mark.parametrize("backend", FAST)
def test_padding_is_never_heard(small_blocks, backend):
    inputs = draw(30)
    mask = torch.zeros(1, 30, dtype=torch.bool)
    mask[:, 21:] = True
    spoiled = [x.masked_fill(mask[:, None, :, None], torch.nan) for x in inputs[:3]] + inputs[3:]
    cut = [x[:, :, :21] for x in inputs[:3]] + inputs[3:]
    for causal in (False, True):
        out = call(spoiled, backend, key_padding_mask=mask, is_causal=causal)
        torch.testing.assert_close(out[:, :, :21], call(cut, backend, is_causal=causal))
        nobody = call(spoiled, backend, key_padding_mask=torch.ones_like(mask), is_causal=causal)
        assert torch.equal(nobody, torch.zeros_like(nobody))
        found = gradients(spoiled, backend, key_padding_mask=mask, is_causal=causal)
        assert all(bool(x.isfinite().all()) for x in found)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("skip", [False, True])
def test_opcheck(causal, skip):
    omega, theta, v, coupling, alpha = (x.requires_grad_() for x in draw(12))
    order = order_parameter(theta, is_causal=causal).detach().requires_grad_()
    mask = torch.zeros(1, 12, dtype=torch.bool)
    torch.library.opcheck(
        blocked.synchronize, (omega, order, v, coupling, alpha, mask, None, 0.1, causal, skip)
    )


def test_flops_are_those_of_the_closed_form():
    leaves = [x.requires_grad_() for x in draw(24, 8, 6)]
    with FlopCounterMode(display=False) as counter:
        out = call(leaves, "blocked")
    assert counter.get_total_flops() == 2 * 2 * 24 * 24 * (8 + 6)
    with FlopCounterMode(display=False) as counter:
        out.sum().backward()
    assert counter.get_total_flops() == 2 * 2 * 2 * 24 * 24 * (8 + 6)


@pytest.mark.parametrize("edge", [0.0, 0.2])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("tokens", [1, 7, 50])
def test_dense_is_the_same_as_tiles(tokens, causal, edge, monkeypatch):
    results = []
    for most_pairs in (0, dense.MOST_PAIRS):
        monkeypatch.setattr(dense, "MOST_PAIRS", most_pairs)
        inputs = draw(tokens, batch=2)
        out = call(inputs, "blocked", is_causal=causal, edge=edge)
        results.append((out, *gradients(inputs, "blocked", is_causal=causal, edge=edge)))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("causal", [False, True])
def test_order_parameter_has_the_gradient_of_its_equation(causal):
    theta = draw(6)[1].requires_grad_()
    nobody_padded = torch.zeros(1, 6, dtype=torch.bool)
    plain = order_parameter(theta, is_causal=causal)
    torch.testing.assert_close(
        plain, order_parameter(theta, is_causal=causal, key_padding_mask=nobody_padded)
    )
    assert torch.autograd.gradcheck(lambda x: order_parameter(x, is_causal=causal), theta)
    opposite = torch.tensor([0.0, torch.pi]).double()[None, None, :, None].requires_grad_()
    order_parameter(opposite, is_causal=causal).sum().backward()
    assert bool(opposite.grad.isfinite().all())


@settings(derandomize=True, max_examples=25, deadline=None)
@given(
    tokens=st.integers(1, 40),
    width=st.integers(1, 9),
    scale=st.floats(0.0, 3.0),
    coupling=st.floats(0.0, 20.0),
    alpha=st.floats(0.0, 30.0),
    causal=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_law_of_locking(tokens, width, scale, coupling, alpha, causal, seed):
    omega, theta, v, *_ = draw(tokens, width, heads=1, spread=scale, seed=seed)
    inputs = (omega, theta, v, torch.tensor(coupling).double(), torch.tensor(alpha).double())
    expected = call(inputs, "reference", is_causal=causal)
    torch.testing.assert_close(call(inputs, "blocked", is_causal=causal), expected)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # importing Inductor raises it
def test_flex_forward_and_its_reasons():
    """One compilation serves all: masks, a causal pass and the extra sender would each cost seconds more."""
    omega, theta, v, coupling, alpha = draw(40, 16, 16, spread=0.1, dtype=torch.float32)
    mask = torch.zeros(1, 40, dtype=torch.bool)
    mask[:, 33:] = True
    inputs = (omega, theta, v, coupling, alpha)
    expected = call([x.double() for x in inputs], "reference", is_causal=True, key_padding_mask=mask)
    with pytest.raises(ValueError, match="forward only on the CPU"):
        call(inputs, "flex")
    with torch.no_grad():
        out = call(inputs, "flex", is_causal=True, key_padding_mask=mask)
        with pytest.raises(ValueError, match="power of two"):
            call((omega[..., :12], theta, v, coupling, alpha), "flex")
        with pytest.raises(ValueError, match="float64"):
            call([x.double() for x in inputs], "flex")
    assert error(out, expected) < 2e-5

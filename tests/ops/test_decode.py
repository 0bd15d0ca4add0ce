"""One-token forms give the last row of the literal square op, for every op, variant and length; the cache keeps what came."""

from __future__ import annotations

import pytest
import torch
from ops_cases import CASES, Size

from oscbench import ops
from oscbench.ops import decode

LENGTHS = (1, 2, 19, 67)


def last(x):
    return x[..., -1:, :]


def softmax(inputs, scale=None):
    return decode.softmax_attention(last(inputs["q"]), inputs["k"], inputs["v"], scale=scale)


def kope(inputs, rotate_values=True):
    cos, sin = inputs["cos"], inputs["sin"]
    k = ops.rotate(inputs["k"], cos, sin)
    v = ops.rotate(inputs["v"], cos, sin) if rotate_values else inputs["v"]
    return decode.kope_attention(last(inputs["q"]), last(cos), last(sin), k, v, rotate_values=rotate_values)


def kuramoto(inputs, gamma):
    cos, sin = inputs["cos"], inputs["sin"]
    phases = torch.cat((cos, sin), dim=-1)
    new = decode.kuramoto_step(last(inputs["q"]), last(cos), last(sin), inputs["k"], phases, gamma=gamma)
    return torch.cat(new, dim=-1)


def torus(inputs, include_self=True):
    theta, gate, drift = inputs["theta"], inputs["gate"], inputs.get("drift")
    if drift is not None:
        tokens = theta.shape[-2]
        drift = (tokens - 1 - torch.arange(tokens, dtype=torch.float64))[:, None] * drift.double()
    gate = last(gate) if gate.shape == theta.shape else gate
    return decode.torus_attention(
        last(theta), gate, theta, drift=drift, lag=inputs.get("lag"), include_self=include_self
    )


def synchronization(inputs, top_k=None, edge=0.0):
    del edge  # of the gradient
    omega, sums = inputs["omega"], decode.order_sums(inputs["theta"])
    strengths = {"coupling": inputs["coupling"], "alpha": inputs["alpha"], "top_k": top_k}
    return decode.selective_synchronization(last(omega), sums, omega, inputs["v"], **strengths)


def fixed_query(inputs, coupling="softplus", exponent=1, mask_readout=True):
    del mask_readout  # there is no padding
    v, anchors = inputs["v"], inputs["anchors"]
    h = decode.pull(last(inputs["q"]), inputs["k"], anchors, coupling=coupling)
    return decode.read_out(decode.fixed_point(h), v, anchors, exponent=exponent)


ONE_TOKEN = {
    "softmax_attention": softmax,
    "kope_attention": kope,
    "kuramoto_step": kuramoto,
    "torus_attention": torus,
    "selective_synchronization": synchronization,
    "fixed_query_attention": fixed_query,
}
everywhere = pytest.mark.parametrize(
    ("op", "variant"),
    [pytest.param(op, v, id=f"{op}-{v.name}") for op in ONE_TOKEN for v in CASES[op].variants],
)


def square(case, inputs, options):
    wide = {name: x.double() for name, x in inputs.items()}
    return last(case.run(wide, "reference", is_causal=True, **options))


def test_every_op_has_a_one_token_form():
    assert set(ONE_TOKEN) == set(ops.op_names())


@everywhere
@pytest.mark.parametrize("sharp", [1.0, 20.0])
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-9), (torch.float32, 1e-4)], ids=str)
def test_it_is_the_last_row_of_the_square_op(op, variant, dtype, limit, sharp):
    case = CASES[op]
    for tokens in LENGTHS:
        inputs = case.inputs(Size(tokens=tokens), variant, dtype, seed=tokens, sharp=sharp)
        out = ONE_TOKEN[op](inputs, **variant.options)
        assert out.dtype == dtype
        assert case.error(out, square(case, inputs, variant.options)) < limit, f"{tokens} senders"


@everywhere
def test_half_precision_is_summed_in_more(op, variant):
    case = CASES[op]
    inputs = case.inputs(Size(tokens=67), variant, torch.bfloat16, seed=9)
    quiet = {"validate": False} if op == "fixed_query_attention" else {}
    out = ONE_TOKEN[op](inputs, **variant.options)
    assert out.dtype == torch.bfloat16
    assert case.error(out, square(case, inputs, variant.options | quiet)) < 2e-2


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-9), (torch.float32, 1e-4)], ids=str)
def test_sums_read_out_as_all_the_values_do(dtype, limit):
    case = CASES["fixed_query_attention"]
    inputs = case.inputs(Size(tokens=300), case.variants[0], dtype)
    v, anchors = inputs["v"], inputs["anchors"]
    state = decode.fixed_point(decode.pull(last(inputs["q"]), inputs["k"], anchors))
    parts = [decode.anchor_sums(v[:, :, i : i + 7], anchors[:, i : i + 7]) for i in range(0, 300, 7)]
    out = decode.linear_read_out(state, sum(parts))
    assert case.error(out, square(case, inputs, {})) < limit
    assert parts[0].shape == (*v.shape[:2], anchors.shape[-1] + 1, v.shape[-1] + 1)


def test_torus_keeps_its_digits_where_its_own_score_dominates():
    case = CASES["torus_attention"]
    inputs = case.inputs(Size(tokens=19, width=32), case.variants[0], torch.float32)
    inputs["gate"] = torch.full_like(inputs["gate"], 2.0)
    assert case.error(torus(inputs), square(case, inputs, {})) < 1e-5


def test_phases_that_cancel_leave_only_oneself():
    """r = 0 locks nobody but the token itself."""
    omega, v = torch.randn(1, 2, 4, 8), torch.randn(1, 2, 4, 8)
    theta = torch.tensor([0.0, torch.pi, 0.0, torch.pi]).double()[:, None].expand(1, 2, 4, 8)
    cos, sin, count = decode.order_sums(theta)
    nothing = (torch.zeros_like(cos).float(), torch.zeros_like(sin).float(), count.float())
    assert cos.abs().max() < 1e-12
    one = torch.ones(())
    out = decode.selective_synchronization(last(omega), nothing, omega, v, coupling=one, alpha=one)
    torch.testing.assert_close(out, last(v), rtol=0, atol=1e-6)


def test_without_coupling_equal_frequencies_do_not_lock_either():
    omega, theta, v = torch.ones(1, 1, 2, 8), torch.zeros(1, 1, 2, 8), torch.tensor([1.0, 3.0])[:, None]
    nothing, one = torch.zeros(1), torch.ones(1)
    given = omega, theta, v.expand(1, 1, 2, 1)
    square_op = ops.selective_synchronization(*given, coupling=nothing, alpha=one, is_causal=True)
    sums = decode.order_sums(theta)
    out = decode.selective_synchronization(last(omega), sums, omega, given[2], coupling=nothing, alpha=one)
    assert out.item() == square_op[0, 0, -1, 0].item() == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda x: decode.softmax_attention(x, x, x), r"decode.softmax_attention: q must be one token"),
        (lambda x: decode.softmax_attention(last(x), x, x[:, :, 1:]), "batch, heads and tokens must agree"),
        (lambda x: decode.softmax_attention(last(x).double(), x, x), "float64 but k is torch.float32"),
        (lambda x: decode.torus_attention(last(x), x, x[:1]), "decode.torus_attention: theta must be one"),
        (lambda x: decode.pull(last(x), x, torch.ones(2, 4, 3)), "one anchor a sender"),
    ],
)
def test_what_does_not_fit_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call(torch.randn(2, 2, 5, 8))


def test_cache_keeps_rows_and_sums_in_place():
    cache, rows = decode.Cache(6), torch.randn(2, 6, 3)
    (kept,) = cache.extend("rows", rows[:, :4])
    (total,) = cache.accumulate("sums", rows[:, :4].sum(1))
    cache.finish(4)
    place = kept.data_ptr()
    twin = cache.copy()
    for token in (4, 5):
        (kept,) = cache.extend("rows", rows[:, token : token + 1])
        assert torch.equal(cache.kept("rows", num_new=1)[0], kept)
        (total,) = cache.accumulate("sums", rows[:, token])
        cache.finish(1)
    assert kept.data_ptr() == place
    assert torch.equal(kept, rows)
    torch.testing.assert_close(total, rows.sum(1))
    assert cache.num_bytes() == (2 * 6 * 3 + 2 * 3) * 4
    with pytest.raises(ValueError, match="room for 6 tokens, got 7"):
        cache.extend("rows", rows[:, :1])
    assert twin.num_tokens == 4
    torch.testing.assert_close(twin.accumulate("sums", rows[:, 4])[0], rows[:, :5].sum(1))


def test_cache_notices_a_layer_that_forgets():
    cache, row = decode.Cache(3), torch.zeros(1, 1, 1)
    cache.extend("first", row)
    with pytest.raises(AssertionError, match="first was kept twice"):
        cache.extend("first", row)
    cache.finish(1)
    with pytest.raises(AssertionError, match="second: earlier tokens were not kept"):
        cache.extend("second", row)
    with pytest.raises(AssertionError, match=r"not kept in this pass: \['first'\]"):
        cache.finish(1)

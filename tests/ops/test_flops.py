"""The closed forms agree with what PyTorch's counter sees each op's fast backend do."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from oscbench import ops
from oscbench.ops.flops import attention_flops, flop_counter

B, H, N, D = 2, 3, 24, 16


def _softmax(causal, leaves):
    return ops.softmax_attention(*leaves[:3], is_causal=causal)


def _kope(causal, leaves):
    angle = torch.zeros(N, D // 2)
    return ops.kope_attention(*leaves[:3], angle.cos(), angle.sin(), is_causal=causal)


def _kuramoto(causal, leaves):
    q, k, v = leaves
    return sum(ops.kuramoto_step(q, k, v[..., ::2].cos(), v[..., ::2].sin(), gamma=0.1, is_causal=causal))


def _torus(causal, leaves):
    return ops.torus_attention(leaves[0], torch.ones(1), is_causal=causal)


CALLS = {
    "softmax_attention": _softmax,
    "kope_attention": _kope,
    "kuramoto_step": _kuramoto,
    "torus_attention": _torus,
}


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("name", CALLS)
def test_counter_sees_the_closed_form(name, causal):
    leaves = [torch.randn(B, H, N, D, requires_grad=True) for _ in range(3)]
    expected = attention_flops(name, B, H, N, D)
    with flop_counter() as counter:
        out = CALLS[name](causal, leaves)
    assert counter.get_total_flops() == expected
    with flop_counter() as counter:
        out.sum().backward()
    assert counter.get_total_flops() == 2 * expected


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("exponent", "tokens"), [(1, 24), (2, 24), (2, 300), (4, 24), (4, 300)])
def test_counter_sees_fixed_query_attention(exponent, tokens, causal):
    q, k, v = (torch.randn(B, H, tokens, D, requires_grad=True) for _ in range(3))
    anchors = torch.nn.functional.normalize(torch.randn(H, tokens, 3), dim=-1).requires_grad_()
    expected = attention_flops(
        "fixed_query_attention", B, H, tokens, D, oscillator_width=3, exponent=exponent
    )
    with flop_counter() as counter:
        out = ops.fixed_query_attention(q, k, v, anchors, exponent=exponent, is_causal=causal)
    assert counter.get_total_flops() == expected
    with flop_counter() as counter:
        out.sum().backward()
    assert counter.get_total_flops() == 2 * expected


def test_a_plain_counter_sees_attention_on_the_cpu():
    q = torch.randn(B, H, N, D)
    with FlopCounterMode(display=False) as counter:
        ops.softmax_attention(q, q, q)
    assert counter.get_total_flops() == attention_flops("softmax_attention", B, H, N, D)


def test_closed_forms_as_written_down():
    pairs = B * H * N * N
    assert attention_flops("softmax_attention", B, H, N, D) == 4 * pairs * D
    assert attention_flops("softmax_attention", B, H, N, D, value_width=8) == 2 * pairs * (D + 8)
    assert attention_flops("selective_synchronization", B, H, N, D) == 4 * pairs * D
    assert attention_flops("torus_attention", B, H, N, D) == 8 * pairs * D
    fixed = attention_flops("fixed_query_attention", B, H, N, D, oscillator_width=8)
    assert fixed == 2 * pairs * (D + 8) + 4 * B * H * N * 9 * (D + 1)


def test_sharp_read_out_takes_the_cheaper_exact_algorithm():
    def read_out(tokens, exponent):
        total = attention_flops(
            "fixed_query_attention", 1, 1, tokens, D, oscillator_width=8, exponent=exponent
        )
        return total - 2 * tokens**2 * (D + 8)

    assert read_out(16, 4) == 2 * 16**2 * (8 + D + 1)
    assert read_out(65536, 4) == 4 * 65536 * 495 * (D + 1)
    assert read_out(65536, 2) == 4 * 65536 * 45 * (D + 1)


def test_a_clamped_read_out_has_no_linear_form():
    def counted(exponent, **more):
        sizes = {"oscillator_width": 8, "exponent": exponent, **more}
        return ops.op_of("fixed_query_attention").operations(1, 1, 65536, D, **sizes)

    for exponent in (1, 2, 4):
        literal = counted(exponent, clamped=True).multiply_adds - 65536**2 * (D + 8)
        assert literal == 65536**2 * (D + 8), "anchors and values, the row's sum being a reduction"
    assert counted(1).elementwise == counted(2).elementwise == 0, "polynomials take no comparison a pair"
    pairs = {p: counted(p, clamped=True).elementwise for p in (1, 2, 4)}
    assert pairs == {1: 65536**2, 2: 2 * 65536**2, 4: 3 * 65536**2}


def test_unturned_angles_cost_no_turning():
    def elementwise(**sizes):
        return ops.op_of("torus_attention").operations(1, H, N, D, **sizes).elementwise

    assert elementwise() == 12 * H * N * D
    assert elementwise(drift=False) == elementwise(lag=False) == 8 * H * N * D
    assert elementwise(drift=False, lag=False) == 4 * H * N * D


def test_unknown_op_and_missing_width_are_named():
    with pytest.raises(ValueError, match='"rotate"'):
        attention_flops("rotate", B, H, N, D)
    with pytest.raises(ValueError, match="oscillator_width"):
        attention_flops("fixed_query_attention", B, H, N, D)

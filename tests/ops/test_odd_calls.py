"""What callers may hand over and seldom do: other layouts, second derivatives, odd scales, autocast around one token, fake tensors."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from oscbench import ops
from oscbench.ops import decode
from oscbench.ops.fixed_query import fixed_query_attention
from oscbench.ops.norms import scaled_rms_norm
from oscbench.ops.phases import circle
from oscbench.ops.synchronization.order import order_parameter

SHAPE = (2, 2, 9, 4)


def numbers(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def across(x):
    """The same values, a head's tokens side by side in place of its channels."""
    return x.mT.contiguous().mT


def one_number(x):
    """One channel read for all of them."""
    return x[..., :1].expand_as(x)


def angles():
    turned = numbers(*SHAPE[:3], SHAPE[3] // 2, seed=9)
    return turned.cos(), turned.sin()


def by_anchors(q, k, v, **options):
    anchors = torch.nn.functional.normalize(numbers(SHAPE[1], SHAPE[2], 3, seed=5), dim=-1)
    return fixed_query_attention(q, k, v, anchors, **options)


CALLS = {
    "softmax": ops.softmax_attention,
    "rope": lambda q, k, v, **o: ops.kope_attention(q, k, v, *angles(), rotate_values=False, **o),
    "kope": lambda q, k, v, **o: ops.kope_attention(q, k, v, *angles(), **o),
    "kuramoto": lambda q, k, v, **o: torch.cat(ops.kuramoto_step(q, k, *angles(), gamma=0.5, **o), -1) + v,
    "torus": lambda q, k, v, **o: ops.torus_attention(q, torch.ones(SHAPE[3], dtype=q.dtype), **o) + k + v,
    "ssa": lambda q, k, v, **o: ops.selective_synchronization(
        q,
        k,
        v,
        coupling=torch.full((2,), 3.0, dtype=q.dtype),
        alpha=torch.full((2,), 0.5, dtype=q.dtype),
        **o,
    ),
    "fixed query": by_anchors,
}


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("laid", [across, one_number])
@pytest.mark.parametrize("name", CALLS)
def test_any_layout_gives_what_the_equations_give(name, laid, is_causal):
    call = partial(CALLS[name], is_causal=is_causal)
    given = [numbers(*SHAPE, seed=i) for i in range(3)]
    grads = {}
    for backend in ("auto", "reference"):
        leaves = [x.clone().requires_grad_() for x in given]
        out = call(*map(laid, leaves), backend=backend)
        out.square().sum().backward()
        grads[backend] = [out.detach(), *(x.grad for x in leaves)]
    for one, other in zip(grads["auto"], grads["reference"], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def penalty(call, x):
    """The gradient of a gradient's square, where other paths than the op lead to the input too."""
    (first,) = torch.autograd.grad(call(x).sum() + 0.01 * (x**3).sum(), x, create_graph=True)
    first.square().sum().backward()
    return x.grad


def product(call, x):
    """The Hessian of a loss that is linear in nothing, times a direction."""
    (first,) = torch.autograd.grad(call(x).square().sum() + 0.01 * (x**3).sum(), x, create_graph=True)
    return torch.autograd.grad((first * numbers(*x.shape, seed=3)).sum(), x)[0]


@pytest.mark.parametrize("asked", [penalty, product])
@pytest.mark.parametrize("name", CALLS)
def test_a_second_derivative_is_right_or_refused(name, asked):
    def call(x, backend):
        return CALLS[name](x, 0.5 * x, -x, backend=backend)

    x = numbers(*SHAPE)
    right = asked(partial(call, backend="reference"), x.clone().requires_grad_())
    step = 1e-6 * numbers(*SHAPE, seed=3)
    ends = [x + step, x - step]
    if asked is product and name != "ssa":  # whose slope has a floor of its own at the edge of locking
        slopes = []
        for end in ends:
            leaf = end.clone().requires_grad_()
            (call(leaf, "reference").square().sum() + 0.01 * (leaf**3).sum()).backward()
            slopes.append(leaf.grad)
        torch.testing.assert_close(right, (slopes[0] - slopes[1]) / 2e-6, rtol=1e-4, atol=1e-5)
    with pytest.raises(RuntimeError, match="derivative"):
        asked(partial(call, backend="auto"), x.clone().requires_grad_())


@pytest.mark.parametrize(
    ("function", "shapes"),
    [
        (
            lambda cos, sin, mix: torch.cat(ops.mix_phases(cos, sin, mix), -1),
            [(1, 2, 3, 2), (1, 2, 3, 2), (2, 2, 2)],
        ),
        (circle, [(2, 3)]),
        (order_parameter, [SHAPE]),
        (lambda theta: order_parameter(theta, is_causal=True), [SHAPE]),
    ],
    ids=["mix_phases", "circle", "order", "causal order"],
)
def test_what_no_backend_can_be_chosen_for_has_second_derivatives(function, shapes):
    inputs = tuple(numbers(*shape, seed=i).requires_grad_() for i, shape in enumerate(shapes))
    assert torch.autograd.gradgradcheck(function, inputs)


def test_an_input_that_depends_on_another_counts_once():
    angle, mix = numbers(1, 2, 3, 2).requires_grad_(), numbers(2, 2, 2, seed=1)

    def found(**options):
        mixed = torch.cat(ops.mix_phases(angle.cos(), (1 - angle.cos() ** 2) ** 0.5, mix), -1)
        return torch.autograd.grad((mixed * numbers(*mixed.shape, seed=2)).sum(), angle, **options)[0]

    torch.testing.assert_close(found(create_graph=True), found())


def test_a_norm_refuses_what_it_does_not_know():
    x = numbers(2, 4).requires_grad_()
    (first,) = torch.autograd.grad(scaled_rms_norm(x).sum(), x)  # the first is there
    assert first.shape == x.shape
    with pytest.raises(RuntimeError, match="written for first derivatives alone"):
        torch.autograd.grad(scaled_rms_norm(x).sum(), x, create_graph=True)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("scale", [0.0, -1.0])
def test_a_scale_that_does_not_rise_is_one_like_any_other(scale, padded):
    q, k, v = (numbers(*SHAPE, seed=i) for i in range(3))
    mask = torch.zeros(SHAPE[0], SHAPE[2], dtype=torch.bool)
    mask[0, -2:] = padded
    options = {"scale": scale, "is_causal": True, "key_padding_mask": mask if padded else None}
    found = ops.softmax_attention(q, k, v, **options)
    right = ops.softmax_attention(q, k, v, backend="reference", **options)
    real = ~mask[:, None, :, None].expand(SHAPE)
    torch.testing.assert_close(found[real], right[real])


def test_one_token_under_autocast_is_as_exact_as_all_of_them():
    q, k, v = (numbers(*SHAPE, seed=i).float() for i in range(3))
    whole = ops.softmax_attention(q, k, v, is_causal=True)[..., -1:, :]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        last = decode.softmax_attention(q[..., -1:, :], k, v)
    assert last.dtype == torch.float32
    torch.testing.assert_close(last, whole)


def test_fake_tensors_leave_real_calls_alone():
    with FakeTensorMode():
        made = ops.torus_attention(torch.randn(1, 1, 11, 4), torch.ones(4))
    assert made.shape == (1, 1, 11, 4)
    assert torch.isfinite(ops.torus_attention(torch.randn(1, 1, 11, 4), torch.ones(4))).all()


def test_an_odd_offset_is_no_mistake():
    q, k, v = (numbers(*SHAPE, seed=i) for i in range(3))
    shifted = torch.cat((q.new_zeros(1), q.flatten()))[1:].view_as(q)
    assert torch.equal(ops.kope_attention(shifted, k, v, *angles()), ops.kope_attention(q, k, v, *angles()))


def test_a_rotation_does_not_make_more_of_what_it_is_given():
    cos = torch.ones(5, 3, 2)
    with pytest.raises(ValueError, match=r"x is \(3, 4\).*spreads over \(3, 2\); got cos \(5, 3, 2\)"):
        ops.rotate(torch.randn(3, 4), cos, torch.zeros_like(cos))

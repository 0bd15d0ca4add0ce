"""Rotation, mixing, wrapping and the angles of positions."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oscbench.ops import mix_phases, rotate
from oscbench.ops.norms import scaled_rms_norm
from oscbench.ops.phases import (
    add_wrapped,
    circle,
    normalise_phases,
    rotary_angles,
    rotary_frequencies,
    wrap,
)


def written_out(x, angle):
    out = torch.empty_like(x)
    out[..., 0::2] = x[..., 0::2] * angle.cos() - x[..., 1::2] * angle.sin()
    out[..., 1::2] = x[..., 0::2] * angle.sin() + x[..., 1::2] * angle.cos()
    return out


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_rotate_turns_pairs(dtype):
    x, angle = torch.randn(2, 3, 5, 8), torch.randn(5, 4)
    turned = rotate(x.to(dtype), angle.cos(), angle.sin())
    assert turned.dtype == dtype
    tolerance = 1e-6 if dtype in (torch.float64, torch.float32) else 2e-2
    torch.testing.assert_close(turned.float(), written_out(x, angle), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    "arrange",
    [
        lambda x: x,
        lambda x: x.transpose(1, 2).contiguous().transpose(1, 2),
        lambda x: torch.nn.functional.pad(x, (1, 0))[..., 1:],
        lambda x: x.repeat_interleave(2, dim=-1)[..., ::2],
        lambda x: x[:, :1].expand(-1, 3, -1, -1),
    ],
)
def test_rotate_takes_any_memory_layout(arrange):
    x, angle = arrange(torch.randn(2, 3, 5, 8)), torch.randn(5, 4)
    torch.testing.assert_close(rotate(x, angle.cos(), angle.sin()), written_out(x, angle))


def test_rotate_back_undoes_and_gradients_are_right():
    x = torch.randn(2, 5, 8, dtype=torch.float64, requires_grad=True)
    angle = torch.randn(2, 5, 4, dtype=torch.float64)
    cos, sin = angle.cos().requires_grad_(), angle.sin().requires_grad_()
    torch.testing.assert_close(rotate(rotate(x, cos, sin), cos, -sin), x)
    assert torch.autograd.gradcheck(rotate, (x, cos, sin))


def test_rotate_names_what_does_not_fit():
    with pytest.raises(ValueError, match=r"even.*\(2, 7\)"):
        rotate(torch.zeros(2, 7), torch.zeros(2, 3), torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"end in 4.*\(2, 3\)"):
        rotate(torch.zeros(2, 8), torch.zeros(2, 3), torch.zeros(2, 3))


def test_mixing_keeps_phases_unit_and_the_identity_keeps_them():
    angle = torch.randn(2, 3, 5, 4, dtype=torch.float64)
    same = torch.eye(4, dtype=torch.float64).expand(3, 4, 4)
    cos, sin = mix_phases(angle.cos(), angle.sin(), same)
    torch.testing.assert_close((cos, sin), (angle.cos(), angle.sin()))
    cos, sin = mix_phases(angle.cos(), angle.sin(), torch.randn(3, 4, 4, dtype=torch.float64))
    torch.testing.assert_close(cos**2 + sin**2, torch.ones_like(cos))


def test_mixing_by_the_equation():
    angle, mix = torch.randn(1, 2, 3, 4, dtype=torch.float64), torch.randn(2, 4, 4, dtype=torch.float64)
    cos, sin = mix_phases(angle.cos(), angle.sin(), mix)
    c = torch.einsum("bhni,hij->bhnj", angle.cos(), mix)
    s = torch.einsum("bhni,hij->bhnj", angle.sin(), mix)
    length = torch.sqrt((c * c + s * s).clamp_min(1e-5))
    torch.testing.assert_close((cos, sin), (c / length, s / length))


def test_mixing_names_what_does_not_fit():
    phases = torch.zeros(2, 3, 5, 4)
    with pytest.raises(ValueError, match=r"\(3, 4, 4\).*\(3, 5, 5\)"):
        mix_phases(phases, phases, torch.zeros(3, 5, 5))
    with pytest.raises(ValueError, match=r"\(2, 3, 5, 4\).*\(2, 3, 6, 4\)"):
        mix_phases(phases, torch.zeros(2, 3, 6, 4), torch.zeros(3, 4, 4))


def test_nothing_has_no_phase_and_no_nan():
    zero = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    cos, sin = normalise_phases(zero, zero)
    (cos + sin).sum().backward()
    assert cos.tolist() == [0.0, 0.0]
    assert zero.grad.isfinite().all()


@settings(deadline=None, max_examples=60)
@given(st.floats(-1e4, 1e4))
def test_wrap_is_the_same_angle_in_the_half_open_circle(angle):
    wrapped = wrap(torch.tensor(angle, dtype=torch.float64))
    assert -math.pi < wrapped <= math.pi + 1e-12
    assert math.isclose(math.cos(wrapped), math.cos(angle), abs_tol=1e-9)
    assert math.isclose(math.sin(wrapped), math.sin(angle), abs_tol=1e-9)


def test_wrap_leaves_what_is_there_alone():
    inside = torch.linspace(-3.14, 3.14, 101)
    assert torch.equal(wrap(inside), inside)


def test_rotary_angles_of_a_sequence_and_of_an_image():
    line = rotary_angles(torch.arange(6)[:, None], torch.zeros(6, dtype=torch.bool), 8, 10_000.0)
    assert line.dtype == torch.float64
    assert torch.allclose(line[5], 5 * 10_000.0 ** (-torch.arange(4, dtype=torch.float64) / 4))
    grid = torch.tensor([[0, 0], [2, 3]])
    special = torch.tensor([True, False])
    image = rotary_angles(grid, special, 8, 20.0)
    frequencies = rotary_frequencies(2, 20.0)
    assert image[0].eq(0).all()
    assert torch.allclose(image[1], torch.cat((2 * frequencies, 3 * frequencies)))
    with pytest.raises(ValueError, match="divisible by 4"):
        rotary_angles(grid, special, 6, 20.0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_circle_is_cosine_and_sine(dtype):
    theta = torch.randn(2, 5, 6).transpose(0, 1).to(dtype)
    assert torch.equal(circle(theta), torch.cat((theta.cos(), theta.sin()), dim=-1))
    assert torch.autograd.gradcheck(circle, theta.double().requires_grad_())


def test_adding_to_angles_wraps_and_passes_gradients():
    theta, update = 3 * torch.randn(50).double(), 9 * torch.randn(50).double()
    torch.testing.assert_close(add_wrapped(theta, update), wrap(theta + update), rtol=0, atol=1e-14)
    inside = torch.linspace(-3.14, 3.14, 101)
    assert torch.equal(add_wrapped(inside, torch.zeros(101)), inside)
    leaves = (theta.requires_grad_(), update.requires_grad_())
    assert torch.autograd.gradcheck(lambda *x: add_wrapped(*x).sin(), leaves)


def test_mixing_has_the_gradients_of_its_equation():
    """Each of the three by itself too; where a phase has next to no length, the norm is the constant floor."""
    angle, mix = torch.randn(2, 2, 3, 4, dtype=torch.float64), torch.randn(2, 4, 4, dtype=torch.float64)
    cos, sin = angle.cos(), angle.sin()
    cos[0, 0, 0], sin[0, 0, 0] = 1e-4, 0.0
    for wanted in ((True, True, True), (False, False, True), (True, False, False)):
        leaves = [x.clone().requires_grad_(want) for x, want in zip((cos, sin, mix), wanted, strict=True)]
        assert torch.autograd.gradcheck(mix_phases, leaves)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("scaled", [True, False])
def test_is_rms_norm_times_scale(dtype, scaled):
    x, scale = torch.randn(2, 5, 3, 8).transpose(1, 2).to(dtype), torch.randn(3, 1, 8).to(dtype)
    expected = torch.nn.functional.rms_norm(x, (8,)) * (scale if scaled else 1)
    found = scaled_rms_norm(x, scale if scaled else None)
    assert found.dtype == dtype
    torch.testing.assert_close(found, expected)


def test_gradients():
    x = torch.randn(2, 3, 5, 8, dtype=torch.float64, requires_grad=True)
    scale = torch.randn(3, 1, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(scaled_rms_norm, (x, scale))
    assert torch.autograd.gradcheck(scaled_rms_norm, (x,))

"""Phases as unit pairs (cos, sin): rotation, mixing, normalisation, and the angles that positions give."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from oscbench.ops import checks
from oscbench.ops.derivatives import twice
from oscbench.ops.operations import Operations, linear_operations
from oscbench.ops.precision import as_given

PHASE_EPSILON = 1e-5


def at_least_float32(x: Tensor) -> Tensor:
    """x in float32, or in float64 where it already is."""
    return x if x.dtype == torch.float64 else x.float()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each channel pair (x[2i], x[2i+1]) by the angle of pair i.

    Source: rotary embedding, RoFormer (arXiv 2104.09864) eq. 34; KoPE (arXiv 2604.07904) turns values as
        well.

    Args:
        x: (..., d), d even.
        cos: cosines of the angles, broadcastable to (..., d/2).
        sin: sines of the angles, same shape. `rotate(x, cos, -sin)` turns back.

    Returns:
        Like x, in x's dtype.

    Raises:
        ValueError: d is odd, or cos does not hold d/2 pairs.
    """
    if x.shape[-1] % 2:
        raise ValueError(
            f"rotate: channels are turned in pairs, so d must be even, got x {checks.shape_of(x)}"
        )
    pairs = (*x.shape[:-1], x.shape[-1] // 2)
    if cos.shape != sin.shape or cos.shape[-1] != pairs[-1] or not checks.spreads(cos.shape, pairs):
        raise ValueError(
            f"rotate: x is {checks.shape_of(x)}, so cos and sin must end in {pairs[-1]}, of one shape that spreads over {pairs}; "
            f"got cos {checks.shape_of(cos)} and sin {checks.shape_of(sin)}"
        )
    return Turn(cos, sin)(x)


class Turn:
    """The rotation of channel pairs by given angles, made ready once for several tensors and for turning back.

    In eager mode on the CPU a rotation is one complex product, which reads and writes each pair once: three
    to four times as fast there as four real products with strided reads. Compilers fuse the real form
    themselves.

    Args:
        cos: cosines of the angles, (..., pairs).
        sin: sines of the angles, same shape.
    """

    def __init__(self, cos: Tensor, sin: Tensor) -> None:
        self._cos, self._sin = at_least_float32(cos), at_least_float32(sin)
        self._complex = cos.device.type == "cpu" and not torch.compiler.is_compiling()
        self._angle = torch.complex(self._cos, self._sin) if self._complex else None

    def __call__(self, x: Tensor) -> Tensor:
        """The pairs of x (..., 2·pairs) turned forward, in x's dtype."""
        return self._turn(x, self._angle, self._sin)

    def back(self, x: Tensor) -> Tensor:
        """The pairs of x (..., 2·pairs) turned back, in x's dtype."""
        angle = self._angle
        return self._turn(x, None if angle is None else angle.conj().resolve_conj(), -self._sin)

    def _turn(self, x: Tensor, angle: Tensor | None, sin: Tensor) -> Tensor:
        wide = torch.promote_types(at_least_float32(x).dtype, self._cos.dtype)
        if angle is not None:
            pairs = pairs_as_complex(x.to(wide))
            return torch.view_as_real(pairs * angle).flatten(-2).to(x.dtype)
        first, second = x.to(wide)[..., 0::2], x.to(wide)[..., 1::2]
        turned = (first * self._cos - second * sin, first * sin + second * self._cos)
        return torch.stack(turned, dim=-1).flatten(-2).to(x.dtype)


def pairs_as_complex(x: Tensor) -> Tensor:
    """Pairs (..., 2m) seen as m complex numbers, copied only where the strides are not those of pairs."""
    pairs = x.view(*x.shape[:-1], -1, 2)
    even = all(step % 2 == 0 for step in x.stride()[:-1]) and x.storage_offset() % 2 == 0
    return torch.view_as_complex(
        pairs if even and x.stride(-1) == 1 else pairs.clone(memory_format=torch.contiguous_format)
    )


def rotate_parts(cos: Tensor, sin: Tensor, by_cos: Tensor, by_sin: Tensor) -> tuple[Tensor, Tensor]:
    """(cos, sin) of the sum of two angles."""
    return cos * by_cos - sin * by_sin, sin * by_cos + cos * by_sin


def normalise_phases(cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """The pair brought back to the unit circle; its length is clamped at 1e-5, so (0, 0) stays (0, 0)."""
    length = torch.sqrt((cos * cos + sin * sin).clamp_min(PHASE_EPSILON**2))
    return cos / length, sin / length


def mix_phases(cos: Tensor, sin: Tensor, mix: Tensor) -> tuple[Tensor, Tensor]:
    """Mix the phases of a head linearly, then bring them back to the unit circle.

    c' = c M_h, s' = s M_h, both divided by √max(c'² + s'², 1e-5). Source: KoPE, arXiv 2604.07904, phase mixing.

    Args:
        cos: (B, H, N, d/2).
        sin: same shape.
        mix: M, (H, d/2, d/2); the identity leaves unit phases as they are.

    Returns:
        Mixed cos and sin, unit length again, in cos' dtype.

    Raises:
        ValueError: shapes, dtypes or devices do not agree.
    """
    op = "mix_phases"
    checks.same_kind(op, cos=cos, sin=sin)
    checks.heads_tokens(op, cos=cos, sin=sin)
    pairs = cos.shape[-1]
    if tuple(mix.shape) != (cos.shape[1], pairs, pairs) or sin.shape != cos.shape:
        raise ValueError(
            f"{op}: cos is {checks.shape_of(cos)}, so mix must be {(cos.shape[1], pairs, pairs)}; "
            f"got mix {checks.shape_of(mix)} and sin {checks.shape_of(sin)}"
        )
    with as_given(cos.device):
        if (
            torch.compiler.is_compiling()
            or cos.dtype != mix.dtype
            or cos.dtype != at_least_float32(cos).dtype
        ):
            return _mixed(cos, sin, mix)
        mixed: tuple[Tensor, Tensor] = _MixPhases.apply(cos, sin, mix)  # type: ignore[no-untyped-call]
        return mixed


def _mixed(cos: Tensor, sin: Tensor, mix: Tensor) -> tuple[Tensor, Tensor]:
    wide = at_least_float32(cos).dtype
    mixed_cos, mixed_sin = cos.to(wide) @ mix.to(wide), sin.to(wide) @ mix.to(wide)
    scale = torch.rsqrt((mixed_cos**2 + mixed_sin**2).clamp_min(PHASE_EPSILON))
    return (mixed_cos * scale).to(cos.dtype), (mixed_sin * scale).to(cos.dtype)


class _MixPhases(torch.autograd.Function):
    """With y = u M and u' = y / √max(y·y, ε): dy = (du' - (du'·u') u') / √…, and du = dy Mᵀ, dM = uᵀ dy."""

    @staticmethod
    def forward(ctx: Any, cos: Tensor, sin: Tensor, mix: Tensor) -> tuple[Tensor, Tensor]:
        new_cos, new_sin = cos @ mix, sin @ mix
        square = torch.mul(new_cos, new_cos).addcmul_(new_sin, new_sin)
        scale = square.clamp_min(PHASE_EPSILON).rsqrt_()
        new_cos.mul_(scale)
        new_sin.mul_(scale)
        ctx.save_for_backward(cos, sin, mix, new_cos, new_sin, scale, square < PHASE_EPSILON)
        return new_cos, new_sin

    @staticmethod
    def backward(ctx: Any, grad_cos: Tensor, grad_sin: Tensor) -> tuple[Tensor | None, ...]:
        cos, sin, mix, new_cos, new_sin, scale, at_floor = ctx.saved_tensors
        if torch.is_grad_enabled():
            return tuple(twice(_mixed, [cos, sin, mix], [grad_cos, grad_sin]))
        radial = torch.mul(grad_cos, new_cos).addcmul_(grad_sin, new_sin).masked_fill_(at_floor, 0.0)
        d_cos = torch.addcmul(grad_cos, radial, new_cos, value=-1).mul_(scale)
        d_sin = torch.addcmul(grad_sin, radial, new_sin, value=-1).mul_(scale)
        d_mix = None
        if ctx.needs_input_grad[2]:
            d_mix = (cos.mT @ d_cos).add_(sin.mT @ d_sin).sum(0)
        needed = ctx.needs_input_grad
        return d_cos @ mix.mT if needed[0] else None, d_sin @ mix.mT if needed[1] else None, d_mix


def wrap(theta: Tensor) -> Tensor:
    """Angles brought to (-π, π] [rad]; those already there come back bit for bit."""
    return theta - 2 * torch.pi * torch.ceil((theta - torch.pi) / (2 * torch.pi))


def circle(theta: Tensor) -> Tensor:
    """(cos θ, sin θ) side by side: (..., n) -> (..., 2n)."""
    if torch.compiler.is_compiling():
        return torch.cat((theta.cos(), theta.sin()), dim=-1)
    waves: Tensor = _Circle.apply(theta)  # type: ignore[no-untyped-call]
    return waves


class _Circle(torch.autograd.Function):
    """Written without copies, and backward without the graph's two derivatives: dθ = d_sin cos θ - d_cos sin θ."""

    @staticmethod
    def forward(ctx: Any, theta: Tensor) -> Tensor:
        waves = theta.new_empty(*theta.shape[:-1], 2 * theta.shape[-1])
        cos, sin = waves.chunk(2, dim=-1)
        torch.cos(theta, out=cos)
        torch.sin(theta, out=sin)
        ctx.save_for_backward(waves)
        return waves

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        cos, sin = ctx.saved_tensors[0].chunk(2, dim=-1)
        d_cos, d_sin = grad.chunk(2, dim=-1)
        return torch.mul(d_sin, cos).addcmul_(d_cos, sin, value=-1)


def add_wrapped(theta: Tensor, update: Tensor) -> Tensor:
    """θ + update, brought to (-π, π] [rad]. Both of one shape; a turn more or less is no change, so gradients pass as they are."""
    if torch.compiler.is_compiling():
        return wrap(theta + update)
    total: Tensor = _AddWrapped.apply(theta, update)  # type: ignore[no-untyped-call]
    return total


class _AddWrapped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, theta: Tensor, update: Tensor) -> Tensor:
        del ctx
        total = theta + update
        turns = (total - torch.pi).div_(2 * torch.pi).ceil_()
        return total.sub_(turns, alpha=2 * torch.pi)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        del ctx
        return grad, grad


def rotary_frequencies(num_pairs: int, base: float, device: torch.device | None = None) -> Tensor:
    """base^(-i/num_pairs) for i < num_pairs [rad per index], float64. RoFormer: base^(-2i/d), d = 2 num_pairs."""
    return base ** (-torch.arange(num_pairs, dtype=torch.float64, device=device) / num_pairs)


def rotary_angles(coordinates: Tensor, special: Tensor, width: int, base: float) -> Tensor:
    """Rotary angles of every token, computed in float64 [rad].

    One axis (sequences): angle(p, i) = p·base^(-2i/d), i < d/2. Two axes (images): the first d/4 pairs turn with the row,
    the last d/4 with the column, frequency i of each half base^(-2i/(d/2)).

    Args:
        coordinates: (N, axes) positions, axes 1 or 2.
        special: (N,) bool; CLS and register tokens, whose angle is 0.
        width: d, channels per head; a multiple of 2·axes.
        base: 10 000 for sequences, 20 for images in KoPE (arXiv 2604.07904).

    Returns:
        (N, d/2) float64.

    Raises:
        ValueError: d does not divide into the axes' pairs.
    """
    axes = coordinates.shape[-1]
    if width % (2 * axes):
        raise ValueError(
            f"rotary angles over {axes} axes need a head width divisible by {2 * axes}, got {width}"
        )
    frequencies = rotary_frequencies(width // (2 * axes), base).to(coordinates.device)
    angles = coordinates.to(torch.float64)[..., None] * frequencies
    return angles.flatten(-2).masked_fill(special[:, None], 0.0)


def mixing_operations(heads: int, tokens: int, pairs: int) -> Operations:
    """Phase mixing by a (pairs × pairs) matrix a head, and ‖u‖² and u/‖u‖ of each oscillator."""
    oscillators = heads * tokens * pairs
    products = 2 * linear_operations(tokens * heads, pairs, pairs)
    return products + Operations(elementwise=4 * oscillators, reductions=oscillators, divisions=oscillators)

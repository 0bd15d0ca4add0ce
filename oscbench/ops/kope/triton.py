"""KoPE attention with its rotations in Triton kernels around one fused attention: CUDA, or the CPU in the interpreter.

q, k and v are turned by one kernel that reads the phases once, the result by a second; the gradients likewise.
`mix_and_rotate` does the mixing of the phases in the first kernel as well.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from oscbench.ops import fused
from oscbench.ops.kope import triton_kernels
from oscbench.ops.triton_tools import token_grid


def alike(*tensors: Tensor) -> list[Tensor]:
    """Tensors of one shape with the same strides and contiguous rows, so that kernels take one set of strides."""
    strides = tensors[0].stride()
    if strides[-1] == 1 and all(x.stride() == strides for x in tensors):
        return list(tensors)
    return [x.contiguous() for x in tensors]


def room_for(x: Tensor) -> Tensor:
    """An empty tensor laid out like x where its rows are contiguous, so that no layout is copied into another."""
    out = torch.empty_like(x)
    return out if out.stride(-1) == 1 else x.new_empty(x.shape)


def _sizes(q: Tensor, tensors: int, back: bool, mix: Tensor | None) -> dict[str, Any]:
    """Compile-time constants; mixing is a matrix product, which takes no tile under 16."""
    pairs = q.shape[-1] // 2
    least = 1 if mix is None else 16
    block = max(least, int(triton.next_power_of_2(pairs)))
    return {"PAIRS": pairs, "BLOCK_P": block, "TENSORS": tensors, "BACK": back, "MIX": mix is not None}


def _turned_like(
    q: Tensor, k: Tensor | None, v: Tensor | None, cos: Tensor, mix: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Room for the results of `turn`; what is not asked for is empty."""
    phase_shape = (0,) if mix is None else cos.shape
    return (
        room_for(q),
        q.new_empty(0) if k is None else room_for(q),
        q.new_empty(0) if v is None else room_for(q),
        cos.new_empty(phase_shape),
        cos.new_empty(phase_shape),
    )


@torch.library.custom_op("oscbench::kope_turn_triton", mutates_args=())
def turn(
    q: Tensor, k: Tensor | None, v: Tensor | None, cos: Tensor, sin: Tensor, mix: Tensor | None, back: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """q, k and v turned by their tokens' phases, and the phases if they were mixed before.

    Args:
        q: (B, H, N, d).
        k: (B, H, N, d), or None where there is less to turn.
        v: (B, H, N, d), or None.
        cos: (B, H, N, d/2), expanded views are welcome.
        sin: same shape.
        mix: (H, d/2, d/2), applied to the phases first, which are then normalised; None: not done.
        back: turn the other way.

    Returns:
        Turned q, k, v and the mixed cos and sin; an empty tensor for what there was none of.
    """
    out = _turned_like(q, k, v, cos, mix)
    given = alike(*[x for x in (q, k, v) if x is not None])
    cos, sin = alike(cos, sin)
    matrix = cos if mix is None else mix.contiguous()
    # The kernel looks at no pointer that its constants rule out.
    filled = given + given[:1] * (3 - len(given))
    triton_kernels.turn_kernel[token_grid(q)](
        *filled, cos, sin, matrix, *out, *given[0].stride()[:3], *out[0].stride()[:3], *cos.stride()[:3], *q.shape[1:3],
        **_sizes(q, len(given), back, mix),
    )  # fmt: skip
    return out


@turn.register_fake
def _turn_shapes(
    q: Tensor, k: Tensor | None, v: Tensor | None, cos: Tensor, sin: Tensor, mix: Tensor | None, back: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    del sin, back
    return _turned_like(q, k, v, cos, mix)


def _gradients_like(
    grads: tuple[Tensor, Tensor | None, Tensor | None], cos: Tensor, mix: Tensor | None, phases: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Room for the gradients to q, k, v, cos, sin and mix; empty where there is none."""
    first = grads[0]
    of_phases = cos.shape if phases else (0,)
    return (
        room_for(first),
        first.new_empty(0) if grads[1] is None else room_for(first),
        first.new_empty(0) if grads[2] is None else room_for(first),
        cos.new_empty(of_phases),
        cos.new_empty(of_phases),
        cos.new_empty(0) if mix is None or not phases else mix.new_empty(mix.shape),
    )


@torch.library.custom_op("oscbench::kope_turn_triton_backward", mutates_args=())
def turn_backward(
    grad_q: Tensor,
    grad_k: Tensor | None,
    grad_v: Tensor | None,
    grad_cos: Tensor | None,
    grad_sin: Tensor | None,
    q: Tensor | None,
    k: Tensor | None,
    v: Tensor | None,
    cos: Tensor,
    sin: Tensor,
    mix: Tensor | None,
    back: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of `turn` to q, k, v, cos, sin and mix; to the last three only if q (and k and v) are given."""
    phases = q is not None
    *into, d_cos, d_sin, d_mix = _gradients_like((grad_q, grad_k, grad_v), cos, mix, phases)
    # Gradients lie as they will be written.
    asked = [x for x in (grad_q, grad_k, grad_v) if x is not None]
    grads = [x if x.stride() == into[0].stride() else torch.empty_like(into[0]).copy_(x) for x in asked]
    given = alike(*[x for x in (q, k, v) if x is not None]) if phases else grads
    cos, sin = alike(cos, sin)
    # Before the mixing gradients stay in float32: two matrix products follow.
    found = (
        [d_cos, d_sin] if mix is None else [x.new_empty(x.shape, dtype=torch.float32) for x in (d_cos, d_sin)]
    )
    outer = [cos if mix is None else _whole(x, cos) for x in (grad_cos, grad_sin)]
    matrix = cos if mix is None else mix.contiguous()
    spare = 3 - len(grads)
    triton_kernels.turn_gradient_kernel[token_grid(grad_q)](
        *grads, *grads[:1] * spare, *outer, *given, *given[:1] * spare, cos, sin, matrix, *into, *found,
        *into[0].stride()[:3], *given[0].stride()[:3], *cos.stride()[:3], *grad_q.shape[1:3],
        PHASES=phases, **_sizes(grad_q, len(grads), back, mix),
    )  # fmt: skip
    if mix is not None and phases:
        wide = mix.float().mT
        d_cos, d_sin = ((x @ wide).to(cos.dtype) for x in found)
        d_mix = (cos.float().mT @ found[0] + sin.float().mT @ found[1]).sum(dim=0).to(mix.dtype)
    return into[0], into[1], into[2], d_cos, d_sin, d_mix


def _whole(grad: Tensor | None, cos: Tensor) -> Tensor:
    return cos.new_zeros(cos.shape) if grad is None else grad.contiguous()


@turn_backward.register_fake
def _turn_backward_shapes(
    grad_q: Tensor,
    grad_k: Tensor | None,
    grad_v: Tensor | None,
    grad_cos: Tensor | None,
    grad_sin: Tensor | None,
    q: Tensor | None,
    k: Tensor | None,
    v: Tensor | None,
    cos: Tensor,
    sin: Tensor,
    mix: Tensor | None,
    back: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    del grad_cos, grad_sin, k, v, sin, back
    return _gradients_like((grad_q, grad_k, grad_v), cos, mix, q is not None)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    del output
    *rotated, cos, sin, mix, ctx.back = inputs
    ctx.present = [x is not None for x in rotated]
    # Without gradients to the phases the rotation is undone without what was rotated.
    ctx.phases = any(ctx.needs_input_grad[3:6])
    ctx.save_for_backward(*(rotated if ctx.phases else (None, None, None)), cos, sin, mix)


def _pull_back(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
    *rotated, cos, sin, mix = ctx.saved_tensors
    turned = [grad if there else None for grad, there in zip(grads[:3], ctx.present, strict=True)]
    outer = (None, None) if mix is None else grads[3:]
    *found, d_cos, d_sin, d_mix = turn_backward(*turned, *outer, *rotated, cos, sin, mix, ctx.back)
    d_rotated = [x if there else None for x, there in zip(found, ctx.present, strict=True)]
    if not ctx.phases:
        return (*d_rotated, None, None, None, None)
    return (*d_rotated, d_cos, d_sin, None if mix is None else d_mix, None)


turn.register_autograd(_pull_back, setup_context=_save)


def _mixing_flops(cos_shape: Any, mix_shape: Any) -> int:
    """The rotations count 0, as everywhere; the mixing is two matrix products."""
    if mix_shape is None:
        return 0
    batch, heads, tokens, pairs = cos_shape
    return int(4 * batch * heads * tokens * pairs * pairs)


@register_flop_formula(torch.ops.oscbench.kope_turn_triton)
def _turn_flops(q: Any, k: Any, v: Any, cos: Any, sin: Any, mix: Any, *rest: Any, **named: Any) -> int:
    return _mixing_flops(cos, mix)


@register_flop_formula(torch.ops.oscbench.kope_turn_triton_backward)
def _turn_backward_flops(*shapes: Any, **named: Any) -> int:
    return 2 * _mixing_flops(shapes[8], shapes[10])


def _beside(q: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """Views of the phases with a row for every token of every head."""
    shape = (*q.shape[:-1], q.shape[-1] // 2)
    return cos.expand(shape), sin.expand(shape)


def mix_and_rotate(
    q: Tensor, k: Tensor, v: Tensor | None, cos: Tensor, sin: Tensor, mix: Tensor
) -> tuple[Tensor, Tensor, Tensor | None, Tensor, Tensor]:
    """`mix_phases` and the rotations of `kope_attention` in one kernel, phases read once; backward likewise.

    The backward kernel computes the mixing again. It leaves the two matrix products behind it (to the phases before the
    mixing, and to the matrix) to PyTorch.

    Args:
        q: (B, H, N, d), like all that follows float32, bfloat16 or float16.
        k: same shape.
        v: same shape, or None where values are not turned.
        cos: broadcastable to (B, H, N, d/2).
        sin: same shape.
        mix: (H, d/2, d/2).

    Returns:
        Turned q, k and v, and the mixed cos and sin, which turn the attention's result back.
    """
    turned_q, turned_k, turned_v, cos, sin = turn(q, k, v, *_beside(q, cos, sin), mix, False)
    return turned_q, turned_k, None if v is None else turned_v, cos, sin


def mixed_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cos: Tensor,
    sin: Tensor,
    mix: Tensor,
    *,
    rotate_values: bool = True,
    is_causal: bool = False,
    key_padding_mask: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """`mix_phases` and then `kope_attention` on the mixed phases: (the result, mixed cos, mixed sin)."""
    q, k, turned, cos, sin = mix_and_rotate(q, k, v if rotate_values else None, cos, sin, mix)
    options = {"is_causal": is_causal, "key_padding_mask": key_padding_mask}
    return _attend(q, k, v, turned, cos, sin, **options), cos, sin


def run(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cos: Tensor,
    sin: Tensor,
    *,
    rotate_values: bool,
    is_causal: bool,
    key_padding_mask: Tensor | None,
) -> Tensor:
    """Rotate q, k (and v) in one kernel, attend, rotate back in another."""
    cos, sin = _beside(q, cos, sin)
    q, k, turned, *_ = turn(q, k, v if rotate_values else None, cos, sin, None, False)
    options = {"is_causal": is_causal, "key_padding_mask": key_padding_mask}
    return _attend(q, k, v, turned if rotate_values else None, cos, sin, **options)


def _attend(
    q: Tensor, k: Tensor, v: Tensor, turned: Tensor | None, cos: Tensor, sin: Tensor, **options: Any
) -> Tensor:
    """Attention between turned q and k over turned values, turned back, or over v as it is."""
    scale = q.shape[-1] ** -0.5
    if turned is None:
        return fused.attention(q, k, v, scale=scale, **options)
    out = fused.attention(q, k, turned, scale=scale, **options)
    back: Tensor = turn(out, None, None, cos, sin, None, True)[0]
    return back

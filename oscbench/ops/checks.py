"""Argument checks shared by the ops: shapes, dtypes and devices always, values only where looking is free."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

FLOATING = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def shape_of(x: Tensor) -> str:
    """A tensor's shape as text, `(2, 4, 17, 16)`."""
    return str(tuple(x.shape))


def same_kind(op: str, **tensors: Tensor) -> None:
    """All tensors are floating, of one dtype and on one device.

    Raises:
        ValueError: naming the two that differ.
    """
    (first_name, first), *others = tensors.items()
    if first.dtype not in FLOATING:
        raise ValueError(
            f"{op}: {first_name} is {first.dtype}; allowed are float64, float32, bfloat16, float16"
        )
    for name, x in others:
        if x.dtype != first.dtype:
            raise ValueError(f"{op}: {first_name} is {first.dtype} but {name} is {x.dtype}")
        if x.device != first.device:
            raise ValueError(f"{op}: {first_name} is on {first.device} but {name} is on {x.device}")


def heads_tokens(op: str, **tensors: Tensor) -> None:
    """All tensors are (B, H, N, ·) with the same B, H and N (the ops are square: as many senders as receivers).

    Raises:
        ValueError: naming both shapes.
    """
    (first_name, first), *others = tensors.items()
    if first.dim() != 4 or 0 in first.shape:
        raise ValueError(f"{op}: {first_name} must be (B, H, N, d) with no empty axis, got {shape_of(first)}")
    for name, x in others:
        if x.dim() != 4 or x.shape[:3] != first.shape[:3]:
            raise ValueError(
                f"{op}: {first_name} is {shape_of(first)} but {name} is {shape_of(x)}; "
                "batch, heads and tokens must agree"
            )


def same_width(op: str, **tensors: Tensor) -> None:
    """All tensors have the same last axis.

    Raises:
        ValueError: naming both shapes.
    """
    (first_name, first), *others = tensors.items()
    for name, x in others:
        if x.shape[-1] != first.shape[-1]:
            raise ValueError(
                f"{op}: {first_name} is {shape_of(first)} but {name} is {shape_of(x)}; the last axes must agree"
            )


def padding(op: str, mask: Tensor | None, x: Tensor) -> None:
    """`key_padding_mask` is (B, N) bool on the inputs' device, True = padding.

    Raises:
        ValueError: naming what it is instead.
    """
    if mask is None:
        return
    expected = (x.shape[0], x.shape[-2])
    if tuple(mask.shape) != expected or mask.dtype != torch.bool:
        raise ValueError(
            f"{op}: key_padding_mask must be bool of shape {expected} (True = padding), "
            f"got {mask.dtype} of shape {shape_of(mask)}"
        )
    if mask.device != x.device:
        raise ValueError(f"{op}: inputs are on {x.device} but key_padding_mask is on {mask.device}")


def phases(op: str, cos: Tensor, sin: Tensor, x: Tensor) -> None:
    """cos and sin agree, sit beside x (B, H, N, d) and hold d/2 pairs (leading axes may broadcast).

    Raises:
        ValueError: naming both shapes.
    """
    same_kind(op, cos=cos, sin=sin)
    if cos.device != x.device:
        raise ValueError(f"{op}: inputs are on {x.device} but cos is on {cos.device}")
    if cos.shape != sin.shape:
        raise ValueError(f"{op}: cos is {shape_of(cos)} but sin is {shape_of(sin)}")
    if x.shape[-1] % 2:
        raise ValueError(f"{op}: channels are turned in pairs, so d must be even, got {shape_of(x)}")
    expected = (*x.shape[:-1], x.shape[-1] // 2)
    if not spreads(cos.shape, expected) or cos.shape[-1] != expected[-1]:
        raise ValueError(
            f"{op}: cos is {shape_of(cos)}, which does not broadcast to {expected}, the pairs of {shape_of(x)}"
        )


def spreads(shape: Sequence[int], over: Sequence[int]) -> bool:
    """Whether a tensor of one shape broadcasts to exactly another; asking PyTorch takes as long as a small rotation."""
    try:
        return tuple(shape) == tuple(over) or torch.broadcast_shapes(tuple(shape), tuple(over)) == tuple(over)
    except RuntimeError:
        return False


def values_are_checked(x: Tensor, validate: bool | None) -> bool:
    """Whether values (not only shapes) are looked at: when asked to, else in eager mode on the CPU only.

    On a GPU a look costs a synchronisation, and inside `torch.compile` it would break the graph.
    """
    if validate is not None:
        return validate
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def receiver_and_senders(op: str, receiver: dict[str, Tensor], senders: dict[str, Tensor]) -> None:
    """Receivers are (B, H, 1, ·), senders (B, H, M, ·) with one M ≥ 1, of one floating type and on one device.

    Raises:
        ValueError: naming the shapes that do not fit.
    """
    op = f"decode.{op}"
    same_kind(op, **receiver, **senders)
    heads_tokens(op, **receiver)
    heads_tokens(op, **senders)
    (name, one), *_ = receiver.items()
    (of_senders, all_of_them), *_ = senders.items()
    if one.shape[-2] != 1 or one.shape[:2] != all_of_them.shape[:2]:
        raise ValueError(
            f"{op}: {name} must be one token (B, H, 1, d) beside its senders (B, H, M, ·); "
            f"got {name} {shape_of(one)} and {of_senders} {shape_of(all_of_them)}"
        )

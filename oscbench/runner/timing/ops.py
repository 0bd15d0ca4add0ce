"""The ops as contenders: their inputs, their passes, and what each pass costs by the closed forms."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from oscbench import ops
from oscbench.instruments.clock import Contender
from oscbench.ops.op import OpSize

SDPA_KERNELS = {
    "math": SDPBackend.MATH,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
}
"""PyTorch's own kernels, timed apart as `softmax_attention:sdpa[flash]`."""


@dataclass(frozen=True)
class Cost:
    """What a pass must do at least: FLOPs, bytes in and out, special functions (exponentials, sines, roots)."""

    flops: float
    moved: float
    special: float


@dataclass(frozen=True)
class Prepared:
    """A call of an op with its inputs: tensors that get gradients, and the function of them."""

    leaves: list[Tensor]
    call: Callable[..., Any]


def kernels_on(device: str) -> list[str]:
    """The SDPA kernels that are timed apart: on a CPU `sdpa` is the flash kernel already."""
    return ["math", "flash", "efficient", "cudnn"] if device == "cuda" else ["math"]


def prepare(op_name: str, backend: str, size: OpSize, device: torch.device, dtype: torch.dtype) -> Prepared:
    """Random inputs of an op, equal for all backends, and its call without checks of values.

    Args:
        op_name: one of `oscbench.ops.op_names()`.
        backend: its name, or `sdpa[kernel]` for one of PyTorch's own.
        size: of the call.
        device: where.
        dtype: of the tensors.

    Raises:
        ValueError: no such op or backend, or a kernel that PyTorch does not have.
    """
    base, _, kernel = backend.partition("[")
    sample, function = ops.op_of(op_name).sample(size, device, dtype), ops.function_of(op_name)
    options = {**sample.options, "backend": base, "is_causal": size.causal}
    chosen = SDPA_KERNELS[kernel.rstrip("]")] if kernel else None

    def call(*tensors: Tensor) -> Any:
        with sdpa_kernel(chosen) if chosen else contextlib.nullcontext():
            return function(**dict(zip(sample.leaves, tensors, strict=True)), **options)

    return Prepared(list(sample.leaves.values()), call)


def op_pass(name: str, prepared: Prepared) -> Contender:
    """`forward` without gradients, or `backward` alone."""
    if name == "forward":

        def forward() -> None:
            with torch.no_grad():
                prepared.call(*prepared.leaves)

        return Contender(forward)
    leaves = [leaf.detach().requires_grad_() for leaf in prepared.leaves]

    def outputs() -> tuple[tuple[Tensor, ...]]:
        out = prepared.call(*leaves)
        return (out if isinstance(out, tuple) else (out,),)

    def backward(out: tuple[Tensor, ...]) -> None:
        ones = [torch.ones_like(part) for part in out]
        torch.autograd.grad(out, leaves, ones, allow_unused=True)

    return Contender(backward, outputs)


def op_cost(name: str, op_name: str, size: OpSize, dtype: torch.dtype) -> Cost:
    """The least that a pass must do; the backward pass has twice the FLOPs and reads what the forward read."""
    op = ops.op_of(op_name)
    counted = op.operations(*size.shape, **op.sample_sizes)
    element = torch.empty((), dtype=dtype).element_size()
    batch, heads, tokens, width = size.shape
    moved = 4 * batch * heads * tokens * width * element
    special = counted.exponentials + counted.trigonometric + counted.roots
    times = 1 if name == "forward" else 2
    return Cost(times * 2 * counted.multiply_adds, times * moved, special)


def literal_bytes(op_name: str, size: OpSize) -> int:
    """What a backend with N × N tensors holds at once in its backward pass, about ten of them."""
    return 40 * size.batch * size.heads * size.tokens**2 * ops.op_of(op_name).pair_numbers(size.width)

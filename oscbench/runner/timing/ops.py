"""The ops as contenders: their inputs, their passes, and what each pass costs by the closed forms."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from oscbench import ops
from oscbench.instruments.clock import Contender
from oscbench.ops.flops import attention_flops
from oscbench.ops.operations import attention_operations

OSCILLATOR_WIDTH = 8
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
class OpSize:
    """B, H, N, d of a call."""

    batch: int
    heads: int
    tokens: int
    width: int
    causal: bool

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, H, N, d)."""
        return self.batch, self.heads, self.tokens, self.width


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
    leaves, function = _inputs(op_name, size, device, dtype)
    options: dict[str, Any] = {"backend": base, "is_causal": size.causal}
    if op_name in ("selective_synchronization", "fixed_query_attention"):
        options["validate"] = False
    chosen = SDPA_KERNELS[kernel.rstrip("]")] if kernel else None

    def call(*tensors: Tensor) -> Any:
        with sdpa_kernel(chosen) if chosen else contextlib.nullcontext():
            return function(*tensors, **options)

    return Prepared(leaves, call)


def _inputs(
    op_name: str, size: OpSize, device: torch.device, dtype: torch.dtype
) -> tuple[list[Tensor], Callable[..., Any]]:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(device, dtype)

    q, k, v = (normal(*size.shape) for _ in range(3))
    if op_name == "softmax_attention":
        return [q, k, v], ops.softmax_attention
    if op_name in ("kope_attention", "kuramoto_step"):
        angles = normal(*size.shape[:3], size.width // 2)
        cos, sin = angles.cos(), angles.sin()
        if op_name == "kope_attention":
            return [q, k, v], lambda q, k, v, **o: ops.kope_attention(q, k, v, cos, sin, **o)
        return [q, k, cos, sin], lambda q, k, c, s, **o: ops.kuramoto_step(q, k, c, s, gamma=0.05, **o)
    if op_name == "torus_attention":
        gate = normal(*size.shape)
        return [q, gate], lambda theta, gate, **o: ops.torus_attention(theta, gate, include_self=False, **o)
    if op_name == "selective_synchronization":
        # With this spread about half of the pairs lock, so no backend has an easy case.
        omega = q * (0.45 / math.sqrt(size.width))
        return [omega, k * 0.5, v], _synchronize
    if op_name == "fixed_query_attention":
        anchors = normal(size.heads, size.tokens, OSCILLATOR_WIDTH)
        unit = torch.nn.functional.normalize(anchors.float(), dim=-1).to(dtype)
        return [q, k, v, unit], ops.fixed_query_attention
    raise ValueError(f'no inputs for op "{op_name}"')


def _synchronize(omega: Tensor, theta: Tensor, v: Tensor, **options: Any) -> Tensor:
    return ops.selective_synchronization(omega, theta, v, coupling=1.3, alpha=1.0, edge=0.05, **options)


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
    batch, heads, tokens, width = size.shape
    flops = attention_flops(op_name, batch, heads, tokens, width, oscillator_width=OSCILLATOR_WIDTH)
    counted = attention_operations(op_name, batch, heads, tokens, width, oscillator_width=OSCILLATOR_WIDTH)
    element = torch.empty((), dtype=dtype).element_size()
    moved = 4 * batch * heads * tokens * width * element
    special = counted.exponentials + counted.trigonometric + counted.roots
    times = 1 if name == "forward" else 2
    return Cost(times * flops, times * moved, special)


def literal_width(op_name: str, size: OpSize) -> int:
    """Numbers a pair of tokens that the literal backend keeps: torus attention one for each angle, others one."""
    return size.width if op_name == "torus_attention" else 1


def literal_bytes(op_name: str, size: OpSize) -> int:
    """What a backend with N × N tensors holds at once in its backward pass, about ten of them."""
    return 40 * size.batch * size.heads * size.tokens**2 * literal_width(op_name, size)

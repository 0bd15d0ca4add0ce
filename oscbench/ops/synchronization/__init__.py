"""Selective synchronization: a token hears those whose natural frequency its own can lock to."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from oscbench.ops import checks, triton_tools
from oscbench.ops.dispatch import Backend, Call, call_of
from oscbench.ops.op import Draw, Op, OpSize, Sample
from oscbench.ops.operations import Operations, pair_products
from oscbench.ops.triton_tools import MAX_WIDTH, WIDTH_STEP


def _reference() -> Callable[..., Any]:
    from oscbench.ops.synchronization import reference

    return reference.run


def _blocked() -> Callable[..., Any]:
    from oscbench.ops.synchronization import blocked

    return blocked.run


def _sparse() -> Callable[..., Any]:
    from oscbench.ops.synchronization import blocked

    return blocked.run_sparse


def _no_top_k(call: Call) -> str | None:
    if call.options.get("top_k") is not None:
        return "top_k needs whole rows; use reference or blocked"
    return None


def _triton() -> Callable[..., Any]:
    from oscbench.ops.synchronization import triton

    return triton.run


def _why_not_triton(call: Call) -> str | None:
    value_width = call.options.get("value_width")
    if value_width is not None and (value_width % WIDTH_STEP or value_width > MAX_WIDTH):
        return (
            f"it takes values whose width is a multiple of {WIDTH_STEP} up to {MAX_WIDTH}, got {value_width}"
        )
    return _no_top_k(call) or triton_tools.why_not(call)


def _flex() -> Callable[..., Any]:
    from oscbench.ops.synchronization import flex

    return flex.run


def _why_not_flex(call: Call) -> str | None:
    if call.device.type not in ("cpu", "cuda"):
        return f"FlexAttention runs on CUDA and on the CPU, the inputs are on {call.device.type}"
    if call.device.type == "cpu" and torch.is_grad_enabled():
        return "FlexAttention is forward only on the CPU; call it under torch.no_grad()"
    if call.dtype == torch.float64:
        return "FlexAttention does not take float64"
    for width in (call.width, call.options.get("value_width")):
        if width is not None and (width < 16 or width & (width - 1)):
            return f"FlexAttention takes widths that are a power of two from 16 on, got {width}"
    return _no_top_k(call)


def _automatic(call: Call) -> list[str]:
    """Backends in order of preference.

    CPU: `blocked` at every size. tests/benchmarks/test_synchronization_speed.py, two threads, float32, 8 heads of 32,
    half locked, times as fast as `reference` forward / with backward: N = 64 1.1 / 0.9, 128 1.3 / 1.1, 256 3.6 / 1.8,
    512 3.6 / 4.0, 1024 12.7 / 11.7. Never `sparse`: whether it gains depends on the frequencies, and where it does not, as
    in a cloud, finding out costs 7 % to 15 %. CUDA: our kernels; this order has not been timed on a GPU.
    """
    return ["triton", "blocked"] if call.device.type == "cuda" else ["blocked"]


def _counted(heads: int, tokens: int, width: int, *, value_width: int | None = None) -> Operations:
    """Squared distances and values, so 2BHN²(d + d_v) FLOPs; a pair's locking; and the order parameter.

    A pair has S² = exp(-2αΔ²) - Δ²/(Kr)² with Δ² from the products, and its root.
    """
    rows, pairs, phases = heads * tokens, heads * tokens * tokens, heads * tokens * width
    channels = width + (width if value_width is None else value_width)
    # Δ² takes two additions beside the product, S² a multiply-add and a comparison.
    stage = Operations(elementwise=4 * pairs, exponentials=pairs, roots=pairs)
    norms_and_sums = Operations(reductions=2 * rows, divisions=rows)
    # Mean cosine, mean sine and their length, a channel.
    order = Operations(trigonometric=2 * phases, reductions=3 * heads * width)
    return pair_products(heads, tokens, channels) + stage + norms_and_sums + order


def _sampled(size: OpSize, draw: Draw) -> Sample:
    # With this spread about half of the pairs lock, so no backend has an easy case.
    omega = draw(*size.shape) * (0.45 / math.sqrt(size.width))
    leaves = {"omega": omega, "theta": draw(*size.shape) * 0.5, "v": draw(*size.shape)}
    return Sample(leaves, {"coupling": 1.3, "alpha": 1.0, "edge": 0.05, "validate": False})


OP = Op(
    "selective_synchronization",
    [
        Backend("reference", _reference, note="the equations, N by N tensors"),
        Backend("blocked", _blocked, note="tiles in plain PyTorch, memory linear in N"),
        Backend("sparse", _sparse, _no_top_k, note="sorted by frequency, tiles that cannot lock are skipped"),
        Backend("flex", _flex, _why_not_flex, note="FlexAttention forward, the backward pass of blocked"),
        Backend("triton", _triton, _why_not_triton, note="our own kernels, forward and backward"),
    ],
    automatic=_automatic,
    counted=_counted,
    sampled=_sampled,
    rank=4,
)


def selective_synchronization(
    omega: Tensor,
    theta: Tensor,
    v: Tensor,
    *,
    coupling: float | Tensor,
    alpha: float | Tensor,
    top_k: int | None = None,
    edge: float = 0.0,
    is_causal: bool = False,
    key_padding_mask: Tensor | None = None,
    backend: str = "auto",
    validate: bool | None = None,
) -> Tensor:
    """Average of the values of all tokens whose frequencies lock, weighted by how well they do.

    Δ_ij = ‖ω_i - ω_j‖, J = exp(-αΔ²), r the order parameter of θ, locked where Δ ≤ K r J, and then
    S² = max(0, exp(-2αΔ²) - Δ²/(Kr)²); S_ii = 1; out_i = Σ_j S_ij v_j / (Σ_j S_ij + 1e-8).
    Source: arXiv 2602.14445, closed-form selective synchronization. Causal: r runs over j ≤ i.

    Args:
        omega: natural frequencies [rad per unit time], (B, H, N, d).
        theta: phases [rad], (B, H, N, ·); they act through the order parameter alone.
        v: what the senders say, (B, H, N, ·).
        coupling: K ≥ 0, a number, a scalar tensor or (H,).
        alpha: α ≥ 0 [1/frequency²], a number, a scalar tensor or (H,).
        top_k: keep only the min(top_k, N) largest S of each row.
        edge: bounds the slope of the root in the backward pass, dS/dS² = 1/(2 max(S, edge)); 0 is literal.
        is_causal: receiver i hears only senders j ≤ i.
        key_padding_mask: (B, N) bool, True = padding, which nobody hears and which is left out of r.
        backend: `auto`, or one of `oscbench.ops.backends("selective_synchronization")`.
        validate: look at the values of K and α; by default in eager mode on the CPU only.

    Returns:
        Like v. A token with nobody to hear gets 0.

    Raises:
        ValueError: shapes, dtypes or devices do not agree, K or α is negative, or the backend cannot run
            this call.
    """
    name = OP.name
    checks.same_kind(name, omega=omega, theta=theta, v=v)
    checks.heads_tokens(name, omega=omega, theta=theta, v=v)
    checks.padding(name, key_padding_mask, omega)
    if top_k is not None and top_k < 1:
        raise ValueError(f"{name}: top_k must be at least 1, got {top_k}")
    if not edge >= 0.0:
        raise ValueError(f"{name}: edge must be at least 0, got {edge}")
    given = {"coupling": coupling, "alpha": alpha}
    ready = {what: _per_head(name, what, value, omega) for what, value in given.items()}
    if checks.values_are_checked(omega, validate):
        for what, value in ready.items():
            if bool((value < 0).any()):
                raise ValueError(f"{name}: {what} must be at least 0, got {float(value.min())}")
    options = {"top_k": top_k, "edge": edge, "is_causal": is_causal, "key_padding_mask": key_padding_mask}
    chosen = OP.choose(backend, call_of(omega, value_width=v.shape[-1], **options))
    out: Tensor = chosen.load()(omega, theta, v, **ready, **options)
    return out


def _per_head(op: str, what: str, value: float | Tensor, omega: Tensor) -> Tensor:
    """K or α as (H,) on the inputs' device, in at least float32."""
    heads = omega.shape[1]
    wide = torch.float64 if omega.dtype == torch.float64 else torch.float32
    # A number is filled in on the device: copied there from the host's memory, it would forbid the capture of a graph.
    tensor = value if isinstance(value, Tensor) else omega.new_full((), value, dtype=wide)
    if tensor.device != omega.device:
        raise ValueError(f"{op}: omega is on {omega.device} but {what} is on {tensor.device}")
    if tensor.numel() not in (1, heads) or tensor.dim() > 1:
        raise ValueError(
            f"{op}: {what} must be a number or of shape ({heads},), one for each head of omega "
            f"{checks.shape_of(omega)}; got {checks.shape_of(tensor)}"
        )
    return tensor.to(wide).expand(heads)


op = OP

"""One Kuramoto step: phases pulled towards those of the tokens that attention picks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from oscbench.ops import checks, memory_efficient, triton_tools
from oscbench.ops.dispatch import Backend, Call, call_of
from oscbench.ops.op import Draw, Op, OpSize, Sample
from oscbench.ops.operations import Operations, pair_products, softmax_stage


def _reference() -> Callable[..., Any]:
    from oscbench.ops.kuramoto import reference

    return reference.run


def _sdpa() -> Callable[..., Any]:
    from oscbench.ops.kuramoto import sdpa

    return sdpa.run


def _triton() -> Callable[..., Any]:
    from oscbench.ops.kuramoto import triton

    return triton.run


def _automatic(call: Call) -> list[str]:
    # The kernels are for GPUs; in the interpreter they are a test.
    return ["triton", "sdpa"] if call.device.type == "cuda" else ["sdpa"]


def _counted(heads: int, tokens: int, width: int) -> Operations:
    """Scores and mean phases, so 4BHN²d FLOPs; a softmax; and the step of d/2 oscillators."""
    oscillators = heads * tokens * width // 2
    # For u = (cos, sin): d·u, d - (d·u)u, u + γt, ‖u‖² and u/‖u‖, two multiply-adds each.
    update = Operations(elementwise=10 * oscillators, reductions=oscillators, divisions=oscillators)
    return pair_products(heads, tokens, 2 * width) + softmax_stage(heads, tokens) + update


def _sampled(size: OpSize, draw: Draw) -> Sample:
    q, k = draw(*size.shape), draw(*size.shape)
    angles = draw(*size.shape[:3], size.width // 2)
    return Sample({"q": q, "k": k, "cos": angles.cos(), "sin": angles.sin()}, {"gamma": 0.05})


OP = Op(
    "kuramoto_step",
    [
        Backend("reference", _reference, note="the equations, N x N scores"),
        Backend("sdpa", _sdpa, note="torch scaled_dot_product_attention over values (cos, sin)"),
        memory_efficient.backend_of("oscbench.ops.kuramoto.sdpa"),
        Backend(
            "triton",
            _triton,
            triton_tools.why_not,
            note="our own kernel of the step after torch scaled_dot_product_attention",
        ),
    ],
    automatic=_automatic,
    counted=_counted,
    sampled=_sampled,
    rank=2,
)


def kuramoto_step(
    q: Tensor,
    k: Tensor,
    cos: Tensor,
    sin: Tensor,
    *,
    gamma: float | Tensor,
    is_causal: bool = False,
    key_padding_mask: Tensor | None = None,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """One step of attention-coupled Kuramoto oscillators, a phase for each token, head and channel pair.

    A = softmax(q kᵀ/√d), u = (cos, sin), t_i = Σ_j A_ij u_j - (Σ_j A_ij u_j · u_i) u_i, u_i ← normalise(u_i + γ t_i).
    In angles: θ_i += arctan(γ Σ_j A_ij sin(θ_j - θ_i)). Source: KoPE, arXiv 2604.07904, coupling step.

    Args:
        q: coupling queries, (B, H, N, d), normalised and scaled by the caller.
        k: coupling keys, (B, H, N, d).
        cos: cosines of the phases, (B, H, N, d/2) or broadcastable to it.
        sin: sines, same shape.
        gamma: step size γ [rad per unit pull], 0.05 in the paper; a number or a scalar tensor.
        is_causal: receiver i is pulled only by senders j ≤ i.
        key_padding_mask: (B, N) bool, True = padding, which pulls nobody.
        backend: `auto`, or one of `oscbench.ops.backends("kuramoto_step")`.

    Returns:
        New cos and sin, (B, H, N, d/2), unit length, in the phases' dtype; a token with nobody to hear keeps
        its phase.

    Raises:
        ValueError: shapes, dtypes or devices do not agree, or the backend cannot run this call.
    """
    name = OP.name
    checks.same_kind(name, q=q, k=k)
    checks.heads_tokens(name, q=q, k=k)
    checks.same_width(name, q=q, k=k)
    checks.phases(name, cos, sin, q)
    checks.padding(name, key_padding_mask, q)
    options = {"gamma": gamma, "is_causal": is_causal, "key_padding_mask": key_padding_mask}
    chosen = OP.choose(backend, call_of(q, **options))
    new: tuple[Tensor, Tensor] = chosen.load()(q, k, cos, sin, **options)
    return new


op = OP

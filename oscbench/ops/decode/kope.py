"""KoPE attention and the Kuramoto step of one new token.

Kept a token: k and v as their sender's phases turned them, coupling k, cos and sin: 4D numbers a layer (2D for RoPE, and for
KoPE's last layer, which takes no step). Phases ride through the depth: each layer keeps those with which its step began.
"""

from __future__ import annotations

from torch import Tensor

from oscbench.ops import checks
from oscbench.ops.decode.softmax import softmax_attention
from oscbench.ops.phases import at_least_float32, normalise_phases, rotate
from oscbench.ops.precision import keeps_precision


@keeps_precision
def kope_attention(
    q: Tensor, cos: Tensor, sin: Tensor, turned_k: Tensor, turned_v: Tensor, *, rotate_values: bool = True
) -> Tensor:
    """o = R(-φ) softmax(R(φ)q k̃ᵀ/√d) ṽ of the newest token, arXiv 2604.07904; RoPE (2104.09864) where values are not rotated.

    Args:
        q: the receiver, (B, H, 1, d), not turned yet.
        cos: cosines of the receiver's phases, broadcastable to (B, H, 1, d/2).
        sin: sines, same shape.
        turned_k: R(φ_j) k_j of the senders, (B, H, M, d), the receiver's own last.
        turned_v: R(φ_j) v_j, or v_j where values are not rotated, (B, H, M, d).
        rotate_values: turn the result back by the receiver's phase.

    Returns:
        (B, H, 1, d), in v's dtype.

    Raises:
        ValueError: shapes, dtypes or devices do not agree.
    """
    checks.phases("decode.kope_attention", cos, sin, q)
    heard = softmax_attention(rotate(q, cos, sin), turned_k, turned_v)
    return rotate(heard, cos, -sin) if rotate_values else heard


@keeps_precision
def kuramoto_step(
    q: Tensor, cos: Tensor, sin: Tensor, k: Tensor, phases: Tensor, *, gamma: float | Tensor
) -> tuple[Tensor, Tensor]:
    """One Kuramoto step of the newest token's phases: θ += arctan(γ Σ_j A_j sin(θ_j - θ)), arXiv 2604.07904.

    Args:
        q: the receiver's coupling query, (B, H, 1, d).
        cos: cosines of its phases, (B, H, 1, d/2).
        sin: sines, same shape.
        k: coupling keys of the senders, (B, H, M, d), the receiver's own last.
        phases: cosines and sines of the senders side by side, (B, H, M, d).
        gamma: step size γ [rad per unit pull].

    Returns:
        New cos and sin, (B, H, 1, d/2), unit length, in cos' dtype.

    Raises:
        ValueError: shapes, dtypes or devices do not agree.
    """
    checks.phases("decode.kuramoto_step", cos, sin, q)
    mean = at_least_float32(softmax_attention(q, k, phases.to(q.dtype)))
    wide_cos, wide_sin = at_least_float32(cos), at_least_float32(sin)
    mean_cos, mean_sin = mean.chunk(2, dim=-1)
    along = mean_cos * wide_cos + mean_sin * wide_sin
    moved_cos = wide_cos + gamma * (mean_cos - along * wide_cos)
    moved_sin = wide_sin + gamma * (mean_sin - along * wide_sin)
    new_cos, new_sin = normalise_phases(moved_cos, moved_sin)
    return new_cos.to(cos.dtype), new_sin.to(cos.dtype)

"""Fixed-query attention of one new token, in its two stages.

Kept a token: k, and v where p > 1, D or 2D numbers a layer; for p = 1 the linear read-out needs (d_osc + 1)(d + 1) sums a head
instead of v. Anchors are parameters.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import elu, normalize, softplus

from oscbench.ops import checks
from oscbench.ops.phases import at_least_float32
from oscbench.ops.precision import keeps_precision

# The reference has its own copies, and tests compare the two.
COUPLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "softplus": softplus,
    "relu": lambda scores: torch.relu(scores) + 1e-3,
    "elu": lambda scores: elu(scores) + 1.0,
}
EPSILON = 1e-8


@keeps_precision
def pull(q: Tensor, k: Tensor, anchors: Tensor, *, coupling: str = "softplus") -> Tensor:
    """h = Σ_j W_j r_j, W_j = softplus(q·k_j/√d), of the newest token, arXiv 2606.12059.

    Args:
        q: the receiver, (B, H, 1, d).
        k: senders, (B, H, M, d), the receiver's own last.
        anchors: r of positions 0 to M - 1, (H, M, d_osc).
        coupling: `softplus`, `relu` or `elu`.

    Returns:
        (B, H, 1, d_osc), in at least float32.

    Raises:
        ValueError: shapes, dtypes or devices do not agree.
    """
    checks.receiver_and_senders("pull", {"q": q}, {"k": k})
    checks.same_width("decode.pull", q=q, k=k)
    scores = at_least_float32(q) @ at_least_float32(k).mT * q.shape[-1] ** -0.5
    return COUPLINGS[coupling](scores) @ _wide_anchors("pull", anchors, k)


@keeps_precision
def fixed_point(h: Tensor) -> Tensor:
    """x* = h/‖h‖, where the oscillator comes to rest."""
    return normalize(h, dim=-1, eps=EPSILON)


@keeps_precision
def read_out(state: Tensor, v: Tensor, anchors: Tensor, *, exponent: int = 1) -> Tensor:
    """Σ_j a_j v_j, a_j = (1 + x·r_j)^p normalised, of the newest token's settled state.

    Args:
        state: x, (B, H, 1, d_osc), unit.
        v: what the senders say, (B, H, M, ·).
        anchors: (H, M, d_osc).
        exponent: p.

    Returns:
        (B, H, 1, ·), in v's dtype.

    Raises:
        ValueError: shapes do not agree.
    """
    alignment = state @ _wide_anchors("read_out", anchors, v).mT
    weights = (1.0 + alignment).clamp_min(0.0) ** exponent
    heard = weights @ at_least_float32(v) / weights.sum(-1, keepdim=True).clamp_min(EPSILON)
    return heard.to(v.dtype)


@keeps_precision
def anchor_sums(v: Tensor, anchors: Tensor) -> Tensor:
    """Σ_j (1, r_j)ᵀ (v_j, 1) of tokens v (B, H, N, d) at anchors (H, N, d_osc): (B, H, d_osc + 1, d + 1), at least float32."""
    wide, r = at_least_float32(v), _wide_anchors("anchor_sums", anchors, v)
    features = torch.cat((torch.ones_like(r[..., :1]), r), dim=-1)
    return features.mT @ torch.cat((wide, torch.ones_like(wide[..., :1])), dim=-1)


@keeps_precision
def linear_read_out(state: Tensor, sums: Tensor) -> Tensor:
    """`read_out` for p = 1 and unit anchors from `anchor_sums` alone: Σ_j (1 + x·r_j) v_j = Σ v_j + xᵀ Σ r_j v_jᵀ.

    Args:
        state: x, (B, H, 1, d_osc), unit.
        sums: of all tokens so far, (B, H, d_osc + 1, d + 1).

    Returns:
        (B, H, 1, d), in at least float32.
    """
    totals = torch.cat((torch.ones_like(state[..., :1]), state), dim=-1) @ sums
    return totals[..., :-1] / totals[..., -1:].clamp_min(EPSILON)


def _wide_anchors(op: str, anchors: Tensor, tokens: Tensor) -> Tensor:
    if anchors.dim() != 3 or anchors.shape[:2] != tokens.shape[1:3]:
        raise ValueError(
            f"decode.{op}: one anchor a sender, so anchors must be {(*tokens.shape[1:3], 'd_osc')}; "
            f"got {checks.shape_of(anchors)}"
        )
    return anchors.to(at_least_float32(tokens).dtype)

"""Kuramoto attention on the torus: the hidden state is angles, and tokens pull one another's angles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from oscbench.ops import checks, memory_efficient, triton_tools
from oscbench.ops.dispatch import Backend, Call, call_of
from oscbench.ops.op import Draw, Op, OpSize, Sample
from oscbench.ops.operations import Operations, pair_products, softmax_stage

WIDEST_BYTES = 512
"""Of a row that the Triton kernels keep on the chip beside a tile of others."""


def _reference() -> Callable[..., Any]:
    from oscbench.ops.torus import reference

    return reference.run


def _sdpa() -> Callable[..., Any]:
    from oscbench.ops.torus import sdpa

    return sdpa.run


def _blocked() -> Callable[..., Any]:
    from oscbench.ops.torus import blocked

    return blocked.run


def _triton() -> Callable[..., Any]:
    from oscbench.ops.torus import triton

    return triton.run


def _triton_why_not(call: Call) -> str | None:
    size = torch.float32.itemsize if call.dtype is None else call.dtype.itemsize
    if call.width is not None and call.dtype != torch.float64 and 2 * call.width * size > WIDEST_BYTES:
        return f"a row of {2 * call.width} sines and cosines is wider than {WIDEST_BYTES} bytes"
    # Any narrower width is filled up.
    return triton_tools.why_not(replace(call, width=None))


def _sdpa_why_not(call: Call) -> str | None:
    if not call.options.get("include_self", True) and not call.options.get("is_causal", True):
        return "without self and not causal there is no fused form"
    return None


def _automatic(call: Call) -> list[str]:
    # On the CPU `blocked` is one autograd function around the same kernel. Elsewhere, causal without self, `sdpa` runs the fastest one;
    # with self only `triton` and `blocked` keep the digits that a dominant own score takes from `sdpa`.
    if call.device.type == "cpu":
        return ["blocked", "sdpa"]
    with_self = call.options.get("include_self", True)
    return ["triton", "blocked", "sdpa"] if with_self else ["sdpa", "triton", "blocked"]


def _counted(heads: int, tokens: int, width: int, *, drift: bool = True, lag: bool = True) -> Operations:
    """Scores and mean sines of n = `width` angles, each a (cos, sin), so 8BHN²n FLOPs; a softmax; and the angles themselves."""
    angles = heads * tokens * width
    # Sine and cosine of an angle; gate and tangent scale (2 each), drift and lag turn them where they are (4 each).
    own = Operations(trigonometric=2 * angles, elementwise=4 * (1 + drift + lag) * angles)
    return pair_products(heads, tokens, 4 * width) + softmax_stage(heads, tokens) + own


def _sampled(size: OpSize, draw: Draw) -> Sample:
    return Sample({"theta": draw(*size.shape), "gate": draw(*size.shape)}, {"include_self": False})


OP = Op(
    "torus_attention",
    [
        Backend("reference", _reference, note="the equations, N² · n sines and cosines"),
        Backend("sdpa", _sdpa, _sdpa_why_not, note="one torch scaled_dot_product_attention of width 2n"),
        Backend("blocked", _blocked, note="attention over the others, self put back exactly"),
        memory_efficient.backend_of("oscbench.ops.torus.sdpa"),
        Backend(
            "triton", _triton, _triton_why_not, note="our own flash kernels, which leave the diagonal out"
        ),
    ],
    automatic=_automatic,
    counted=_counted,
    sampled=_sampled,
    pair_numbers=lambda width: width,
    rank=3,
)


def torus_attention(
    theta: Tensor,
    gate: Tensor,
    *,
    drift: Tensor | None = None,
    lag: Tensor | None = None,
    include_self: bool = True,
    is_causal: bool = True,
    key_padding_mask: Tensor | None = None,
    backend: str = "auto",
) -> Tensor:
    """The pull on every angle: the attention-weighted mean of sin(θ_u - θ_t), tangent to the torus.

    s_tu = Σ_n g_tn cos(φ_tn + lag_n - φ_un), φ_tn = θ_tn + t·drift_n, A = softmax_u(s),
    Δ_tn = Σ_u A_tu sin(θ_un - θ_tn).
    Source: Kuramoto attention, arXiv 2606.11585; `lag` is Sakaguchi's phase lag.

    Args:
        theta: angles [rad], (B, H, N, n).
        gate: g, broadcastable to (B, H, N, n).
        drift: (n,) [rad per index], or ready angles [rad] broadcastable to (B, H, N, n) with two or more
            dimensions. It turns the score only, never the values.
        lag: phase lag of the receiver in the score [rad], (H, 1, n).
        include_self: whether a token hears itself (its own pull is 0, so it slows its update).
        is_causal: receiver t hears only senders u ≤ t.
        key_padding_mask: (B, N) bool, True = padding, which nobody hears.
        backend: `auto`, or one of `oscbench.ops.backends("torus_attention")`.

    Returns:
        The tangent Δ [rad], like theta. A token with nobody to hear gets 0.

    Raises:
        ValueError: shapes, dtypes or devices do not agree, or the backend cannot run this call.
    """
    name = OP.name
    checks.same_kind(name, theta=theta)
    checks.heads_tokens(name, theta=theta)
    for what, x in (("gate", gate), ("drift", drift), ("lag", lag)):
        if x is not None:
            _broadcasts(name, what, x, theta)
    checks.padding(name, key_padding_mask, theta)
    options = {
        "drift": drift,
        "lag": lag,
        "include_self": include_self,
        "is_causal": is_causal,
        "key_padding_mask": key_padding_mask,
    }
    chosen = OP.choose(backend, call_of(theta, **options))
    tangent: Tensor = chosen.load()(theta, gate, **options)
    return tangent


def _broadcasts(op: str, what: str, x: Tensor, theta: Tensor) -> None:
    if x.device != theta.device:
        raise ValueError(f"{op}: theta is on {theta.device} but {what} is on {x.device}")
    try:
        both = torch.broadcast_shapes(x.shape, theta.shape)
        fits = both == theta.shape
    except RuntimeError:
        fits = False
    if not fits:
        raise ValueError(
            f"{op}: {what} is {checks.shape_of(x)}, "
            f"which does not broadcast to theta {checks.shape_of(theta)}"
        )


op = OP

"""KoPE attention: queries, keys and values seen in the frame of each token's phases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from oscbench.ops import checks, memory_efficient, triton_tools
from oscbench.ops.dispatch import Backend, Call, call_of
from oscbench.ops.op import Draw, Op, OpSize, Sample
from oscbench.ops.operations import Operations, pair_products, softmax_stage
from oscbench.ops.phases import mix_phases
from oscbench.ops.precision import as_given


def _reference() -> Callable[..., Any]:
    from oscbench.ops.kope import reference

    return reference.run


def _sdpa() -> Callable[..., Any]:
    from oscbench.ops.kope import sdpa

    return sdpa.run


def _triton() -> Callable[..., Any]:
    from oscbench.ops.kope import triton

    return triton.run


def _automatic(call: Call) -> list[str]:
    # The kernels are for GPUs; in the interpreter they are a test.
    return ["triton", "sdpa"] if call.device.type == "cuda" else ["sdpa"]


def _counted(
    heads: int, tokens: int, width: int, *, value_width: int | None = None, rotated: int = 4
) -> Operations:
    """Scores and values, so 2BHN²(d + d_v) FLOPs; a softmax; `rotated` of q, k, v and the output turned, 2 without values."""
    channels = width + (width if value_width is None else value_width)
    # A turned channel is c·x ± s·y: two multiply-adds.
    turned = Operations(elementwise=2 * rotated * heads * tokens * width)
    return pair_products(heads, tokens, channels) + softmax_stage(heads, tokens) + turned


def _sampled(size: OpSize, draw: Draw) -> Sample:
    leaves = {name: draw(*size.shape) for name in ("q", "k", "v")}
    angles = draw(*size.shape[:3], size.width // 2)
    return Sample(leaves, {"cos": angles.cos(), "sin": angles.sin()})


OP = Op(
    "kope_attention",
    [
        Backend("reference", _reference, note="the equations, N x N scores"),
        Backend("sdpa", _sdpa, note="rotations around torch scaled_dot_product_attention"),
        memory_efficient.backend_of("oscbench.ops.kope.sdpa"),
        Backend(
            "triton",
            _triton,
            triton_tools.why_not,
            note="our own rotation kernels around torch scaled_dot_product_attention",
        ),
    ],
    automatic=_automatic,
    counted=_counted,
    sampled=_sampled,
    rank=1,
)


def kope_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cos: Tensor,
    sin: Tensor,
    *,
    rotate_values: bool = True,
    is_causal: bool = False,
    key_padding_mask: Tensor | None = None,
    backend: str = "auto",
) -> Tensor:
    """Attention between rotated queries and keys, over rotated values, rotated back at the receiver.

    o = R(-φ) softmax(R(φ)q (R(φ)k)ᵀ/√d) R(φ)v, so the score sees φ_i - φ_j and a value arrives turned by φ_j - φ_i.
    Source: KoPE, arXiv 2604.07904, attention with phase rotation. `rotate_values=False` with phases fixed by
    position is RoPE (arXiv 2104.09864).

    Args:
        q: receivers, (B, H, N, d), d even.
        k: senders, (B, H, N, d).
        v: what the senders say, (B, H, N, d).
        cos: cosines of the phases, broadcastable to (B, H, N, d/2); float32 beside bfloat16 tokens is
            welcome.
        sin: sines, same shape.
        rotate_values: turn v by the sender's phase and the result back by the receiver's.
        is_causal: receiver i hears only senders j ≤ i.
        key_padding_mask: (B, N) bool, True = padding, which nobody hears.
        backend: `auto`, or one of `oscbench.ops.backends("kope_attention")`.

    Returns:
        Like v. A token with nobody to hear gets 0.

    Raises:
        ValueError: shapes, dtypes or devices do not agree, or the backend cannot run this call.
    """
    options = {"rotate_values": rotate_values, "is_causal": is_causal, "key_padding_mask": key_padding_mask}
    chosen = _chosen(backend, q, k, v, cos, sin, options)
    out: Tensor = chosen.load()(q, k, v, cos, sin, **options)
    return out


def mixed_kope_attention(
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
    backend: str = "auto",
) -> tuple[Tensor, Tensor, Tensor]:
    """`mix_phases`, then `kope_attention` in the mixed phases; `triton` mixes in the kernel that turns q, k and v.

    Args:
        q: as for `kope_attention`, like all that is not named here.
        k: same.
        v: same.
        cos: cosines of the phases before the mixing, (B, H, N, d/2).
        sin: sines, same shape.
        mix: M, (H, d/2, d/2).
        rotate_values: same.
        is_causal: same.
        key_padding_mask: same.
        backend: same.

    Returns:
        What `kope_attention` gives, and the mixed cos and sin.

    Raises:
        ValueError: shapes, dtypes or devices do not agree, or the backend cannot run this call.
    """
    options: dict[str, Any] = {
        "rotate_values": rotate_values,
        "is_causal": is_causal,
        "key_padding_mask": key_padding_mask,
    }
    chosen = _chosen(backend, q, k, v, cos, sin, options)
    if chosen.name != "triton":
        cos, sin = mix_phases(cos, sin, mix)
        return chosen.load()(q, k, v, cos, sin, **options), cos, sin
    from oscbench.ops.kope.triton import mixed_attention

    with as_given(q.device):
        return mixed_attention(q, k, v, cos, sin, mix, **options)


def _chosen(
    backend: str, q: Tensor, k: Tensor, v: Tensor, cos: Tensor, sin: Tensor, options: dict[str, Any]
) -> Backend:
    name = OP.name
    checks.same_kind(name, q=q, k=k, v=v)
    checks.heads_tokens(name, q=q, k=k, v=v)
    checks.same_width(name, q=q, k=k)
    if options["rotate_values"]:
        checks.same_width(name, q=q, v=v)
    checks.phases(name, cos, sin, q)
    checks.padding(name, options["key_padding_mask"], q)
    return OP.choose(backend, call_of(q, **options))


op = OP

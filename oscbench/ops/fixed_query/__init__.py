"""Fixed-query oscillator attention: free oscillators on a sphere settle between learned anchors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.nn import functional

from oscbench.ops import checks, triton_tools
from oscbench.ops.dispatch import Backend, Call, call_of
from oscbench.ops.fixed_query.cost import counted
from oscbench.ops.fixed_query.reference import COUPLINGS
from oscbench.ops.op import Draw, Op, OpSize, Sample

EXPONENTS = (1, 2, 4)
OSCILLATOR_WIDTH = 8
"""Dimension of the anchors in sample inputs."""


def _reference() -> Callable[..., Any]:
    from oscbench.ops.fixed_query import reference

    return reference.run


def _blocked() -> Callable[..., Any]:
    from oscbench.ops.fixed_query import blocked

    return blocked.run


def _blocked_why_not(call: Call) -> str | None:
    # Asked without importing the backend: it would register its custom ops.
    if not call.options.get("mask_readout", True):
        return "mask_readout=False is the published behaviour, which the reference alone computes"
    return None


def _triton() -> Callable[..., Any]:
    from oscbench.ops.fixed_query import triton

    return triton.run


def _triton_why_not(call: Call) -> str | None:
    return _blocked_why_not(call) or triton_tools.why_not(call)


def _automatic(call: Call) -> list[str]:
    # The kernels are for GPUs; in the interpreter they are a test, a thousand times slower than `blocked`.
    return ["triton", "blocked"] if call.device.type == "cuda" else ["blocked"]


def _sampled(size: OpSize, draw: Draw) -> Sample:
    leaves = {name: draw(*size.shape) for name in ("q", "k", "v")}
    anchors = draw(size.heads, size.tokens, OSCILLATOR_WIDTH)
    leaves["anchors"] = functional.normalize(anchors.float(), dim=-1).to(anchors.dtype)
    return Sample(leaves, {"validate": False})


OP = Op(
    "fixed_query_attention",
    [
        Backend("reference", _reference, note="the equations, N x N tensors"),
        Backend("blocked", _blocked, _blocked_why_not, note="tiles in plain PyTorch, linear read-out"),
        Backend(
            "triton", _triton, _triton_why_not, note="our own kernels: pull and read-out in one for p = 1"
        ),
    ],
    # Forward 10.6 and forward + backward 8.6 times as fast as the literal form on two CPU cores (H 8, N 2048, d 64).
    automatic=_automatic,
    counted=counted,
    sampled=_sampled,
    sample_sizes={"oscillator_width": OSCILLATOR_WIDTH},
    rank=5,
)


def fixed_query_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    anchors: Tensor,
    *,
    coupling: str = "softplus",
    exponent: int = 1,
    mask_readout: bool = True,
    is_causal: bool = False,
    key_padding_mask: Tensor | None = None,
    backend: str = "auto",
    validate: bool | None = None,
) -> Tensor:
    """Every token's oscillator settles in the anchors' weighted direction and reads out by nearness to each.

    W_ij = coupling(q_i·k_j/√d), h_i = Σ_j W_ij r_j, x*_i = h_i/‖h_i‖ (the fixed point of ẋ = (I - xxᵀ) h),
    a_ij = (1 + x*_i·r_j)^p, out_i = Σ_j a_ij v_j / Σ_j a_ij. Source: arXiv 2606.12059.

    Args:
        q: (B, H, N, d).
        k: (B, H, N, d).
        v: what the senders say, (B, H, N, ·).
        anchors: unit vectors r, (H, max_len, d_osc) with max_len ≥ N; anchor j belongs to position j.
        coupling: `softplus`, `relu` (relu(x) + 1e-3) or `elu` (elu(x) + 1).
        exponent: p, one of 1, 2, 4; larger is sharper.
        mask_readout: keep padding out of the read-out too; False is the published behaviour (reference only).
        is_causal: receiver i hears only senders j ≤ i, in the pull and in the read-out.
        key_padding_mask: (B, N) bool, True = padding.
        backend: `auto`, or one of `oscbench.ops.backends("fixed_query_attention")`.
        validate: check that anchors are unit; by default in eager mode on the CPU only. False allows the
            authors' free anchors, for which `auto` takes the reference: the linear read-out is exact for unit anchors alone, also where
            another backend is asked for by name.

    Returns:
        Like v. A token with nobody to hear gets 0.

    Raises:
        ValueError: shapes, dtypes or devices do not agree, fewer anchors than tokens, anchors that are not
            unit, an unknown coupling or exponent, or the backend cannot run this call.
    """
    name = OP.name
    checks.same_kind(name, q=q, k=k, v=v)
    checks.heads_tokens(name, q=q, k=k, v=v)
    checks.same_width(name, q=q, k=k)
    checks.padding(name, key_padding_mask, q)
    _check_kind(name, coupling, exponent)
    _check_anchors(name, anchors, q, validate)
    anchors = anchors[:, : q.shape[-2]]
    options = {
        "coupling": coupling,
        "exponent": exponent,
        "mask_readout": mask_readout,
        "is_causal": is_causal,
        "key_padding_mask": key_padding_mask,
    }
    wanted = "reference" if validate is False and backend == "auto" else backend
    chosen = OP.choose(wanted, call_of(q, oscillator_width=anchors.shape[-1], **options))
    out: Tensor = chosen.load()(q, k, v, anchors, **options)
    return out


def _check_kind(op: str, coupling: str, exponent: int) -> None:
    if coupling not in COUPLINGS:
        raise ValueError(f'{op}: coupling must be one of {", ".join(COUPLINGS)}; got "{coupling}"')
    if exponent not in EXPONENTS:
        raise ValueError(f"{op}: exponent must be one of 1, 2, 4; got {exponent}")


def _check_anchors(op: str, anchors: Tensor, q: Tensor, validate: bool | None) -> None:
    checks.same_kind(op, anchors=anchors)
    if anchors.device != q.device:
        raise ValueError(f"{op}: q is on {q.device} but anchors are on {anchors.device}")
    if anchors.dim() != 3 or anchors.shape[0] != q.shape[1]:
        raise ValueError(
            f"{op}: anchors must be (H, max_len, d_osc) for q {checks.shape_of(q)}; "
            f"got {checks.shape_of(anchors)}"
        )
    if anchors.shape[1] < q.shape[-2]:
        raise ValueError(
            f"{op}: there are anchors for {anchors.shape[1]} positions "
            f"but q {checks.shape_of(q)} has {q.shape[-2]}"
        )
    if checks.values_are_checked(q, validate):
        off = float((anchors.detach().double().norm(dim=-1) - 1.0).abs().max())
        if off > 1e-2:
            raise ValueError(f"{op}: anchors must be unit vectors; a norm is off by {off:.3g}")


op = OP

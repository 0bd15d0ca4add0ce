"""xformers' `memory_efficient_attention` as the kernel of the four softmax-form ops, on CUDA.

xformers is imported when first asked about, quietly, and tried once on a tiny CUDA call: a build for another
PyTorch imports well and has no kernels. Since some versions it hands over to PyTorch's own flash or
memory-efficient kernel (operator names that end in `-pt`); the note of the backend says which operator ran
and whether it is PyTorch's.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import warnings
from typing import Any

import torch
from torch import Tensor

from oscbench.ops.dispatch import Backend, Call

_ALIGNMENT = 8


@functools.cache
def operators() -> Any:
    """The module `xformers.ops`, imported without its log line about missing extensions.

    Raises:
        ImportError: not installed, or broken.
    """
    logger = logging.getLogger("xformers")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("xformers.ops")
    finally:
        logger.setLevel(before)


@functools.cache
def probe() -> tuple[str | None, str]:
    """Whether a tiny CUDA call runs: (the reason it does not or None, the name of the operator that ran)."""
    try:
        ops = operators()
        q = torch.randn(1, 16, 1, 32, device="cuda", dtype=torch.float16)
        ops.memory_efficient_attention(q, q, q, attn_bias=ops.LowerTriangularMask())
    except (ImportError, NotImplementedError, RuntimeError, AttributeError, AssertionError, OSError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return f"xformers does not run here: {lines[0]}", ""
    return None, operator_name(ops, q)


def operator_name(ops: Any, q: Tensor) -> str:
    """The operator that xformers' own dispatch picks for inputs like q, or `unnamed`."""
    try:
        chosen = ops.fmha._dispatch_fw(ops.fmha.Inputs(q, q, q), False)
    except (AttributeError, TypeError, NotImplementedError):
        return "unnamed"
    return str(getattr(chosen, "NAME", chosen))


def why_not(call: Call) -> str | None:
    """Why xformers cannot run this call, or None."""
    if importlib.util.find_spec("xformers") is None:
        return "xformers is not installed"
    if call.device.type != "cuda":
        return f"xformers needs CUDA, the inputs are on {call.device.type}"
    if call.dtype == torch.float64:
        return "xformers has no float64 kernels"
    if call.width is not None and call.width % _ALIGNMENT:
        return f"xformers takes widths that are a multiple of {_ALIGNMENT}, got {call.width}"
    return probe()[0]


def note() -> str:
    """What really runs, for the table of backends."""
    if not torch.cuda.is_available():
        return "xformers memory_efficient_attention"
    reason, name = probe()
    if reason is not None:
        return reason
    whose = ", which is PyTorch's own kernel" if name.endswith("-pt") else ""
    return f"xformers memory_efficient_attention, operator {name}{whose}"


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """`scaled_dot_product_attention`'s arguments, xformers' kernel; (B, H, N, d) in and out.

    Args:
        q: receivers.
        k: senders.
        v: what the senders say.
        attn_mask: (B, 1, 1, N) bool, True = heard; becomes a bias that is stored once a sender, not N × N.
        is_causal: receiver i hears only senders j ≤ i.
        scale: factor on the scores.
    """
    ops = operators()
    bias = ops.LowerTriangularMask() if is_causal else None
    if attn_mask is not None:
        bias = sender_bias(attn_mask, q)
    swapped = [x.transpose(1, 2) for x in (q, k, v)]
    out: Tensor = ops.memory_efficient_attention(*swapped, attn_bias=bias, scale=scale)
    return out.transpose(1, 2)


def sender_bias(heard: Tensor, q: Tensor) -> Tensor:
    """0 or -inf for each sender, expanded over heads and receivers; rows lie 8 apart as the kernels want."""
    tokens = heard.shape[-1]
    room = -(-tokens // _ALIGNMENT) * _ALIGNMENT
    bias = torch.zeros(heard.shape[0], 1, 1, room, dtype=q.dtype, device=q.device)
    bias[..., :tokens].masked_fill_(~heard, -torch.inf)
    return bias.expand(-1, q.shape[1], q.shape[-2], -1)[..., :tokens]


def backend_of(module: str) -> Backend:
    """The `xformers` backend of an op whose fused form is `module.run` with a kernel to be named."""

    def load() -> Any:
        return functools.partial(importlib.import_module(module).run, attend=attend)

    return Backend("xformers", load, why_not, note=note)

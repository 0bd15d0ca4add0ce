"""PyTorch's fused attention with our laws: no N × N mask, padding never heard, nobody to hear gives 0."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from oscbench.ops.dispatch import constant_to_compilers, observed, observing
from oscbench.ops.masking import hears_nobody, real_tokens_first, return_tokens, silence, take_tokens

SHORT = 64
KERNELS = (
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.MATH,
)
"""PyTorch's kernels on CUDA, the first that can run a call is taken.

Flash runs half precision without a mask up to width 256; the memory-efficient one all else, float32 and padding masks too; cuDNN's builds a
plan for each new shape, so it stands where only it is left before N × N tensors. That order does not change with PyTorch's release.
"""
_held: list[AbstractContextManager[Any]] = []
# Any kernel with `scaled_dot_product_attention`'s arguments.
Attend = Callable[..., Tensor]


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    scale: float,
    is_causal: bool,
    key_padding_mask: Tensor | None,
    include_self: bool = True,
    attend: Attend = scaled_dot_product_attention,
) -> Tensor:
    """softmax(q kᵀ · scale) v through `scaled_dot_product_attention`, memory linear in N.

    On CUDA PyTorch's kernels are put in the order of `KERNELS` first, for the process.
    Causal with padding: the real tokens are put first, after which causality alone keeps padding out.
    Causal without self: receivers 1.. against senders ..N-2, and the first token hears nobody.
    Without self and not causal there is no fused form; ask for another backend.
    """
    if q.is_cuda and attend is scaled_dot_product_attention:
        put_kernels_in_order()
    if key_padding_mask is None:
        return _plain(q, k, v, attend, scale=scale, is_causal=is_causal, include_self=include_self)
    k, v = silence(k, key_padding_mask), silence(v, key_padding_mask)
    nobody = hears_nobody(key_padding_mask, is_causal)
    if is_causal:
        order = real_tokens_first(key_padding_mask)
        q, k, v = (take_tokens(x, order) for x in (q, k, v))
        out = _plain(q, k, v, attend, scale=scale, is_causal=True, include_self=include_self)
        out = return_tokens(out, order)
    else:
        # A sequence of padding alone hears itself here, so that no softmax runs over nothing; then it gets 0.
        hears = ~key_padding_mask[:, None, None, :] | nobody
        _note_kernel(attend, q, k, v, hears, scale=scale, is_causal=False)
        out = keep_nan(attend(q, k, v, attn_mask=hears, scale=scale), q)
    return out.masked_fill(nobody, 0.0)


@constant_to_compilers
def put_kernels_in_order() -> bool:
    """Put PyTorch's kernels in the order of `KERNELS`, once a process; those switched off stay off. Returns True.

    The context stays open, since entering it costs the processor more than a small call's attention does. A compiler calls this when it
    traces, and finds a constant.
    """
    if not _held:
        switches = torch.backends.cuda
        on = {
            switches.enable_flash_sdp: switches.flash_sdp_enabled(),
            switches.enable_mem_efficient_sdp: switches.mem_efficient_sdp_enabled(),
            switches.enable_cudnn_sdp: switches.cudnn_sdp_enabled(),
            switches.enable_math_sdp: switches.math_sdp_enabled(),
        }
        _held.append(sdpa_kernel(list(KERNELS), set_priority=True))
        _held[0].__enter__()
        for switch, value in on.items():
            switch(value)
    return True


def _plain(
    q: Tensor, k: Tensor, v: Tensor, attend: Attend, *, scale: float, is_causal: bool, include_self: bool
) -> Tensor:
    if is_causal and scale <= 0 and q.device.type == "cpu":
        # PyTorch's CPU kernel scales what it has masked with -inf: NaN at 0, and +inf below.
        q, scale = q * scale, 1.0
    if include_self:
        _note_kernel(attend, q, k, v, None, scale=scale, is_causal=is_causal)
        return keep_nan(attend(q, k, v, is_causal=is_causal, scale=scale), q)
    assert is_causal, "the fused form without self is causal"
    first = torch.zeros_like(v[..., :1, :])
    if q.shape[-2] == 1:
        # Added as zeros, so that every gradient is 0 and none is missing.
        return first + 0.0 * v + (0.0 * q + 0.0 * k).sum(-1, keepdim=True)
    others = attend(q[..., 1:, :], k[..., :-1, :], v[..., :-1, :], is_causal=True, scale=scale)
    return torch.cat((first, keep_nan(others, q[..., 1:, :])), dim=-2)


def _note_kernel(
    attend: Attend, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, *, scale: float, is_causal: bool
) -> None:
    """Note which kernel PyTorch takes for a call, where somebody collects what runs: flash, efficient, cuDNN's or none fused."""
    if attend is scaled_dot_product_attention and observing() and not q.is_meta:
        choice = torch._fused_sdp_choice(q, k, v, mask, 0.0, is_causal, scale=scale)
        observed("scaled_dot_product_attention", SDPBackend(choice).name.lower())


def keep_nan(out: Tensor, q: Tensor) -> Tensor:
    """The output with NaN in the rows whose query is broken.

    PyTorch's CPU kernel takes a row of NaN scores for one that hears nobody, and gives 0, when there are
    fewer senders than a vector register holds (seen in 2.13 at N = 5, not at 40).
    """
    if q.device.type != "cpu" or q.shape[-2] > SHORT:
        return out
    return out + (q.detach() * 0.0).sum(-1, keepdim=True)

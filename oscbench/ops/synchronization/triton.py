"""Selective synchronization through Triton kernels: CUDA, or the CPU in Triton's interpreter."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from oscbench.ops.masking import silence
from oscbench.ops.synchronization import registration, tiles, triton_kernels, triton_ready_kernels
from oscbench.ops.synchronization.order import backend_through
from oscbench.ops.triton_tools import grid, padding_bytes, power_of_two, product_settings

NO_BOUND = 3e38
FILL = 128


@dataclass(frozen=True)
class Ready:
    """What the kernels read: heads flattened to P = B·H, contiguous.

    Numbers a token are filled up to a multiple of 128 tokens, with what locks to nobody, so that the kernels read
    them without a mask.

    Attributes:
        omega: shifted frequencies, (P, N, d), in the inputs' dtype.
        v: values, 0 for padding, (P, N, d_v).
        plain: |ω|², (P, S) float32 like all that follow, S the filled-up N.
        norms: the same with 1e30 for padding.
        near: 1/(Kr)², 0 where nothing is in reach.
        spent: |ω|²/(Kr)², plus 2 where nothing is in reach.
        fade: -2α|ω|² log₂e.
        rate: -2α log₂e, (P,).
    """

    omega: Tensor
    v: Tensor
    plain: Tensor
    norms: Tensor
    near: Tensor
    spent: Tensor
    fade: Tensor
    rate: Tensor


def prepare(
    omega: Tensor,
    order: Tensor,
    v: Tensor,
    coupling: Tensor,
    alpha: Tensor,
    key_padding_mask: Tensor | None,
    is_causal: bool,
) -> Ready:
    """The op's inputs as the kernels want them, in two launches.

    Frequencies are taken less a constant of the head and channel, so that an offset costs no digits in Δ². float32: the middle of the
    range, or causal the first real token (no later token then moves an earlier result by a rounding). Half precision: the middle is
    taken off only where that is exact, which it is when all values lie between half and three halves of it; causal: nothing, since
    whether it is exact would depend on later tokens. Products of half precision numbers are exact in float32, so an offset costs
    little there. And three products of tf32 are exact enough for Δ², whose error the locking edge magnifies, because frequencies are centred.
    """
    batch, heads, tokens, width = omega.shape
    half = omega.dtype != torch.float32
    filled = -(-tokens // FILL) * FILL
    omega = omega if omega.stride(-1) == 1 else omega.contiguous()
    order = order.expand(batch, heads, tokens)
    # A number stands there once and is spread over the heads with stride 0; the kernels read one a head.
    coupling, alpha = coupling.contiguous(), alpha.contiguous()
    padding = padding_bytes(key_padding_mask, omega)
    shape = {"D": width, "BLOCK_D": power_of_two(width), "PADDED": key_padding_mask is not None}
    shift = torch.empty(batch * heads, width, dtype=torch.float32, device=omega.device)
    shifts = not (half and is_causal)
    if shifts:
        triton_ready_kernels.shift_kernel[(batch * heads,)](
            omega, padding, shift, *omega.stride()[:3], heads, tokens,
            FIRST=is_causal, HALF=half, **shape,
        )  # fmt: skip
    ready = torch.empty(batch * heads, tokens, width, dtype=omega.dtype, device=omega.device)
    plain, norms, near, spent, fade = torch.empty(
        5, batch * heads, filled, dtype=torch.float32, device=omega.device
    ).unbind()
    rate = torch.empty(batch * heads, dtype=torch.float32, device=omega.device)
    triton_ready_kernels.ready_kernel[lambda meta: (batch * heads, -(-filled // meta["BLOCK"]))](
        omega, order, coupling, alpha, padding, shift, ready, plain, norms, near, spent, fade, rate,
        *omega.stride()[:3], *order.stride(), heads, tokens, filled, SHIFTED=shifts, **shape,
    )  # fmt: skip
    values = silence(v, key_padding_mask).flatten(0, 1).contiguous()
    return Ready(ready, values, plain, norms, near, spent, fade, rate)


@torch.library.custom_op("oscbench::selective_synchronization_triton", mutates_args=())
def synchronize(
    omega: Tensor,
    order: Tensor,
    v: Tensor,
    coupling: Tensor,
    alpha: Tensor,
    key_padding_mask: Tensor | None,
    edge: float,
    is_causal: bool,
) -> tuple[Tensor, Tensor]:
    """(Σ_j S_ij v_j / T_i in v's dtype, T_i = Σ_j S_ij + 1e-8 in float32); arguments as of the `blocked` op."""
    ready = prepare(omega, order, v, coupling, alpha, key_padding_mask, is_causal)
    problems, tokens, _ = ready.omega.shape
    out = torch.empty_like(ready.v).view(v.shape)
    total = torch.empty(*v.shape[:3], 1, dtype=torch.float32, device=v.device)
    triton_kernels.forward_kernel[grid(problems, tokens)](
        ready.omega, ready.v, ready.norms, ready.near, ready.spent, ready.fade, ready.rate, out, total, tokens, ready.norms.shape[1],
        **product_settings(omega, v, is_causal),
    )  # fmt: skip
    return out, total


synchronize.register_fake(registration.mean_and_sum_like)


@torch.library.custom_op("oscbench::selective_synchronization_triton_backward", mutates_args=())
def synchronize_backward(
    grad: Tensor,
    mean: Tensor,
    total: Tensor,
    omega: Tensor,
    order: Tensor,
    v: Tensor,
    coupling: Tensor,
    alpha: Tensor,
    key_padding_mask: Tensor | None,
    edge: float,
    is_causal: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients to ω, r, v, K and α."""
    ready = prepare(omega, order, v, coupling, alpha, key_padding_mask, is_causal)
    problems, tokens, _ = ready.omega.shape
    # Over the sum of who hears nobody, 1e-8, float16 would overflow, and infinity times no strength is NaN.
    slopes = (grad.float() / total).masked_fill(total <= tiles.SUM_EPSILON, 0.0)
    push = (slopes * mean.float()).sum(dim=-1).view(problems, tokens)
    slopes = slopes.to(v.dtype).view(ready.v.shape)
    products = product_settings(omega, v, is_causal)
    # One pass serves a token as receiver and as sender, if every pair is heard both ways, and both fit the shared memory of small GPUs.
    row = max(products["BLOCK_D"], products["BLOCK_V"]) * omega.element_size()
    both = not is_causal and key_padding_mask is None and row <= triton_kernels.ROWS[-1]
    roles = (0,) if both else (1, 2)
    d_omega = [torch.empty(ready.omega.shape, dtype=torch.float32, device=v.device) for _ in roles]
    d_v = torch.empty(ready.v.shape, dtype=torch.float32, device=v.device)
    gaps, faded = (torch.empty_like(push) for _ in range(2))
    push = torch.nn.functional.pad(push, (0, -tokens % FILL)).contiguous()
    bound = 1.0 / edge if edge > 0.0 else NO_BOUND
    for role, into in zip(roles, d_omega, strict=True):
        triton_kernels.backward_kernel[grid(problems, tokens)](
            ready.omega, ready.v, slopes, ready.norms, ready.plain, ready.near, ready.spent, ready.fade, push,
            ready.rate, d_v, into, gaps, faded, bound, tokens, ready.norms.shape[1], ROLE=role, **products,
        )  # fmt: skip
    once = 0.5 if roles == (0,) else 1.0  # role 0 has met every pair twice
    shape = v.shape[:3]
    spent = (once * gaps * ready.near[:, :tokens] ** 2).view(shape)
    if order.shape[-1] == 1:
        spent = spent.sum(dim=-1, keepdim=True)
    reach, order_wide = coupling.float()[:, None], order.float()
    found = silence(sum(d_omega[1:], d_omega[0]).view(omega.shape), key_padding_mask)
    return (
        found.to(omega.dtype),
        (spent * reach**2 * order_wide).to(order.dtype),
        silence(d_v.view(v.shape), key_padding_mask).to(v.dtype),
        (spent * reach * order_wide**2).sum(dim=(0, 2)).to(coupling.dtype),
        (-once * faded.view(shape)).sum(dim=(0, 2)).to(alpha.dtype),
    )


registration.register("selective_synchronization_triton", synchronize, synchronize_backward)

run = backend_through(synchronize)
"""The public function's backend."""

"""Selective synchronization one tile at a time, forward and backward, for `blocked` and `sparse`.

With u = Δ²/(Kr)² and c = -2α(Kr)² the law S² = max(0, exp(-2αΔ²) - Δ²/(Kr)²) reads S² = max(0, exp(c u) - u).
u comes out of one matrix product: |ω_i|² + |ω_j|² - 2 ω_i·ω_j is the product of (-2ω_i, |ω_i|², 1), scaled by
the receiver's 1/(Kr)², with (ω_j, 1, |ω_j|²). The sum that divides the mean is one more column of the values.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from oscbench.ops.masking import silence
from oscbench.ops.phases import at_least_float32
from oscbench.ops.synchronization.plan import Scratch, Tile

SUM_EPSILON = 1e-8
# exp2 of less is close to the denormals, which are slow; S² = exp(..) - u is negative there either way.
LEAST_EXPONENT = -115.0
UNREACHABLE = 2.0  # added to u where K r = 0, so that exp(0) - u < 0 whatever Δ is


@dataclass(frozen=True)
class Law:
    """The options that change the equations.

    Attributes:
        is_causal: receiver i hears j ≤ i.
        top_k: senders kept in a row, or None.
        edge: lower bound of S in the slope of the root.
    """

    is_causal: bool
    top_k: int | None
    edge: float


@dataclass(frozen=True)
class Problem:
    """All heads of a batch as P = B·H problems, laid out for the tiles.

    Attributes:
        given: frequencies as given, in the plan's order, (P, N, d).
        receivers: (-2ω, |ω|², 1)/(Kr)², (P, N, d + 2).
        senders: (ω, 1, |ω|²) with ω centred, (P, N, d + 2).
        reach: (Kr)², 1 where nothing is in reach, (P, N or 1, 1).
        closeness: 1/(Kr)², 0 where nothing is in reach, same shape.
        rate: c, same shape.
        binary_rate: c log2(e), same shape.
        heard: (v, 1), 0 for padding, (P, N, d_v + 1).
        offset: 2 where nothing is in reach, else 0, same shape.
        place: the token's index before sorting, (P, N); None where tokens stand in their own order.
        limit: nothing locks at u above this; infinite where no one asks.
        law: the options.
    """

    given: Tensor
    receivers: Tensor
    senders: Tensor
    reach: Tensor
    closeness: Tensor
    rate: Tensor
    binary_rate: Tensor
    heard: Tensor
    offset: Tensor
    place: Tensor | None
    limit: float
    law: Law

    @property
    def real(self) -> Tensor:
        """1 for tokens that may be heard, 0 for padding, (P, N, 1)."""
        return self.heard[..., -1:]

    def as_sorted(self, x: Tensor) -> Tensor:
        """Tokens of x (P, N, ·) in the order in which the tiles see them."""
        return x if self.place is None else take(x, self.place)

    def in_place(self, x: Tensor) -> Tensor:
        """The inverse of `as_sorted`."""
        return x if self.place is None else take(x, torch.argsort(self.place, dim=-1))

    @property
    def symmetric(self) -> bool:
        """Whether S_ij = S_ji and both are summed in the same way."""
        return self.reach.shape[1] == 1 and not self.law.is_causal and self.law.top_k is None


def centred(omega: Tensor, key_padding_mask: Tensor | None, is_causal: bool) -> Tensor:
    """Frequencies less a constant of the head: Δ does not change, and an offset no longer costs its digits.

    The constant is the mean over real tokens; causal: the first real token, so that no later token moves an
    earlier result by even a rounding. Padding is read as 0 before. Same shape, at least float32.
    """
    omega = at_least_float32(silence(omega, key_padding_mask))
    if is_causal:
        if key_padding_mask is None:
            return omega - omega[:, :, :1]
        first = key_padding_mask.to(torch.uint8).argmin(dim=-1)
        index = first[:, None, None, None].expand(-1, omega.shape[1], 1, omega.shape[-1])
        return omega - omega.gather(2, index)
    if key_padding_mask is None:
        return omega - omega.mean(dim=2, keepdim=True)
    count = (~key_padding_mask).sum(dim=-1).clamp_min(1)[:, None, None, None]
    return omega - omega.sum(dim=2, keepdim=True) / count


def squared_reach(order: Tensor, coupling: Tensor) -> tuple[Tensor, Tensor]:
    """(Kr)² as (B·H, N or 1, 1), and where it is 0 and nothing but oneself locks (there it reads 1)."""
    reach = ((coupling[:, None] * order) ** 2).flatten(0, 1)[..., None]
    # Limits keep 1/(Kr)² times |ω|² finite. NaN passes both.
    nothing = reach <= torch.finfo(reach.dtype).tiny ** 0.8
    return torch.where(nothing, 1.0, reach.clamp_max(1e30)), nothing


def prepare(
    omega: Tensor,
    order: Tensor,
    v: Tensor,
    coupling: Tensor,
    alpha: Tensor,
    key_padding_mask: Tensor | None,
    law: Law,
    sorted_by: Tensor | None = None,
    limit: float = math.inf,
) -> Problem:
    """Inputs of the op as a `Problem`; `sorted_by` (P, N) puts the tokens of each head into another order."""
    batch, heads, tokens, _ = omega.shape
    given = at_least_float32(silence(omega, key_padding_mask)).flatten(0, 1)
    omega = centred(omega, key_padding_mask, law.is_causal).flatten(0, 1)
    wide = omega.dtype
    reach, nothing = squared_reach(order.to(wide), coupling.to(wide))
    closeness = torch.where(nothing, 0.0, 1.0 / reach)
    rate = -2.0 * alpha.to(wide).repeat(batch)[:, None, None] * torch.where(nothing, 0.0, reach)
    values = at_least_float32(silence(v, key_padding_mask)).to(wide).flatten(0, 1)
    real = torch.ones_like(values[..., :1])
    if key_padding_mask is not None:
        real = (~key_padding_mask).to(wide).repeat_interleave(heads, dim=0)[..., None]
    heard = torch.cat((values, real), dim=-1)
    offset = torch.where(nothing, UNREACHABLE, 0.0).to(wide)
    if sorted_by is not None:
        given, omega, heard = (take(x, sorted_by) for x in (given, omega, heard))
        if reach.shape[1] == tokens:
            reach, closeness, rate, offset = (take(x, sorted_by) for x in (reach, closeness, rate, offset))
    receivers, senders = factors(omega, omega, closeness, offset)
    binary_rate = rate * math.log2(math.e)
    # fmt: off
    return Problem(
        given, receivers, senders, reach, closeness, rate, binary_rate, heard, offset, sorted_by, limit, law
    )
    # fmt: on


def factors(receivers: Tensor, senders: Tensor, closeness: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
    """The two factors whose product is u: (-2ω_i, |ω_i|², 1)/(Kr)² + (0, offset, 0) and (ω_j, 1, |ω_j|²)."""
    norms = receivers.square().sum(dim=-1, keepdim=True)
    spread = closeness.expand_as(norms)
    left = torch.cat((-2.0 * closeness * receivers, closeness * norms + offset, spread), dim=-1)
    norms = senders.square().sum(dim=-1, keepdim=True)
    return left, torch.cat((senders, torch.ones_like(norms), norms), dim=-1)


def take(x: Tensor, order: Tensor) -> Tensor:
    """Tokens of x (P, N, ·) in the given order (P, N)."""
    first = torch.arange(x.shape[0], device=x.device)[:, None] * x.shape[1]
    # Whole rows are copied: several times faster on the CPU than `gather` by channel.
    rows = x.flatten(0, 1).index_select(0, (order + first).flatten())
    return rows.view(*order.shape, x.shape[-1])


def part(x: Tensor, tile: Tile, tokens: slice) -> Tensor:
    """The tile's part of x (P, N or 1, ·)."""
    return x[tile.problems] if x.shape[1] == 1 else x[tile.problems, tokens]


def fill_square(problem: Problem, tile: Tile, u: Tensor, locked: Tensor, square: Tensor) -> bool:
    """Write u, exp(c u) and S² of a tile; S² is 0 where the receiver does not hear the sender.

    Returns:
        False where it was seen from u that nothing locks in this tile; then only u was written.
    """
    if problem.place is None or problem.law.is_causal:
        # Causal: a middle of the tile would let later tokens move earlier results by a rounding.
        left = part(problem.receivers, tile, tile.receivers)
        right = part(problem.senders, tile, tile.senders)
    else:
        left, right = _factors_from_here(problem, tile)
    torch.bmm(left, right.mT, out=u)
    if tile.holds_self:
        u.diagonal(tile.offset, 1, 2).mul_(0.0)  # S_ii = 1 also when r = 0; NaN stays NaN
    if problem.limit < math.inf and bool(u.amin() > problem.limit):  # false for NaN, which must be seen
        return False
    # exp2 because PyTorch's float32 exp takes three times as long on the CPUs we measured.
    torch.mul(u, part(problem.binary_rate, tile, tile.receivers), out=locked)
    locked.clamp_(LEAST_EXPONENT, 0.0).exp2_()
    torch.sub(locked, u, out=square).clamp_(0.0, 1.0)
    if problem.law.is_causal:
        _drop_future(problem, tile, square)
    if problem.law.top_k is not None:
        _keep_largest(problem, tile, square)
    return True


def _factors_from_here(problem: Problem, tile: Tile) -> tuple[Tensor, Tensor]:
    """`factors` with frequencies counted from the middle of the tile's receivers.

    Near tokens stand together in a sorted plan, so that Δ² loses no digits to the distance between clusters.
    The frequencies as given are taken, because centring them over the whole head has rounded the others.
    """
    receivers = problem.given[tile.problems, tile.receivers]
    middle = receivers.mean(dim=1, keepdim=True)
    senders = problem.given[tile.problems, tile.senders] - middle
    closeness, offset = (part(x, tile, tile.receivers) for x in (problem.closeness, problem.offset))
    return factors(receivers - middle, senders, closeness, offset)


def _drop_future(problem: Problem, tile: Tile, square: Tensor) -> None:
    if problem.place is not None:
        receivers = problem.place[tile.problems, tile.receivers, None]
        square.masked_fill_(receivers < problem.place[tile.problems, None, tile.senders], 0.0)
    elif tile.senders.stop - 1 > tile.receivers.start:
        square.tril_(tile.offset)


def _keep_largest(problem: Problem, tile: Tile, square: Tensor) -> None:
    assert problem.law.top_k is not None
    square.mul_(part(problem.real, tile, tile.senders).mT)
    largest = square.topk(min(problem.law.top_k, square.shape[-1]), dim=-1)
    square.zero_().scatter_(-1, largest.indices, largest.values)


def forward(problem: Problem, tiles: Iterable[Tile], scratch: Scratch) -> Tensor:
    """(Σ_j S_ij v_j, Σ_j S_ij), (P, N, d_v + 1)."""
    heard = problem.heard
    sums = torch.zeros_like(heard)
    for tile in tiles:
        u, locked, strength = scratch.views(tile.shape)[:3]
        if not fill_square(problem, tile, u, locked, strength):
            continue
        strength.sqrt_()
        part(sums, tile, tile.receivers).baddbmm_(strength, part(heard, tile, tile.senders))
        if tile.both_ways:
            part(sums, tile, tile.senders).baddbmm_(strength.mT, part(heard, tile, tile.receivers))
    return sums


@dataclass(frozen=True)
class Pull:
    """Sums over pairs from which all gradients follow; w_ij is ∂L/∂S_ij / max(S_ij, edge).

    Attributes:
        values: Σ_i S_ij g_i for each sender, (P, N, d_v).
        received: Σ_j w_ij (1 - c e_ij) (ω_j, 1) for each receiver, (P, N, d + 1).
        sent: Σ_i w_ij (1 - c e_ij)/(Kr_i)² (ω_i, 1) for each sender, same shape.
        spent: Σ_j w_ij u_ij, (P, N, 1).
        faded: Σ_j w_ij u_ij e_ij, (P, N, 1).
    """

    values: Tensor
    received: Tensor
    sent: Tensor
    spent: Tensor
    faded: Tensor


def backward(
    problem: Problem, tiles: Iterable[Tile], scratch: Scratch, grad: Tensor, mean: Tensor, total: Tensor
) -> Pull:
    """Sums of the backward pass; S is computed again, tile by tile.

    Args:
        problem: as in the forward pass.
        tiles: as in the forward pass.
        scratch: five buffers.
        grad: ∂L/∂out, (P, N, d_v).
        mean: out, same shape.
        total: Σ_j S_ij + 1e-8, (P, N, 1).
    """
    grad = grad / total
    push = torch.cat((grad, -(grad * mean).sum(dim=-1, keepdim=True)), dim=-1)
    # ∂L/∂S_ij = (push_i · heard_j); with the mirrored pair added: (push_i, heard_i) · (heard_j, push_j).
    left, right = torch.cat((push, problem.heard), dim=-1), torch.cat((problem.heard, push), dim=-1)
    whole = problem.senders[..., :-1].contiguous()
    near = problem.closeness * whole
    zeros = [torch.zeros_like(x) for x in (grad, whole, whole, total, total)]
    pull = Pull(*zeros)
    for tile in tiles:
        u, locked, strength, slope, weight = scratch.views(tile.shape)
        i, j = tile.receivers, tile.senders
        if not fill_square(problem, tile, u, locked, strength):
            continue
        _root_and_slope(problem, tile, strength, slope)
        width = left.shape[-1] if tile.both_ways else push.shape[-1]
        torch.bmm(part(left, tile, i)[..., :width], part(right, tile, j)[..., :width].mT, out=weight)
        weight.mul_(slope)
        part(pull.values, tile, j).baddbmm_(strength.mT, part(grad, tile, i))
        if tile.both_ways:
            part(pull.values, tile, i).baddbmm_(strength, part(grad, tile, j))
        torch.mul(locked, part(problem.rate, tile, i), out=slope)
        torch.addcmul(weight, weight, slope, value=-1.0, out=slope)
        part(pull.received, tile, i).baddbmm_(slope, part(whole, tile, j))
        part(pull.sent, tile, j).baddbmm_(slope.mT, part(near, tile, i))
        part(pull.spent, tile, i).add_(u.mul_(weight).sum(dim=-1, keepdim=True))
        part(pull.faded, tile, i).add_(locked.mul_(u).sum(dim=-1, keepdim=True))
    return pull


def _root_and_slope(problem: Problem, tile: Tile, square: Tensor, slope: Tensor) -> None:
    """Turn S² into S in place; write 1/max(S, edge), 0 where nothing locks and for a token with itself."""
    torch.ops.aten.threshold.out(square, 0.0, math.inf, out=slope)  # infinite where S² = 0; NaN stays
    slope.rsqrt_()
    square.mul_(slope)
    if problem.law.edge > 0.0:
        slope.clamp_max_(1.0 / problem.law.edge)
    if tile.holds_self:
        slope.diagonal(tile.offset, 1, 2).mul_(0.0)


@dataclass(frozen=True)
class Gradients:
    """∂L by input, in the shapes of the op's inputs: (B, H, N, d), like r, (B, H, N, d_v), (H,), (H,)."""

    omega: Tensor
    order: Tensor
    v: Tensor
    coupling: Tensor
    alpha: Tensor


def gradients(problem: Problem, pull: Pull, shape: torch.Size, order: Tensor, coupling: Tensor) -> Gradients:
    """From sums over pairs to the gradients of the inputs.

    S² = e - u, so ∂S²/∂Δ² = -(2αe + 1/(Kr)²), ∂S²/∂α = -2Δ²e, ∂S²/∂(Kr)² = Δ²/(Kr)⁴, and ∂S is
    ∂S²/(2 max(S, edge)).

    Args:
        problem: as in the forward pass.
        pull: sums over pairs.
        shape: of ω, (B, H, N, d).
        order: r, (B, H, N or 1).
        coupling: K, (H,).
    """
    batch, heads, tokens, _ = shape
    each = problem.closeness * pull.received + pull.sent
    omega = each[..., :-1] - each[..., -1:] * problem.senders[..., :-2]
    spent, faded = problem.closeness * pull.spent, problem.reach * pull.faded
    omega, values, real, spent = (problem.in_place(x) for x in (omega, pull.values, problem.real, spent))
    if order.shape[-1] == 1:
        spent = spent.sum(dim=1, keepdim=True)
    spent = spent.view(batch, heads, -1)
    wide = coupling.to(spent.dtype)[:, None]
    order = order.to(spent.dtype)
    return Gradients(
        omega=torch.where(real > 0, omega, 0.0).view(shape),
        order=spent * wide**2 * order,
        v=torch.where(real > 0, values, 0.0).view(batch, heads, tokens, -1),
        coupling=(spent * wide * order**2).sum(dim=(0, 2)),
        alpha=-faded.view(batch, heads, tokens).sum(dim=(0, 2)),
    )

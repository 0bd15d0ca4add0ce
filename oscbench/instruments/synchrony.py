"""What phases and attention have to do with objects: synchrony within and between them, and attention that stays inside.

Synchrony of two tokens is cos(θ_i - θ_j), the mean over heads and oscillators; of pairs, and not of groups, since the order parameter of few
tokens is large by chance. Objects are numbered from 0, -1 is none; tokens that show none take no part, but in attention's whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import one_hot


@dataclass(frozen=True)
class Synchrony:
    """Mean synchrony of pairs of tokens of one object and of two, over the images that have pairs of both kinds.

    Attributes:
        within: of one object.
        between: of two.
        images: how many have both.
    """

    within: float
    between: float
    images: int

    @property
    def gain(self) -> float:
        """How much more in step tokens of one object are than those of two."""
        return self.within - self.between


def synchrony(phases: Tensor, objects: Tensor) -> Synchrony | None:
    """Of phases (B, H, N, m) [rad] and each token's object (B, N); None where no image has pairs of both kinds."""
    member = _members(objects)  # (B, N, K)
    sizes = member.sum(1)
    inside, total = (sizes * (sizes - 1)).sum(1), sizes.sum(1) * (sizes.sum(1) - 1)
    both = (inside > 0) & (total > inside)
    if not bool(both.any()):
        return None
    waves = torch.stack((phases.double().cos(), phases.double().sin()))  # (2, B, H, N, m)
    sums = torch.einsum("cbhnm,bnk->cbhmk", waves, member)
    # Σ over pairs i ≠ j of cos(θ_i - θ_j) is |Σ e^{iθ}|² less the number of tokens.
    of_each = (sums.square().sum((0, -1)) - sizes.sum(1)[:, None, None]).mean((1, 2))
    of_all = (sums.sum(-1).square().sum(0) - sizes.sum(1)[:, None, None]).mean((1, 2))
    within = (of_each / inside)[both]
    between = ((of_all - of_each) / (total - inside))[both]
    return Synchrony(float(within.mean()), float(between.mean()), int(both.sum()))


@dataclass(frozen=True)
class Inside:
    """Attention of tokens to the others of their own object.

    Attributes:
        mass: share of what a token gives others, itself left out, that stays in its object.
        share: share of the others that are in its object: the mass of attention that is even.
        tokens: over how many the mean runs; who gives others nothing in any head is none of them.
    """

    mass: float
    share: float
    tokens: int


def attention_inside(weights: Tensor, objects: Tensor) -> Inside | None:
    """Of attention (B, H, N, N), rows over receivers, and the object (B, N) of each token; None where none in company gives anything.

    Of a token's heads those count in which it gives others something: nothing can be said of where nothing goes.
    """
    count = objects.shape[1]
    same = (objects[:, :, None] == objects[:, None]) & (objects >= 0)[:, :, None]
    others = same & ~torch.eye(count, dtype=torch.bool, device=objects.device)
    given = weights.double().clamp_min(0.0)
    given = given - torch.diag_embed(given.diagonal(dim1=-2, dim2=-1))
    gives = given.sum(-1) > 0  # (B, H, N)
    asked = others.any(-1) & gives.any(1)  # (B, N)
    if not bool(asked.any()):
        return None
    kept = (given * others[:, None]).sum(-1) / given.sum(-1).clamp_min(torch.finfo(torch.float64).tiny)
    mass = (kept.sum(1) / gives.sum(1))[asked]
    share = others.double().sum(-1)[asked] / (count - 1)
    return Inside(float(mass.mean()), float(share.mean()), int(asked.sum()))


def reading_rows(weights: Tensor, special: Tensor) -> Tensor:
    """What the CLS token gives ordinary tokens, as shares of that: (B, H, N, N) -> (B, H, 1, tokens).

    Where there is no CLS, or several special tokens, of which none reads for the whole input, what each ordinary token gives them.

    Args:
        weights: of attention, rows over receivers.
        special: (N,) bool, true for CLS, registers and queries.
    """
    readers = special if int(special.sum()) == 1 else ~special
    given = weights[..., readers, :][..., ~special].double().clamp_min(0.0)
    return given / given.sum(-1, keepdim=True).clamp_min(1e-12)


def mean_of_givers(values: Tensor, rows: Tensor) -> float:
    """Mean of what was found of each row (…, R) over the rows (…, R, N) that hold anything; NaN where none does."""
    return float(values[rows.sum(-1) > 0].mean())


def gini(rows: Tensor) -> Tensor:
    """Gini coefficient of each row (…, N) of weights ≥ 0, 0 for even ones: Σ_i (2i - N - 1) p_(i) / (N Σ p), as in KoPE, arXiv 2604.07904."""
    count = rows.shape[-1]
    order = rows.double().sort(dim=-1).values
    rank = torch.arange(1, count + 1, device=rows.device, dtype=torch.float64)
    found: Tensor = ((2 * rank - count - 1) * order).sum(-1) / (
        count * order.sum(-1).clamp_min(torch.finfo(torch.float64).tiny)
    )
    return found


def weighted_synchrony(rows: Tensor, phases: Tensor) -> Tensor:
    """|Σ_j p_j e^{iθ_j}| of rows (B, H, R, N) that sum to 1 and phases (B, H, N, m), the mean over oscillators: (B, H, R)."""
    cos, sin = phases.double().cos(), phases.double().sin()
    found: Tensor = torch.hypot(rows.double() @ cos, rows.double() @ sin).mean(-1)
    return found


def walked(phases: list[Tensor], generator: torch.Generator) -> list[Tensor]:
    """From the first phases on, steps as long as those taken, of each token, head and oscillator, forwards or backwards by lot."""
    found = [phases[0]]
    for before, after in pairwise(phases):
        step = torch.atan2((after - before).sin(), (after - before).cos()).abs()
        signs = 2 * torch.randint(2, step.shape, generator=generator).to(step) - 1
        found.append(found[-1] + signs * step)
    return found


def _members(objects: Tensor) -> Tensor:
    """1 where a token belongs to an object: (B, N) -> (B, N, objects) in double precision."""
    count = int(objects.max()) + 1
    if count < 1:
        return objects.new_zeros(*objects.shape, 1, dtype=torch.float64)
    return one_hot(objects.clamp_min(0), count).double() * (objects >= 0)[..., None]

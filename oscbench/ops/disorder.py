"""A trained mechanism built of imperfect parts: couplings, states and frequencies that are not what training left.

After the robustness study of arXiv 2606.12059: log-normal couplings, noise on settled states, and oscillators that turn by themselves.
A softmax attention has couplings too, the exponentials of its scores, and stands the same noise on them.

Where oscillators that also turn by themselves are after a time is exact here: no solver, no step. ż = A z + (I − z zᵀ) h, A antisymmetric,
keeps ‖z‖ = 1. With z = x/s it is the shadow of a linear flow in one more dimension, (ẋ, ṡ) = (A x + h s, hᵀ x), since
ẋ/s − z ṡ/s = A z + h − z hᵀ z; x stays on the cone ‖x‖ = s. So z(T) is the direction of the first n coordinates of e^{GT} (z(0), 1),
G = [[A, h], [hᵀ, 0]]. That the flow acts by Möbius transformations is known of the Kuramoto model on spheres (Lipton, Mirollo, Strogatz,
arXiv 1907.07150).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import normalize

from oscbench.ops.softmax import reference


def turned(start: Tensor, pull: Tensor, turning: Tensor, horizon: float) -> Tensor:
    """z(T) of ż = A z + (I − z zᵀ) h.

    e^{GT} comes of k squarings of e^{GT/2ᵏ}, whose exponent has norm 1 or less; since only a direction is asked for, each square is
    scaled, and nothing overflows however long the time. In float64, as each squaring doubles a rounding's share.

    Args:
        start: z(0), unit vectors, (…, n).
        pull: h, (…, n).
        turning: A, antisymmetric, broadcastable to (…, n, n) [1/time].
        horizon: T [time].
    """
    size = start.shape[-1]
    h = pull.double()
    generator = h.new_zeros(*h.shape[:-1], size + 1, size + 1)
    generator[..., :size, :size] = turning
    generator[..., :size, size] = h
    generator[..., size, :size] = h
    generator *= horizon
    longest = float(generator.norm(dim=(-2, -1)).amax())
    squarings = max(0, math.ceil(math.log2(longest))) if 0 < longest < math.inf else 0
    power = torch.linalg.matrix_exp(generator / 2**squarings)
    for _ in range(squarings):
        power = power @ power
        power /= power.abs().amax(dim=(-2, -1), keepdim=True)
    lifted = torch.cat([start.double(), h.new_ones(*h.shape[:-1], 1)], dim=-1)
    return normalize((power @ lifted[..., None])[..., :size, 0], dim=-1).to(start)


Kind = Literal["coupling", "state", "frequency"]
KINDS: tuple[Kind, ...] = get_args(Kind)
HORIZON = 30.0
"""Of the motion under frequency disorder, as published [time of the literal pull]."""


@dataclass(frozen=True)
class Disorder:
    """One kind of imperfection, and whence its noise comes.

    Attributes:
        kind: `coupling`, `state` or `frequency`.
        strength: σ.
        generator: of the noise, on the CPU, so that a GPU beside it sees the same.
    """

    kind: Kind
    strength: float
    generator: torch.Generator

    def couplings(self, weights: Tensor) -> Tensor:
        """W e^{σ ε}, ε normal, for every receiver and sender; as they are under another kind."""
        return weights * self._noise(weights).exp() if self.kind == "coupling" else weights

    def states(self, settled: Tensor, pull: Tensor) -> Tensor:
        """Where oscillators (B, H, N, n) rest that settled at fixed points under a pull of the same shape.

        `state` gives z + σ ε, brought back to the sphere. `frequency` lets them follow ż = A z + (I − z zᵀ) h from the fixed point to
        T = 30, A = (M − Mᵀ)/2 and M normal with deviation σ, one A for the oscillator of each head and token,
        whatever the sequence, and another for the next batch.
        """
        if self.kind == "state":
            return normalize(settled + self._noise(settled), dim=-1)
        if self.kind == "coupling":
            return settled
        heads, tokens, size = settled.shape[1:]
        own = self._noise(settled.new_empty(heads, tokens, size, size))
        return turned(settled, pull, (own - own.mT) / 2, HORIZON)

    def softmax_attention(
        self, q: Tensor, k: Tensor, v: Tensor, *, is_causal: bool, key_padding_mask: Tensor | None
    ) -> Tensor:
        """softmax(q kᵀ/√d + σ ε) v, (B, H, N, d): log-normal factors on the exponentials, which are its couplings. Quadratic.

        Raises:
            ValueError: softmax attention has no states and no frequencies.
        """
        if self.kind != "coupling":
            raise ValueError(f"softmax attention has couplings only; got disorder of its {self.kind}")
        return reference.run(
            q,
            k,
            v,
            scale=q.shape[-1] ** -0.5,
            is_causal=is_causal,
            key_padding_mask=key_padding_mask,
            disturb=lambda scores: scores + self._noise(scores),
        )

    def _noise(self, like: Tensor) -> Tensor:
        """σ ε."""
        drawn = torch.randn(like.shape, generator=self.generator, dtype=torch.float32)
        return self.strength * drawn.to(like)

"""A trained mechanism built of imperfect parts: couplings, states and frequencies that are not what training left.

After the robustness study of arXiv 2606.12059: log-normal couplings, noise on settled states, and oscillators that turn by themselves.
A softmax attention has couplings too, the exponentials of its scores, and stands the same noise on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import normalize

from oscbench.ops.fixed_query.turning import turned
from oscbench.ops.softmax import reference

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
        T = 30, A = (M − Mᵀ)/2 and M normal with deviation σ, one A for the oscillator of each head and token, whatever the sequence.
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

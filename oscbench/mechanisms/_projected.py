"""Query, key, value and output projections, one set a layer: what softmax, RoPE, KoPE and fixed query share."""

from __future__ import annotations

from torch import Tensor, nn


class Projections(nn.Module):
    """Linear maps of one layer; `bias` is that of q, k and v, the output map always has one."""

    def __init__(self, width: int, *, bias: bool = True) -> None:
        super().__init__()
        self.q = nn.Linear(width, width, bias=bias)
        self.k = nn.Linear(width, width, bias=bias)
        self.v = nn.Linear(width, width, bias=bias)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """q, k and v of tokens (B, N, D)."""
        return self.q(tokens), self.k(tokens), self.v(tokens)

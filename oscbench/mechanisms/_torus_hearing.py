"""What torus attention hears: the pull of the others' angles, and what its variants hear beside it with the same weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from oscbench.mechanisms import Context
from oscbench.ops import decode, torus_attention
from oscbench.ops.masking import silence
from oscbench.ops.precision import as_given
from oscbench.ops.torus.heard import heard


@dataclass(frozen=True)
class Hearing:
    """How much the tokens of a pass hear of whom in one layer.

    Attributes:
        theta: their angles [rad], (B, H, N, n).
        gate: broadcastable to theta.
        drift: theirs, (N, n); or the one new token's less each sender's.
        lag: (H, 1, n).
        include_self: whether a token hears itself.
        context: of the pass.
        others: senders' angles where there is one new token, the last its own; None where the pass brings all tokens.
    """

    theta: Tensor
    gate: Tensor
    drift: Tensor | None
    lag: Tensor | None
    include_self: bool
    context: Context
    others: Tensor | None

    def tangent(self) -> Tensor:
        """Σ_u A_tu sin(θ_u - θ_t)."""
        known: dict[str, Any] = {"drift": self.drift, "lag": self.lag, "include_self": self.include_self}
        if self.others is not None:
            return decode.torus_attention(self.theta, self.gate, self.others, **known)
        return torus_attention(self.theta, self.gate, **known, **self.context.hearing())

    def mean(self, values: Tensor) -> Tensor:
        """Σ_u A_tu v_u of all senders' values (B, H, ·, m)."""
        known: dict[str, Any] = {"drift": self.drift, "lag": self.lag, "include_self": self.include_self}
        if self.others is not None:
            weights = decode.torus_weights(self.theta, self.gate, self.others, **known)
            return (weights @ values[..., : weights.shape[-1], :].to(weights.dtype)).to(values.dtype)
        padding = self.context.key_padding_mask
        with as_given(self.theta.device):
            return heard(
                self.theta,
                self.gate,
                values,
                **known,
                is_causal=self.context.is_causal,
                key_padding_mask=padding,
            )

    def successors(self) -> Tensor:
        """Σ_u A_tu sin(θ_{u+1} - θ_t); who has no successor pulls nobody."""
        senders = self.theta if self.others is None else self.others
        after = senders[..., 1:, :]
        pulls = torch.cat((after.cos(), after.sin()), dim=-1)
        if self.context.key_padding_mask is not None:
            pulls = silence(pulls, self.context.key_padding_mask[:, 1:])
        cos, sin = self.mean(torch.nn.functional.pad(pulls, (0, 0, 0, 1))).chunk(2, dim=-1)
        return sin * self.theta.cos() - cos * self.theta.sin()

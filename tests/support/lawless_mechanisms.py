"""Mechanisms that break a law each and are otherwise softmax; `oscbench check lawless_mechanisms:Foresees` names which."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from oscbench.mechanisms import Traits
from oscbench.mechanisms.softmax import Softmax


class Foresees(Softmax):
    """Breaks `causal`."""

    def mix(self, layer, tokens, state, context):
        return super().mix(layer, tokens, state, replace(context, is_causal=False))


class HearsPadding(Softmax):
    """Breaks `padding`."""

    def mix(self, layer, tokens, state, context):
        return super().mix(layer, tokens, state, replace(context, key_padding_mask=None))


class DeniesOrder(Softmax):
    """Breaks `order`."""

    traits = Traits(order_sensitive=True, needs_position=True)


class ChangesUnderLooks(Softmax):
    """Breaks `diagnostics`."""

    def mix(self, layer, tokens, state, context):
        mixed = super().mix(layer, tokens, state, context)
        return replace(mixed, update=1.01 * mixed.update) if context.diagnostics else mixed


class Spare(Softmax):
    """Breaks `gradients`."""

    def __init__(self, config, shape):
        super().__init__(config, shape)
        self.spare = nn.Parameter(torch.zeros(3))


class Rounds(Softmax):
    """Breaks `precision`."""

    def mix(self, layer, tokens, state, context):
        mixed = super().mix(layer, tokens, state, context)
        return replace(
            mixed, update=torch.round(mixed.update, decimals=1 if tokens.dtype == torch.float32 else 9)
        )


class NeedsCompany(Softmax):
    """Breaks `images`."""

    def mix(self, layer, tokens, state, context):
        mixed = super().mix(layer, tokens, state, context)
        return replace(mixed, update=mixed.update / min(tokens.shape[1] - 1, 1))


class StartsAnew(Softmax):
    """Breaks `start`."""

    def __init__(self, config, shape):
        super().__init__(config, shape)
        self.drawn = nn.Parameter(torch.randn((), generator=torch.Generator().manual_seed(torch.seed())))

    def mix(self, layer, tokens, state, context):
        mixed = super().mix(layer, tokens, state, context)
        return replace(mixed, update=mixed.update * self.drawn)


class Flat(Softmax):
    """Breaks `cost`, and `flops`."""

    def operations(self, tokens, evaluations=0.0):
        return super().operations(7, evaluations)


class Undercounts(Softmax):
    """Breaks `flops`."""

    def operations(self, tokens, evaluations=0.0):
        counted = super().operations(tokens, evaluations)
        return replace(counted, multiply_adds=counted.multiply_adds - 2)

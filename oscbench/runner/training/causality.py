"""Whether a model of a causal task hears what comes after a token: what it scored would be worth nothing, and nobody would see why."""

from __future__ import annotations

import torch
from torch import Tensor

from oscbench.errors import PartError
from oscbench.models.backbones import Backbone
from oscbench.modes import evaluating

ROWS = 2
"""Of the inputs: a row tells as much as many, whose outputs over a large vocabulary would need more memory than training."""
MOST, MOST_OF_SOLVERS = 1e-2, 5e-2
"""Change of a token's outputs with later tokens, over the outputs' norm, that rounding explains; an adaptive solver's steps are shared."""


def prove_causal(model: Backbone, inputs: Tensor) -> None:
    """Hold a model whose task is causal to that, by two passes over its own inputs.

    Args:
        model: any; one whose task is not causal is let be.
        inputs: some of its inputs; they are not changed.

    Raises:
        PartError: outputs of tokens change with tokens that come after them.
    """
    if not getattr(model.inputs, "is_causal", False) or inputs.shape[1] < 2:
        return
    mechanism = model.trunk.mechanism
    found = foreseen(model, inputs[:ROWS])
    if found > (MOST_OF_SOLVERS if mechanism.traits.iterative else MOST):
        raise PartError(
            f"mechanism {type(mechanism).__name__} hears the future: its outputs change by {found:.2g} of their size with tokens that come "
            "after, and this task is causal; heed context.is_causal (oscbench check shows more)"
        )


@torch.no_grad()
def foreseen(model: Backbone, inputs: Tensor) -> float:
    """How far outputs of the first half of tokens change with the second half, over their norm; 0 of a model that is causal."""
    kept = inputs.shape[1] // 2
    other = inputs.clone()
    other[:, kept:] = inputs.flip(1)[:, kept:]
    with evaluating(model):
        before, after = (model(ids).prediction[:, :kept].float() for ids in (inputs, other))
    return float((after - before).norm() / before.norm().clamp_min(1e-30))

"""Second derivatives of functions whose backward pass is written by hand, often in place: refused, or had from the plain formula.

PyTorch's `once_differentiable` refuses only what runs through its own node: a loss that is linear in the output, or another path to the
same input, has a second derivative without it, and the op's part is missing without a word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def first_only(backward: Callable[..., T]) -> Callable[..., T]:
    """A backward pass that has no derivative of its own, and says so where one is asked for (`create_graph=True`).

    Raises:
        RuntimeError: in the backward pass.
    """

    @wraps(backward)
    def run(ctx: Any, *grads: Tensor) -> T:
        if torch.is_grad_enabled():  # in a backward pass, exactly under `create_graph=True`
            raise RuntimeError(
                "create_graph=True: this backward pass is written for first derivatives alone; an op's backend='reference' has second ones"
            )
        return backward(ctx, *grads)

    return run


def twice(
    plain: Callable[..., Tensor | Sequence[Tensor]], inputs: Sequence[Tensor], grads: Sequence[Tensor]
) -> list[Tensor | None]:
    """Gradients to inputs by the plain formula, which can be differentiated again; None for those that need none.

    To views of them: one input may depend on another, and that path is the caller's.
    """
    with torch.enable_grad():
        views = [x.view_as(x) for x in inputs]
        made = plain(*views)
        outputs = [made] if isinstance(made, Tensor) else list(made)
    needed = [x for x in views if x.requires_grad]
    found = iter(torch.autograd.grad(outputs, needed, list(grads), create_graph=True))
    return [next(found) if x.requires_grad else None for x in views]

"""Training and evaluation mode of a model, left as they were found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode while it lasts, and the mode from before afterwards, whatever happened; inside, a mode may be set as one likes."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)

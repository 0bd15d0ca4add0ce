"""What every part of a suite is, checked strictly, and a value that several parts share: a position."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict

from oscbench.errors import nearest
from oscbench.positions import POSITIONS


class Strict(BaseModel):
    """A part of a suite: unknown keys and values of another type are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def known_position(position: Any) -> Any:
    """A position of the vocabulary, or a mistake that names the nearest."""
    if position not in POSITIONS:
        raise ValueError(f'"{position}" is no position; {nearest(str(position), POSITIONS)}')
    return position


Position = Annotated[str, AfterValidator(known_position)]
"""One of `oscbench.positions`: what is added to tokens, the mechanism's own, or both."""

"""What every part of a suite is, checked strictly, and kinds of values: a position, a declared comparison."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

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


def _both_names(pair: Any) -> Any:
    """`kope − rope:values` as its two names."""
    names = re.split(r"\s+[−-]\s+", pair.strip()) if isinstance(pair, str) else pair
    if (
        not isinstance(names, list)
        or len(names) != 2
        or not all(isinstance(one, str) and one for one in names)
    ):
        raise ValueError("a comparison is two entries with a minus between spaces, as in kope - rope:values")
    if names[0] == names[1]:
        raise ValueError(f"{names[0]} is not compared with itself")
    return names


Comparison = Annotated[list[str], BeforeValidator(_both_names)]
"""Two entries, `mechanism` (its headline entry) or `mechanism:variant`, the second subtracted from the first."""


def _has_unit(margin: Any) -> Any:
    if isinstance(margin, int | float) and not isinstance(margin, bool):
        raise ValueError("a margin has a unit, as in 0.5 points or 0.01 bits")
    return margin


MarginText = Annotated[str, BeforeValidator(_has_unit)]
"""A number with its unit, which the analysis reads."""

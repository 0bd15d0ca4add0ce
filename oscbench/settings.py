"""Settings: how they stand in a spec, how a new one joins them without new identities, and what they are called and spend."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field


@dataclass(frozen=True)
class Spent:
    """A setting that is spent: a mechanism may need less of it than another for the same result.

    Attributes:
        name: what people call it.
        is_size: whether it changes how many parameters a model has.
    """

    name: str
    is_size: bool = False


SPENT = {
    "task.fraction": Spent("share of training data"),
    "train.steps": Spent("training steps"),
    "train.epochs": Spent("training epochs"),
    "model.width": Spent("model width", is_size=True),
    "model.layers": Spent("number of layers", is_size=True),
}
"""Data, training and size, by their places in a suite."""


def name_of(place: str) -> str:
    """A place in a suite as people call it: `task.fraction` is the share of training data."""
    return SPENT[place].name if place in SPENT else place.rpartition(".")[2].replace("_", " ")


def added(default: Any, *, neutral: Any, **constraints: Any) -> Any:
    """A setting that came after records were made: a pydantic field that a spec leaves out where it is at its neutral value.

    Cells that do not use the setting so keep the identity that they had without it, and their records stay theirs. At the neutral
    value everything is as it was before; the default may be another one, or become so. Settings that were there from the start are
    never left out.

    Args:
        default: of the setting.
        neutral: value at which the setting changes nothing, in its plain JSON form.
        constraints: as pydantic's `Field` takes them.
    """
    return Field(default=default, json_schema_extra={"neutral": neutral}, **constraints)


def spelled(config: BaseModel) -> dict[str, Any]:
    """All settings as plain values, as they stand in a spec: those that `added` declares only where they are not neutral."""
    values = config.model_dump(mode="json")
    for name, field in type(config).model_fields.items():
        extra = field.json_schema_extra
        # As JSON, in which true is not 1 and 1.0 is not 1.
        if isinstance(extra, dict) and "neutral" in extra and _text(values[name]) == _text(extra["neutral"]):
            del values[name]
    return values


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)

"""Settings as they stand in a spec, and how a new one joins them without a new identity for every cell that does not use it."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, Field


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

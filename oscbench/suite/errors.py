"""Mistakes in a suite, told in one line: file, place, what was found, what is allowed, the nearest match."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from oscbench import words
from oscbench.errors import UserError, allowed, nearest
from oscbench.suite.bounds import PATTERNS

M = TypeVar("M", bound=BaseModel)
LONGEST = 1200
"""Characters of a message: a mistake may quote a value, and a value may be all of a suite."""
_TYPE = re.compile(r"^(literal\[.*\]|constrained-\w+|int|float|bool|str)$")
_PLAIN = {
    "bool_parsing": "allowed: true, false",
    "bool_type": "allowed: true, false",
    "dict_type": "this is a mapping, as in {key: value}",
    "list_type": "this is a list, as in [a, b]",
    "model_type": "this is a mapping, as in {key: value}",
    "string_type": "this is a text; write it in quotes",
}
"""What is allowed, where pydantic would speak of dictionaries, instances and classes of ours."""


class SuiteError(UserError):
    """A suite that cannot be run as it stands; of a long message the beginning and the end are kept."""

    def __init__(self, text: str) -> None:
        super().__init__(text if len(text) <= LONGEST else f"{text[: LONGEST - 300]} … {text[-300:]}")


def place(parts: Sequence[Any]) -> str:
    """`("mechanisms", 2, "name")` -> `mechanisms[2].name`."""
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def explain(error: ValidationError, model: type[BaseModel], prefix: Sequence[Any] = ()) -> str:
    """The first mistake as `place: got value; what is allowed`, and how many more are seen, behind which others may hide."""
    mistakes = error.errors()
    # `trainn: …` gives both a missing `train` and an unknown `trainn`, and the second one says what to do.
    first = next((mistake for mistake in mistakes if mistake["type"] == "extra_forbidden"), mistakes[0])
    path = _path(first)
    where = place([*prefix, *path])
    got = _shown(first["input"])
    if first["type"] == "extra_forbidden":
        fields = _fields_at(model, path[:-1])
        told = nearest(str(path[-1]), fields)
        if {"settings", "variant"} <= set(fields) and "did you mean" not in told:
            told += f"; what the mechanism itself takes stands under settings, as in settings: {{{path[-1]}: {got}}}"
        text = f'{where}: unknown key "{path[-1]}"; {told}'
    elif first["type"] == "missing":
        text = f"{where}: missing, and it has no default"
    elif first["type"] == "literal_error":
        known = first["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        text = f"{where}: got {got}; {allowed(str(first['input']), known)}"
    elif first["type"] == "too_short":
        text = f"{where}: got {got}; at least {first['ctx']['min_length']} must be given"
    else:
        pattern = first.get("ctx", {}).get("pattern")
        message = (
            PATTERNS.get(str(pattern))
            or _PLAIN.get(first["type"])
            or first["msg"].removeprefix("Value error, ")
        )
        text = f"{message[:1].lower()}{message[1:]}"
        # Of a whole section the first letters say nothing.
        whole = len(path) > 1 or not (isinstance(first["input"], dict) and got.endswith("..."))
        if where:
            text = f"{where}: got {got}; {text}" if whole else f"{where}: {text}"
    more = len({tuple(_path(mistake)) for mistake in mistakes}) - 1
    return text + (f" (and at least {words.many(more, 'more mistake')})" if more else "")


def read_settings(model: type[M], given: Mapping[str, Any], prefix: Sequence[Any] = ()) -> M:
    """Settings that were given in Python, checked.

    Raises:
        ValueError: a mistake in them, in one line, where pydantic has several and a link.
    """
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise ValueError(explain(error, model, prefix)) from None


def _path(mistake: Mapping[str, Any]) -> list[Any]:
    """Where a mistake is, without the type that pydantic adds where one of several would do: `literal['fixed','per_seed']`."""
    path = [part for part in mistake["loc"] if part != "[key]"]
    if len(path) > 1 and mistake["type"] != "extra_forbidden" and _TYPE.match(str(path[-1])):
        path.pop()
    return path


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _fields_at(model: type[BaseModel], path: Sequence[Any]) -> list[str]:
    """Names of the fields of the model that `path` leads to."""
    current: Any = model
    for part in path:
        if isinstance(part, int):
            continue
        field = current.model_fields.get(part) if hasattr(current, "model_fields") else None
        if field is None:
            return []
        current = _model_in(field.annotation) or current
    return list(current.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _model_in(inner)
        if found is not None:
            return found
    return None


def without_name(value: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping's entries but `name`."""
    return {key: entry for key, entry in value.items() if key != "name"}

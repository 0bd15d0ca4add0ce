"""What a timing cell times: several mechanisms or ops in turn, of which none is the cell's own, so that it bears all their names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from oscbench import words


def timed(contenders: Iterable[Mapping[str, Any]]) -> str:
    """Mechanisms or ops, each once, in the order in which they are timed: `softmax+kope`."""
    return "+".join(dict.fromkeys(contender["name"] for contender in contenders))


def timed_card(name: str) -> dict[str, Any]:
    """What a reader is told of them: names, and no idea or traits, which each has for itself."""
    return {"name": name, "label": words.listed(name.split("+")), "idea": "", "citation": "", "traits": {}}


def of_second_schema(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record of the first schema as the second one has it: a timing no longer bears the name of softmax, whoever was timed.

    What is damaged stays as it is, for the schema to refuse.
    """
    found, spec = {**record, "schema_version": 2}, record.get("spec")
    if not isinstance(spec, dict) or spec.get("kind") != "timing":
        return found
    try:
        name = timed(spec["contenders"])
    except (KeyError, TypeError):
        return found
    return found | {
        "mechanism": name,
        "card": timed_card(name),
        "spec": {**spec, "mechanism": {"name": name}},
    }

"""What a cell was asked to do: its position, its rate and its mechanism's settings, as they were resolved and searched."""

from __future__ import annotations

from typing import Any

from oscbench.positions import joined
from oscbench.records import Record


def is_untrained(record: Record) -> bool:
    """Whether a cell is a floor of its task alone, whom nothing of a protocol touches: no model, no recipe and no measure."""
    return record.spec.get("kind") == "floor"


def is_reference(record: Record) -> bool:
    """Whether a cell is a simple model of the whole input, shown beside a task's floors and withholding nothing."""
    return is_untrained(record) and record.card.traits.get("reference", False)


def position_of(record: Record) -> str:
    """Where a cell's tokens have their places from, `auto` resolved: one of `oscbench.positions`; empty where nothing was trained.

    Records from before suites could choose say it by their model's setting and their mechanism's traits.
    """
    said = record.spec_given.get("position")
    if said is not None or "model" not in record.spec or is_untrained(record):
        return str(said or "")
    added = {**record.spec["model"], **record.spec.get("own_model", {})}.get("position", "auto")
    if added == "auto":
        added = "learned" if record.card.traits.get("needs_position") else "none"
    return joined(added, record.card.traits.get("order_sensitive", False))


def rate_of(record: Record) -> float | None:
    """The learning rate that a cell trained at, its search's choice where there was one; None where nothing was trained."""
    train = record.spec.get("train") or {}
    found = {**train, **record.spec.get("tuned", {})}.get("learning_rate")
    return found if record.matching is not None and isinstance(found, int | float) else None


def settings_of(record: Record) -> dict[str, Any]:
    """A mechanism's settings, all of them, as they were resolved."""
    return {key: value for key, value in record.spec.get("mechanism", {}).items() if key != "name"}


def chosen_of(record: Record) -> dict[str, Any]:
    """What a cell has of its own, from its entry or its search: of the recipe, and of the model."""
    return {**record.spec.get("tuned", {}), **record.spec.get("own_model", {})}


def searched_of(record: Record) -> list[str]:
    """The settings that a suite searches, whether a mechanism has them or not; empty where it searches none."""
    return sorted((record.spec.get("tune") or {}).get("space", {}))

"""`oscbench check`: a mechanism held to the laws of all, before anybody trains it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from oscbench import catalog
from oscbench.errors import UserError
from oscbench.models.laws import LAWS, broken
from oscbench.suite.errors import explain
from oscbench.suite.reading import read_setting


def check(name: str, given: Sequence[str]) -> tuple[list[dict[str, str]], int]:
    """A row for each law, and how many are broken under any of the settings.

    Args:
        name: of a mechanism, as a suite has it.
        given: settings as `key=value`; without any, its defaults and each of its `examples`.

    Raises:
        UserError: no such mechanism, or a mistake in the settings.
    """
    try:
        mechanism = catalog.load("mechanisms", name)
    except catalog.UnknownNameError as error:
        raise UserError(f"check: {error}") from error
    tried = [dict(map(read_setting, given))] if given else [{}, *mechanism.examples]
    for settings in tried:
        try:
            mechanism.Config.model_validate(settings)
        except ValidationError as error:
            raise UserError(
                f"{'--set' if given else 'examples'}: {explain(error, mechanism.Config)}"
            ) from error
    found = {_told(settings): broken(mechanism, settings) for settings in tried}
    rows = []
    for index, law in enumerate(LAWS):
        wrong = [f"{under}: {laws[index]}" for under, laws in found.items() if laws[index] is not None]
        rows.append({"law": law.name, "promises": law.says, "holds": "; ".join(wrong) or "yes"})
    return rows, sum(row["holds"] != "yes" for row in rows)


def _told(settings: Mapping[str, Any]) -> str:
    """`gamma=0.3, mix=False`."""
    return ", ".join(f"{key}={value}" for key, value in settings.items()) or "by default"

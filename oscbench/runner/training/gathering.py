"""What a task and its measures found, put together: each quantity has one owner, and a value that is no number is told as such."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from oscbench.errors import PartError, kind_of
from oscbench.measures import Findings
from oscbench.records import Curve, HealthRow, Measurement

T = TypeVar("T")
NOT_FINITE = "not finite"


class Gathering:
    """Fills a cell's findings, and lets nobody write over what another gave.

    Args:
        into: the cell's findings.
    """

    def __init__(self, into: Findings) -> None:
        self._into = into
        self._owners: dict[tuple[str, str], str] = {}

    def results(self, task: str, found: Mapping[str, Measurement]) -> None:
        """The task's own results."""
        self._claim("measures", f"task {task}", found)
        self._into.measures |= found

    def measure(self, name: str, method: str, found: Any) -> None:
        """What a measure's `before` or `after` gave.

        Raises:
            PartError: it is nothing that a measure may give, or another's already; names both and the quantity.
        """
        where = f"measure {name}: {method}"
        if not isinstance(found, Findings):
            raise PartError(f"{where} gave {kind_of(found)}; wanted: Findings")
        self._claim("measures", f"measure {name}", _all(where, "measures", found.measures, Measurement))
        self._into.measures |= {key: told(one) for key, one in found.measures.items()}
        self._into.health += _rows(where, "health", found.health, HealthRow)
        self._into.flags += _rows(where, "flags", found.flags, str)

    def curves(self, into: dict[str, Curve], owner: str, found: Any) -> None:
        """Curves of the training, or those of a measure.

        Raises:
            PartError: as of `measure`.
        """
        self._claim("curves", owner, _all(f"{owner}: curves", "", found, Curve))
        into |= found

    def _claim(self, kind: str, owner: str, names: Iterable[str]) -> None:
        for name in names:
            first = self._owners.setdefault((kind, name), owner)
            if first != owner:
                what = "curve " * (kind == "curves")
                raise PartError(
                    f'{owner}: gives {what}"{name}", which {first} gives already; name it otherwise'
                )


def told(one: Measurement) -> Measurement:
    """The same, or null with the reason where its value is no finite number."""
    if one.value is None or math.isfinite(one.value):
        return one
    return one.model_copy(update={"value": None, "reason": one.reason or NOT_FINITE})


def _all(where: str, part: str, found: Any, wanted: type[T]) -> Mapping[str, T]:
    """What stands there, if it is a mapping from names to what is wanted."""
    within = f" as {part}" if part else ""
    if not isinstance(found, Mapping):
        raise PartError(f"{where} gave {kind_of(found)}{within}; wanted: {wanted.__name__} by name")
    for name, one in found.items():
        if not (isinstance(name, str) and isinstance(one, wanted)):
            raise PartError(f"{where} gave {kind_of(one)} as {name!r}; wanted: {wanted.__name__}")
    return found


def _rows(where: str, part: str, found: Any, wanted: type[T]) -> list[T]:
    if not isinstance(found, list | tuple) or not all(isinstance(one, wanted) for one in found):
        wrong = (
            next((one for one in found if not isinstance(one, wanted)), found)
            if isinstance(found, list)
            else found
        )
        raise PartError(f"{where} gave {kind_of(wrong)} in {part}; wanted: a list of {wanted.__name__}")
    return list(found)

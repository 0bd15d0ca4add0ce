"""Quantities by what they are for, as the files of the measures say it."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Literal

from oscbench import catalog
from oscbench.roles import NO_LITERALS, Role, mistake


@dataclass(frozen=True)
class Quantity:
    """One thing that a measure finds.

    Attributes:
        name: in records; ends in `*` where it stands for all that begin so.
        measure: what a suite asks for it by.
        role: what it is for.
    """

    name: str
    measure: str
    role: Role


@dataclass(frozen=True)
class Cost:
    """One kind of cost, and the quantities that can stand for it; the first one that cells have does."""

    title: str
    quantities: tuple[Quantity, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the quantities."""
        return tuple(one.name for one in self.quantities)

    @property
    def of_machine(self) -> bool:
        """Whether it belongs to the machine that it was taken on."""
        return any(one.role.get("of_machine", False) for one in self.quantities)


def quantities(key: str | None = None) -> list[Quantity]:
    """Those that have a role, or all that have any, by rank."""
    every = _declared(tuple(catalog.names("measures")))
    return [one for one in every if key is None or key in one.role]


def costs() -> list[Cost]:
    """Every kind of cost, by rank."""
    kinds: dict[str, list[Quantity]] = {}
    for one in quantities("cost"):
        kinds.setdefault(one.role["cost"], []).append(one)
    return [Cost(title, tuple(found)) for title, found in kinds.items()]


def basis(of: Literal["size", "compute"]) -> str:
    """The quantity that stands for a model's size, or for its compute."""
    return next(one.name for one in quantities("basis") if one.role["basis"] == of)


def speed_measures() -> list[str]:
    """What can stand for the speed of training: seconds of a step before those of a whole training."""
    return sorted(
        (one.name for one in quantities("speed")),
        key=lambda name: not any(one.name == name for one in quantities("a_step")),
    )


def has_role(name: str, key: str) -> bool:
    """Whether a quantity of a record has a role; what stands behind a slash says of whom it is."""
    return any(fnmatchcase(name.partition("/")[0], one.name) for one in quantities(key))


def left_out() -> list[str]:
    """Measures whose roles no report can use, each with its file and why."""
    return [
        f"{catalog.file_of('measures', measure)}: {wrong}; its roles are left out"
        for measure in catalog.names("measures")
        if (wrong := _read(measure)[1]) is not None
    ]


@lru_cache
def _declared(measures: tuple[str, ...]) -> tuple[Quantity, ...]:
    found = [
        Quantity(name, measure, role) for measure in measures for name, role in _read(measure)[0].items()
    ]
    return tuple(sorted(found, key=lambda one: one.role.get("rank", 100)))


def _read(measure: str) -> tuple[dict[str, Role], str | None]:
    """Roles as the file of a measure gives them; none, and why, where they are no plain literals or a mistake is in them."""
    roles = catalog.declared("measures", measure, "roles")
    if roles is None:
        written = catalog.written("measures", measure, "roles")
        return {}, None if written is None else NO_LITERALS
    wrong = mistake(roles)
    return ({}, wrong) if wrong else (dict(roles), None)

"""What measures' quantities are for, and the quantities by that. A measure says it in its file, so that whoever reads records names none.

    roles = {"step_s": {"cost": "Training time", "rank": 31, "of_machine": True, "a_step": "Seconds"}}

stands in the class as plain literals: reports read it from the file (`catalog.declared`), without importing it and what it imports.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, Literal, TypedDict

from oscbench import catalog
from oscbench.errors import allowed, kind_of


class Role(TypedDict, total=False):
    """Of one quantity, or of all whose names begin so where its name ends in `*`.

    Attributes:
        rank: where it stands among others of a role; small numbers first. Of several quantities for one cost, the first that cells
            have stands for it.
        cost: the kind of cost that it stands for, as a heading.
        of_machine: it belongs to the machine that it was taken on, and is not held against another machine's.
        basis: what is usually made equal: a model's `size`, or the `compute` of its forward pass.
        speed: it stands for the speed of training.
        a_step: it is spent again in every training step; its heading where steps are counted.
        energy: it is energy; its place in a table of energies and its heading there.
        column: its heading in narrow tables, which always have it.
        exact: it is counted and not taken, so that any change of it is one of the code.
        peak: it is a peak of memory.
    """

    rank: int
    cost: str
    of_machine: bool
    basis: Literal["size", "compute"]
    speed: bool
    a_step: str
    energy: tuple[int, str]
    column: str
    exact: bool
    peak: bool


_TEXTS, _NUMBERS, _TRUTHS = ("cost", "a_step", "column"), ("rank",), ("of_machine", "speed", "exact", "peak")
BASES = ("size", "compute")
NO_LITERALS = "roles: not plain literals, which are read from the file and not computed"


def mistake(roles: Any) -> str | None:
    """The first thing in a measure's `roles` that cannot be, in words; None where all is well."""
    if not isinstance(roles, Mapping):
        return f"roles: got {kind_of(roles)}; wanted: a role by the name of each quantity"
    for name, role in roles.items():
        where = f"roles[{name!r}]"
        if not (isinstance(name, str) and isinstance(role, Mapping)):
            return f"{where}: got {kind_of(role)}; wanted: a mapping with any of {', '.join(Role.__annotations__)}"
        for key, value in role.items():
            if key not in Role.__annotations__:
                return f'{where}: unknown key "{key}"; {allowed(str(key), tuple(Role.__annotations__))}'
            if (wanted := _wanted(key, value)) is not None:
                return f"{where}: {key}: got {value!r}; wanted: {wanted}"
        if "basis" in role and (lacking := [key for key in ("cost", "column") if key not in role]):
            return f"{where}: basis: needs the key {lacking[0]} beside it"
    return None


def mistake_of(name: str, measure_class: Any) -> str | None:
    """The same of a measure that is loaded, where also what stands in its file must be what the class says."""
    roles = measure_class.roles
    wrong = mistake(roles)
    if wrong is None and name in catalog.names("measures"):
        wrong = NO_LITERALS if roles != (catalog.declared("measures", name, "roles") or {}) else None
    return wrong


def _wanted(key: str, value: Any) -> str | None:
    """What a key wants, where its value is not that."""
    if key in _TEXTS:
        return None if isinstance(value, str) and value else "a text"
    if key in _NUMBERS:
        return None if _is_number(value) else "a number"
    if key in _TRUTHS:
        return None if isinstance(value, bool) else "True or False"
    if key == "basis":
        return None if value in BASES else " or ".join(BASES)
    pair = isinstance(value, tuple | list) and len(value) == 2
    return None if pair and _is_number(value[0]) and isinstance(value[1], str) else "a number and a heading"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


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

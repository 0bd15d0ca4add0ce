"""What a measure's quantities are for. A measure says it in its file, so that whoever reads records names none of them.

    roles = {"step_s": {"cost": "Training time", "rank": 31, "of_machine": True, "a_step": "Seconds"}}

stands in the class as plain literals: reports read it from the file (`catalog.declared`), without importing it and what it imports.
"""

from __future__ import annotations

from collections.abc import Mapping
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

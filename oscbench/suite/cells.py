"""From a suite to its cells: mechanisms × settings × seeds, each with its place in the file."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from oscbench import catalog
from oscbench.errors import nearest
from oscbench.suite.errors import SuiteError
from oscbench.suite.schema import MechanismEntry, Suite

ONLY_KEYS = ("mechanism", "variant", "seed")


@dataclass(frozen=True)
class CellRequest:
    """One cell as asked for.

    Attributes:
        mechanism: name.
        variant: label, unique among the mechanism's.
        settings: of the mechanism, defaults not yet filled in.
        position: of the entry, None where its settings and the suite's model say.
        model: the entry's own values of the model's settings.
        seed: of order, augmentation, start values.
        index: of the mechanism's entry in the suite, for error messages.
    """

    mechanism: str
    variant: str
    settings: dict[str, Any]
    seed: int
    index: int
    position: str | None = None
    model: dict[str, Any] = field(default_factory=dict)


def expand(suite: Suite, source: str) -> list[CellRequest]:
    """All cells, seed by seed, so that an interrupted run has whole comparisons.

    Raises:
        SuiteError: two entries have the same mechanism and variant, or one that is crossed with positions is unknown or has none.
    """
    variants: dict[tuple[str, str], CellRequest] = {}
    for index, entry in enumerate(suite.mechanisms):
        try:
            positions = crossing(suite, entry)
        except SuiteError as error:
            raise SuiteError(f"{source}: mechanisms[{index}]: {error}") from error
        for request in _variants(index, entry, positions):
            key = (request.mechanism, request.variant)
            if key in variants:
                raise SuiteError(
                    f'{source}: mechanisms[{index}]: {entry.name} has a variant "{request.variant}" already '
                    f"(mechanisms[{variants[key].index}]); give this one a name of its own with `variant:`"
                )
            variants[key] = request
    return [
        replace(request, seed=seed)
        for place, seed in enumerate(suite.seeds)
        for request in variants.values()
        if place < (suite.mechanisms[request.index].seeds or len(suite.seeds))
    ]


def crossing(suite: Suite, entry: MechanismEntry) -> list[str]:
    """Positions that the suite crosses an entry with: none where the entry says its own, and only those that its mechanism can have.

    Raises:
        SuiteError: there are none of these, or there is no such mechanism.
    """
    if not suite.positions or entry.position or "position" in {**entry.grid, **entry.settings}:
        return []
    swept = {key: values for key, values in entry.grid.items() if not key.startswith("model.")}
    allowed: list[str] = []
    for values in itertools.product(*swept.values()):
        try:
            found = _allowed(entry.name, {**entry.settings, **dict(zip(swept, values, strict=True))})
        except catalog.UnknownNameError as error:
            raise SuiteError(str(error)) from error
        if not set(found) & set(suite.positions):
            under = ", ".join(f"{key}={plain(value)}" for key, value in zip(swept, values, strict=True))
            raise SuiteError(
                f"{entry.name}{f' with {under}' if under else ''} can have none of the suite's positions; it can have "
                f"{', '.join(found)}; say its `position`"
            )
        allowed += [position for position in found if position not in allowed]
    return [position for position in suite.positions if position in allowed]


def _allowed(name: str, settings: dict[str, Any]) -> list[str]:
    """Positions that a mechanism can have with these settings."""
    return list(catalog.load("mechanisms", name).positions(settings))


def left_out(suite: Suite) -> list[str]:
    """Positions of the suite that a mechanism cannot have, a line each mechanism: `softmax: own, learned+own`."""
    found = {}
    for entry in suite.mechanisms:
        crossed = crossing(suite, entry)
        missing = [position for position in suite.positions if position not in crossed]
        if crossed and missing:
            found[entry.name] = f"{entry.name}: {', '.join(missing)}"
    return list(found.values())


def _variants(index: int, entry: MechanismEntry, positions: list[str]) -> Iterator[CellRequest]:
    """Every combination of an entry's grid and positions, as a request of seed 0."""
    grid = {**entry.grid, "position": positions} if positions else entry.grid
    fixed = {**entry.settings, **{f"model.{key}": value for key, value in entry.model.items()}}
    fixed |= {"position": entry.position} if entry.position else {}
    for values in itertools.product(*grid.values()):
        chosen = dict(zip(grid, values, strict=True))
        described = {**chosen} if entry.variant else {**fixed, **chosen}
        parts = [entry.variant] if entry.variant else []
        parts += [f"{key.removeprefix('model.')}={plain(value)}" for key, value in described.items()]
        position = chosen.pop("position", entry.position)
        model = {key: value for key, value in chosen.items() if key.startswith("model.")}
        settings = {key: value for key, value in chosen.items() if key not in model}
        if positions and position not in _allowed(entry.name, {**entry.settings, **settings}):
            continue  # of these settings, as others of the suite's positions that a mechanism cannot have
        yield CellRequest(
            entry.name,
            "+".join(parts) or "default",
            {**entry.settings, **settings},
            seed=0,
            index=index,
            position=position,
            model={**entry.model, **{key.removeprefix("model."): value for key, value in model.items()}},
        )


def check_compared(suite: Suite, requests: list[CellRequest], source: str) -> None:
    """Refuse a declared comparison with an entry that the suite lacks.

    Raises:
        SuiteError: one line with the place.
    """
    full = {f"{request.mechanism}:{request.variant}" for request in requests}
    known = full | {request.mechanism for request in requests}
    for index, names in enumerate(suite.compare):
        for name in names:
            if name not in known:
                raise SuiteError(
                    f'{source}: compare[{index}]: no entry of this suite is called "{name}"; {nearest(name, known)}'
                )


def paired_seeds(suite: Suite) -> int:
    """How many seeds every declared comparison can have; an entry's own number counts where a comparison names it beyond doubt."""
    named = {name for names in suite.compare for name in names}
    count = Counter(entry.name for entry in suite.mechanisms)
    own = [
        entry.seeds
        for entry in suite.mechanisms
        if entry.seeds
        and (f"{entry.name}:{entry.variant}" in named or (entry.name in named and count[entry.name] == 1))
    ]
    return min([len(suite.seeds), *own])


def plain(value: Any) -> str:
    """A setting's value in a label, as YAML writes it; no commas, which separate names in `--only`."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text.replace(", ", ";").replace(",", ";").replace("\n", " ").strip()


def select(cells: list[CellRequest], only: list[str]) -> list[CellRequest]:
    """Cells that match every `key=value,value`.

    Raises:
        SuiteError: an unknown key, a value that no cell has, or nothing is left.
    """
    left = cells
    for choice in only:
        key, equals, text = choice.partition("=")
        if not equals:
            raise SuiteError(
                f'--only {choice}: write it as key=value,value, for example "mechanism=kope,softmax"'
            )
        if key not in ONLY_KEYS:
            raise SuiteError(f'--only {choice}: unknown key "{key}"; {nearest(key, ONLY_KEYS)}')
        wanted = [value.strip() for value in text.split(",")]
        known = {str(getattr(cell, key)) for cell in cells}
        for value in wanted:
            if value not in known:
                raise SuiteError(f'--only {choice}: no cell has {key} "{value}"; {nearest(value, known)}')
        left = [cell for cell in left if str(getattr(cell, key)) in wanted]
        if not left:
            raise SuiteError(
                f"--only {choice}: leaves no cell beside the choices before it, which all must hold; several values of a key are written "
                f"together, as in {key}=a,b"
            )
    return left

"""From a suite to its cells: mechanisms × settings × seeds, each with its place in the file."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import Any

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
        seed: of order, augmentation, start values.
        index: of the mechanism's entry in the suite, for error messages.
    """

    mechanism: str
    variant: str
    settings: dict[str, Any]
    seed: int
    index: int


def expand(suite: Suite, source: str) -> list[CellRequest]:
    """All cells, seed by seed, so that an interrupted run has whole comparisons.

    Raises:
        SuiteError: two entries have the same mechanism and variant.
    """
    variants: dict[tuple[str, str], tuple[dict[str, Any], int]] = {}
    for index, entry in enumerate(suite.mechanisms):
        for variant, settings in _variants(entry):
            key = (entry.name, variant)
            if key in variants:
                raise SuiteError(
                    f'{source}: mechanisms[{index}]: {entry.name} has a variant "{variant}" already '
                    f"(mechanisms[{variants[key][1]}]); give this one a name of its own with `variant:`"
                )
            variants[key] = (settings, index)
    return [
        CellRequest(name, variant, settings, seed, index)
        for place, seed in enumerate(suite.seeds)
        for (name, variant), (settings, index) in variants.items()
        if place < (suite.mechanisms[index].seeds or len(suite.seeds))
    ]


def _variants(entry: MechanismEntry) -> list[tuple[str, dict[str, Any]]]:
    """(label, settings) of every combination of an entry's grid."""
    found = []
    for values in itertools.product(*entry.grid.values()):
        chosen = dict(zip(entry.grid, values, strict=True))
        described = {**chosen} if entry.variant else {**entry.settings, **chosen}
        parts = [entry.variant] if entry.variant else []
        parts += [f"{key}={plain(value)}" for key, value in described.items()]
        found.append(("+".join(parts) or "default", {**entry.settings, **chosen}))
    return found


def plain(value: Any) -> str:
    """A setting's value in a label, as YAML writes it; no commas, which separate names in `--only`."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text.replace(", ", ";").replace(",", ";").replace("\n", " ").strip()


def select(cells: list[CellRequest], only: list[str]) -> list[CellRequest]:
    """Cells that match every `key=value,value`.

    Raises:
        SuiteError: an unknown key, a value that no cell has, or nothing is left.
    """
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
        cells = [cell for cell in cells if str(getattr(cell, key)) in wanted]
    if not cells:
        raise SuiteError("--only leaves no cell")
    return cells

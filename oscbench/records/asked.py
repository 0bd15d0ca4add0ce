"""What suites asked for when they last ran: of several records of a cell a report shows that one, whether it is the newest or not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from oscbench.records import packed
from oscbench.records.schema import Record
from oscbench.records.store import ResultsError, Store, suite_name
from oscbench.records.writing import in_one_step

FILE = ".asked"
"""In a suite's folder: of each of its cells the identity."""


class Asked(NamedTuple):
    """A cell that a suite asks for, whether it has a record yet or not."""

    suite: str
    task: str
    mechanism: str
    variant: str
    seed: int
    identity: str


def note(store: Store, cells: Iterable[Asked | Record]) -> None:
    """Remember that these are asked for now; cells that are not among them stay as they are.

    Raises:
        ResultsError: the file system refuses.
    """
    by_suite: dict[str, dict[str, str]] = {}
    for cell in cells:
        by_suite.setdefault(suite_name(cell.suite), {})[_cell(cell)] = cell.identity
    for suite, asked in by_suite.items():
        path = store.folder(suite) / FILE
        try:
            with store.alone(suite, "asked"), in_one_step(path) as file:
                file.write(json.dumps({**_read(path), **asked}, indent=1, sort_keys=True).encode())
        except OSError as error:
            raise ResultsError(f"{path}: cannot be written ({error.strerror})") from error


def is_asked(store: Store) -> Callable[[Record], bool]:
    """Whether a record is what its suite asked for when it last ran in this store."""
    found: dict[str, str] = {}
    for path in store.files(FILE):
        found |= _read(path)
    return lambda record: found.get(_cell(record)) == record.identity


def _cell(cell: Asked | Record) -> str:
    return "|".join((cell.suite, cell.task, cell.mechanism, cell.variant, str(cell.seed)))


def _read(path: Path) -> dict[str, str]:
    """What was asked for; nothing where that cannot be read, since it only says which of two records is shown."""
    try:
        packed.regular(path)
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, packed.UnreadableError):
        return {}
    return {key: one for key, one in found.items() if isinstance(one, str)} if isinstance(found, dict) else {}

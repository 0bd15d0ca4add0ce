"""What suites asked for when they last ran: of several records of a cell a report shows that one, whether it is the newest or not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from oscbench.records import packed
from oscbench.records.schema import Record
from oscbench.records.store import ResultsError, Store
from oscbench.records.writing import in_one_step

FILE = ".asked"
"""In a suite's folder: of each of its cells the identity."""


def note(store: Store, records: Iterable[Record]) -> None:
    """Remember that these are asked for now; cells that are not among them stay as they are.

    Raises:
        ResultsError: the file system refuses.
    """
    by_folder: dict[Path, dict[str, str]] = {}
    for record in records:
        by_folder.setdefault(store.folder(record.suite), {})[_cell(record)] = record.identity
    for folder, asked in by_folder.items():
        path = folder / FILE
        try:
            with in_one_step(path) as file:
                file.write(json.dumps({**_read(path), **asked}, indent=1, sort_keys=True).encode())
        except OSError as error:
            raise ResultsError(f"{path}: cannot be written ({error.strerror})") from error


def is_asked(store: Store) -> Callable[[Record], bool]:
    """Whether a record is what its suite asked for when it last ran in this store."""
    found: dict[str, str] = {}
    for path in store.files(FILE):
        found |= _read(path)
    return lambda record: found.get(_cell(record)) == record.identity


def _cell(record: Record) -> str:
    return "|".join((record.suite, record.task, record.mechanism, record.variant, str(record.seed)))


def _read(path: Path) -> dict[str, str]:
    """What was asked for; nothing where that cannot be read, since it only says which of two records is shown."""
    try:
        packed.regular(path)
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, packed.UnreadableError):
        return {}
    return {key: one for key, one in found.items() if isinstance(one, str)} if isinstance(found, dict) else {}

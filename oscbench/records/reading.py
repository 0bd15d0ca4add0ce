"""From the bytes of a file to records, or to what is wrong with it; nothing here changes a file."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pydantic import ValidationError

from oscbench.records import packed
from oscbench.records.schema import Record

LONGEST = 500
"""Characters of a reason, which names a key of the file, whatever that holds."""


@dataclass(frozen=True)
class Damaged:
    """A file among the records that is not a record, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Contents:
    """What a packed file holds.

    Attributes:
        records: of one suite, all of its labels.
        ledgers: of its searches, as JSON.
        damaged: lines that are neither, or the file itself.
    """

    records: tuple[Record, ...]
    ledgers: tuple[bytes, ...]
    damaged: tuple[Damaged, ...]


def read(path: Path) -> Record | Damaged:
    """One record, or what is wrong with its file."""
    try:
        packed.regular(path)
        return parsed(path.read_bytes(), path)
    except packed.UnreadableError as error:
        return Damaged(path, str(error))
    except OSError as error:
        return Damaged(path, str(error.strerror))


def parsed(text: bytes, path: Path) -> Record | Damaged:
    """A record from its JSON, or what is wrong with it."""
    try:
        return Record.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "file"
        return Damaged(path, _told(f"{place}: {first['msg']}"))


def _told(reason: str) -> str:
    """A reason that fits into a line and can be shown anywhere."""
    cut = reason if len(reason) <= LONGEST else f"{reason[: LONGEST // 2]} … {reason[-LONGEST // 2 :]}"
    return "".join(letter if letter.isprintable() else "�" for letter in cut)


def contents(path: Path) -> Contents:
    """What a packed file holds; nothing where there is no such file."""
    try:
        found = path.stat()
    except OSError:
        return Contents((), (), ())
    return _read_pack(path, found.st_size, found.st_mtime_ns)


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Meanwhile Python looks for no cycles: records are many objects that stay and hold none, and looking took half of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@lru_cache(maxsize=64)
@uncollected()
def _read_pack(path: Path, size: int, changed_ns: int) -> Contents:
    """Read a packed file, once as long as it stays as it is."""
    del size, changed_ns
    records: list[Record] = []
    ledgers: list[bytes] = []
    damaged: list[Damaged] = []
    try:
        for number, line in enumerate(packed.lines(path), start=1):
            if line.startswith(packed.LEDGER):
                ledgers.append(line[len(packed.LEDGER) : -1])
                continue
            loaded = parsed(line, path)
            if isinstance(loaded, Record):
                records.append(loaded)
            else:
                damaged.append(Damaged(path, f"line {number}: {loaded.reason}"))
    except packed.UnreadableError as error:
        damaged.append(Damaged(path, str(error)))
    except OSError as error:
        damaged.append(Damaged(path, str(error.strerror)))
    return Contents(tuple(records), tuple(ledgers), tuple(damaged))

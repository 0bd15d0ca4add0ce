"""The only door to a results folder: one JSON file a cell, written whole or not at all, never overwritten."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import ValidationError

from oscbench.errors import UserError
from oscbench.records.schema import Record

_PRIVATE = (".locks", ".set_aside", "published")
"""Folders below a results folder that hold no records; `published` holds the papers' numbers."""


class ResultsError(UserError):
    """A results folder that cannot be used: missing, not a folder or not writable."""


@dataclass(frozen=True)
class Damaged:
    """A file among the records that is not a record, and why."""

    path: Path
    reason: str


def suite_name(label: str) -> str:
    """The suite's name without what `--set` changed: `smoke[train.epochs=3]` -> `smoke`."""
    return label.split("[", 1)[0]


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.+=-]+", "-", text).strip("-") or "x"


class Store:
    """Records below one results folder, as `<suite>/<task>-<mechanism>-<variant>-seed<k>-<identity>.json`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def prepare(self) -> None:
        """Make the folder and prove that it can be written.

        Raises:
            ResultsError: it is a file, or cannot be created or written.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as error:
            raise ResultsError(f"{self.root}: results folder cannot be written ({error.strerror})") from error

    def path(self, suite: str, task: str, mechanism: str, variant: str, seed: int, identity: str) -> Path:
        """Where the record of such a cell lies."""
        name = f"{_slug(task)}-{_slug(mechanism)}-{_slug(variant)}-seed{seed}-{identity}.json"
        return self.root / _slug(suite_name(suite)) / name

    def find(self, suite: str, identity: str) -> Record | None:
        """The record of a cell; a damaged file in its place is set aside and counts as absent."""
        folder = self.root / _slug(suite_name(suite))
        for path in folder.glob(f"*-{identity}.json"):
            loaded = read(path)
            if isinstance(loaded, Record) and loaded.identity == identity:
                return loaded
            self.set_aside(path)
        return None

    def write(self, record: Record) -> Path:
        """Write a record under its final name in one step; an existing one is left as it is."""
        path = self.path(
            record.suite, record.task, record.mechanism, record.variant, record.seed, record.identity
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".writing-", suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(record.model_dump_json(indent=1))
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o644)
            with contextlib.suppress(FileExistsError):
                os.link(temporary, path)
        finally:
            Path(temporary).unlink(missing_ok=True)
        return path

    def set_aside(self, path: Path) -> Path:
        """Move a file out of the records' way without losing it; returns where it went."""
        folder = path.parent / ".set_aside"
        folder.mkdir(exist_ok=True)
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        target = folder / f"{stamp}-{path.name}"
        with contextlib.suppress(FileNotFoundError):
            path.rename(target)
        return target

    @contextlib.contextmanager
    def lock(self, suite: str, identity: str) -> Iterator[bool]:
        """Hold the cell's lock, or yield False where another process holds it; the lock dies with its process."""
        folder = self.root / _slug(suite_name(suite)) / ".locks"
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{identity}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def read_all(self) -> tuple[list[Record], list[Damaged]]:
        """Every record below the folder in a stable order, and every file that is none.

        Raises:
            ResultsError: there is no such folder.
        """
        if not self.root.is_dir():
            raise ResultsError(f"{self.root}: no such results folder")
        records: list[Record] = []
        damaged: list[Damaged] = []
        for path in sorted(self.root.rglob("*.json")):
            if any(part in _PRIVATE for part in path.relative_to(self.root).parts):
                continue
            loaded = read(path)
            if isinstance(loaded, Record):
                records.append(loaded)
            else:
                damaged.append(loaded)
        return records, damaged


def read(path: Path) -> Record | Damaged:
    """One record, or what is wrong with its file."""
    try:
        return Record.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "file"
        return Damaged(path, f"{place}: {first['msg']}")
    except OSError as error:
        return Damaged(path, str(error.strerror))

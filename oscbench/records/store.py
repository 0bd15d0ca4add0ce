"""The only door to a results folder: one JSON file a cell, written whole or not at all, never overwritten.

A suite's records may also lie packed, as `<suite>.jsonl.gz` beside where its folder would be; they are read alike.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from oscbench import words
from oscbench.errors import UserError
from oscbench.records import packed, writing
from oscbench.records.index import FolderIndex
from oscbench.records.locks import Locks
from oscbench.records.reading import Damaged, contents, read, uncollected
from oscbench.records.schema import Record

_LOG = logging.getLogger(__name__)
_PRIVATE = (".locks", ".checkpoints", ".set_aside", ".measured", ".reporters", "published")
"""Folders below a results folder that hold no records; `published` holds the papers' numbers."""

LEDGER_SUFFIX = ".ledger.json"
"""Files that stand among the records and are none."""

DIAGNOSTICS_SUFFIX = ".diagnostics.npz"
"""What a trained model's mechanism did with one example, beside its weights."""

_NAME_BYTES = 255
"""Of a file's name, on every usual file system."""

TRIES, PAUSE_S = 50, 0.1
_WRITING_S = 600.0
"""Writing takes milliseconds: a file that is still unfinished after so long belongs to a process that died."""

_COMMITTED = ("reference",)
"""Folders directly below a results folder that are read only when they are asked for by their own path."""


class ResultsError(UserError):
    """A results folder that cannot be used: missing, not a folder or not writable."""


def suite_name(label: str) -> str:
    """The suite's name without what `--set` changed: `smoke[train.epochs=3]` -> `smoke`."""
    return label.split("[", 1)[0]


def _slug(text: str) -> str:
    """A name of a file or folder, inside the one where it is put."""
    slug = re.sub(r"[^A-Za-z0-9_.+=-]+", "-", text).strip("-")
    return slug if slug.strip(".") else "x"


def _short(text: str) -> str:
    """Part of a file name: whole names may be too long for a file system, and the identity is exact."""
    return _slug(text)[:60]


def folder_name(suite: str) -> str:
    """Of a suite's folder, by its label."""
    return _slug(suite_name(suite))


def _unseen(folder: Path, seen: set[str]) -> bool:
    """Whether a folder was not seen yet, which it then is: a suite's may be a link, onto another disk or to what was read already."""
    real = os.path.realpath(folder)
    new = real not in seen
    seen.add(real)
    return new


class Store:
    """Records below one results folder, as `<suite>/<task>-<mechanism>-<variant>-seed<k>-<identity>.json`.

    A record made with `--set` stands beside them, with a hash of the suite's label after the identity.

    Args:
        root: the results folder.
        tell: is told of every damaged file; by default it is logged, which a terminal sees on standard error.
        locks: kind of the locks between runs, of `oscbench.records.locks`.
    """

    def __init__(self, root: Path, tell: Callable[[str], None] = _LOG.warning, locks: str = "auto") -> None:
        self.root = root
        self._locks = Locks(locks)
        self.tell = tell
        self._indexes: dict[Path, FolderIndex] = {}

    def prepare(self) -> None:
        """Make the folder, prove that it can be written, and remove what processes left there that died while writing.

        Raises:
            ResultsError: it is a file, or cannot be created or written.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as error:
            raise ResultsError(f"{self.root}: results folder cannot be written ({error.strerror})") from error
        self._tidy()

    def _tidy(self) -> None:
        long_ago = time.time() - _WRITING_S
        for path in self.files(writing.SUFFIX):
            with contextlib.suppress(OSError):  # another run may do the same at this moment
                if path.name.startswith(writing.PREFIX) and path.stat().st_mtime < long_ago:
                    path.unlink()

    def folder(self, suite: str) -> Path:
        """Where the records of a suite lie, whatever its label."""
        return self.root / folder_name(suite)

    def packed(self, suite: str) -> Path:
        """Where the records of a suite lie if they are packed."""
        return self.root / (folder_name(suite) + packed.SUFFIX)

    def path(self, suite: str, task: str, mechanism: str, variant: str, seed: int, identity: str) -> Path:
        """Where the record of such a cell lies."""
        label = "" if suite == suite_name(suite) else f"-{words.mark(suite)}"
        name = (
            f"{_short(task)}-{_short(mechanism)}-{_short(variant)}-seed{seed}-{_slug(identity)}{label}.json"
        )
        return self.folder(suite) / name

    def path_of(self, record: Record) -> Path:
        """Where a record lies."""
        rest = (record.variant, record.seed, record.identity)
        path = self.path(record.suite, record.task, record.mechanism, *rest)
        if record.spec.get("kind") == "timing" and not path.exists():
            # Where the first schema filed it, whoever was timed.
            earlier = self.path(record.suite, record.task, "softmax", *rest)
            return earlier if earlier.exists() else path
        return path

    def weights_path(self, record: Record) -> Path:
        """Where the weights of a cell lie, if they were kept; all labels of a suite share them."""
        own = record.model_copy(update={"suite": suite_name(record.suite)})
        return self.path_of(own).with_suffix(".safetensors")

    def write_weights(self, record: Record, weights: bytes) -> Path:
        """Write a cell's weights beside its record, in one step.

        Raises:
            ResultsError: the file system refuses.
        """
        path = self._write_beside(self.weights_path(record), weights)
        with contextlib.suppress(OSError):  # what was worked out of other weights
            self.diagnostics_path(record).unlink(missing_ok=True)
        return path

    def diagnostics_path(self, record: Record) -> Path:
        """Where lies what a trained model's mechanism did with one example, if that was worked out."""
        return self.weights_path(record).with_suffix(DIAGNOSTICS_SUFFIX)

    def write_diagnostics(self, record: Record, diagnostics: bytes) -> Path:
        """Write them beside the record's weights, in one step.

        Raises:
            ResultsError: the file system refuses.
        """
        return self._write_beside(self.diagnostics_path(record), diagnostics)

    def _write_beside(self, path: Path, content: bytes) -> Path:
        """Write a file that stands beside a record."""
        try:
            with writing.in_one_step(path) as file:
                file.write(content)
        except OSError as error:
            raise ResultsError(f"{path}: cannot be written ({error.strerror})") from error
        return path

    def find(self, suite: str, identity: str, *, tidy: bool = True, at: Path | None = None) -> Record | None:
        """The record of a cell under the suite's label, or else the same cell's under another of its labels.

        Args:
            suite: label.
            identity: of the cell.
            tidy: set a damaged file in its place aside; it counts as absent either way.
            at: the cell's path. A large folder is not scanned again after each file that other runs write into it, and with
                the path what they wrote a moment ago is found all the same.
        """
        index, other = self._index(suite), None
        for path in [index.folder / name for name in index.names(identity, at.name if at else None)]:
            if not path.exists():
                index.drop(path.name)
                continue
            loaded = read(path)
            if isinstance(loaded, Record) and loaded.identity == identity:
                if loaded.suite == suite:
                    return loaded
                other = other or loaded
            elif tidy:
                reason = loaded.reason if isinstance(loaded, Damaged) else "is the record of another cell"
                self.tell(f"{path}: {reason}; set aside as {self.set_aside(path)}")
        for loaded in contents(self.packed(suite)).records:
            if loaded.identity == identity:
                if loaded.suite == suite:
                    return loaded
                other = other or loaded
        return other

    def _index(self, suite: str) -> FolderIndex:
        folder = self.folder(suite)
        return self._indexes.setdefault(folder, FolderIndex(folder))

    def has(self, record: Record) -> bool:
        """Whether a record is still there: as a file of its name, or packed."""
        return self.path_of(record).exists() or any(
            (one.suite, one.identity) == (record.suite, record.identity)
            for one in contents(self.packed(record.suite)).records
        )

    def write(self, record: Record) -> Path:
        """Write a record under its final name in one step; an existing one is left as it is.

        Raises:
            ResultsError: the file system refuses, for example because it is full.
        """
        path = self.path_of(record)
        try:
            with writing.in_one_step(path, writing.put_new) as file:
                file.write(record.model_dump_json(indent=1).encode())
        except OSError as error:
            raise ResultsError(f"{path}: record cannot be written ({error.strerror})") from error
        self._index(record.suite).add(path.name)
        return path

    def set_aside(self, path: Path) -> Path:
        """Move a file out of the records' way without losing it; returns where it went.

        Raises:
            ResultsError: it cannot be moved, and would keep a record from being written.
        """
        folder = path.parent / ".set_aside"
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        kept = os.fsencode(path.name)[-_NAME_BYTES + len(stamp) + 1 :]  # the end holds the identity
        target = folder / f"{stamp}-{kept.decode(errors='replace')}"
        try:
            folder.mkdir(exist_ok=True)
            path.rename(target)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise ResultsError(
                f"{folder}: {path.name} cannot be set aside there ({error.strerror})"
            ) from error
        return target

    def lock(self, suite: str, identity: str) -> contextlib.AbstractContextManager[bool]:
        """Hold the cell's lock, or yield False where another process does; the lock dies with its process, or soon after."""
        return self._hold(self.folder(suite) / ".locks" / f"{identity}.lock")

    @contextlib.contextmanager
    def alone(self, suite: str, what: str) -> Iterator[None]:
        """While no other run writes what a suite's runs share, or after some tries all the same: waiting for ever would cost more."""
        for _ in range(TRIES):
            with self.lock(suite, what) as held:
                if held:
                    yield
                    return
            time.sleep(PAUSE_S)
        yield

    @contextlib.contextmanager
    def _hold(self, path: Path) -> Iterator[bool]:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = self._locks.take(path)
        except OSError as error:
            raise ResultsError(f"{path.parent}: lock cannot be taken ({error.strerror})") from error
        try:
            yield lock is not None
        finally:
            if lock is not None:
                lock.release()

    def shared(self, key: str, usable: Callable[[Any], bool] = bool) -> dict[str, Any] | None:
        """A value that was measured once in this folder, for all who ask; None where it has not been, or is damaged.

        Args:
            key: its name.
            usable: whether what is kept is such a value.

        Raises:
            ResultsError: the file system refuses.
        """
        path = self._shared_path(key)
        try:
            packed.regular(path)
            kept = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError, packed.UnreadableError):
            return None
        except OSError as error:
            raise ResultsError(f"{path}: cannot be read ({error.strerror})") from error
        return kept if isinstance(kept, dict) and usable(kept) else None

    def share(self, key: str, made: dict[str, Any]) -> None:
        """Keep a value that was measured, in the place of an older one.

        Raises:
            ResultsError: the file system refuses.
        """
        path = self._shared_path(key)
        try:
            with writing.in_one_step(path) as file:
                file.write(json.dumps(made, indent=1, allow_nan=False).encode())
        except OSError as error:
            raise ResultsError(f"{path}: cannot be shared ({error.strerror})") from error

    def lock_shared(self, key: str) -> contextlib.AbstractContextManager[bool]:
        """Hold a shared value's lock while it is measured, or yield False where another process does."""
        return self._hold(self._shared_path(key).with_suffix(".lock"))

    def _shared_path(self, key: str) -> Path:
        return self.root / ".measured" / f"{key}.json"

    def files(self, suffix: str) -> list[Path]:
        """Files below the folder that end so, without those that are kept apart, in a stable order.

        Raises:
            ResultsError: a folder of them cannot be read.
        """

        def cannot(error: OSError) -> None:
            # What vanishes meanwhile is no loss; what cannot be read would be left out unsaid.
            if isinstance(error, PermissionError):
                raise ResultsError(f"{error.filename}: cannot be read ({error.strerror})") from error

        found = []
        root = Path(os.path.realpath(self.root))
        seen = {str(root), *map(str, root.parents)}
        for name, folders, names in os.walk(self.root, onerror=cannot, followlinks=True):
            folder = Path(name)
            kept_apart = {*_PRIVATE, *(_COMMITTED if folder == self.root else ())}
            inside = [one for one in folders if one not in kept_apart]
            inside.sort(key=lambda one: ((folder / one).is_symlink(), one))
            folders[:] = [one for one in inside if _unseen(folder / one, seen)]
            found += [folder / one for one in (*names, *folders) if one.endswith(suffix)]
        return sorted(found)

    @uncollected()
    def read_all(self) -> tuple[list[Record], list[Damaged]]:
        """Every record below the folder in a stable order, and every file that is none.

        Raises:
            ResultsError: there is no such folder.
        """
        if not os.path.isdir(self.root):  # noqa: PTH112 (a name that is too long is no folder, and no traceback)
            raise ResultsError(f"{self.root}: no such results folder")
        records: list[Record] = []
        damaged: list[Damaged] = []
        for path in self.files(".json"):
            if path.name.endswith(LEDGER_SUFFIX):
                continue
            loaded = read(path)
            if isinstance(loaded, Record):
                records.append(loaded)
            else:
                damaged.append(loaded)
        for path in self.files(packed.SUFFIX):
            pack = contents(path)
            records += pack.records
            damaged += pack.damaged
        for one in damaged:
            self.tell(f"{one.path}: {one.reason}; left out")
        return records, damaged

    def holders(self) -> Iterator[tuple[str, Path]]:
        """The name of every record's file with the file that holds it, which for a packed record is the packed one."""
        for path in self.files(".json"):
            if not path.name.endswith(LEDGER_SUFFIX):
                yield path.name, path
        for path in self.files(packed.SUFFIX):
            for record in contents(path).records:
                yield self.path_of(record).name, path

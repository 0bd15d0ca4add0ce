"""The store: a folder of data sets filed by content hash, with a manifest from names to what was filed.

    <store>/manifest.json                    name -> where, size, SHA-256, date
    <store>/files/<sha256>/<name>            the data, as brought
    <store>/prepared/…                       tensors made from data, see `prepared`; safe to delete

The folder is `$OSCBENCH_DATA`, or `~/.cache/oscbench`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from oscbench.data.fingerprint import Fingerprint, files_below, fingerprint, fingerprint_now, sha256_of, stamp
from oscbench.data.known import KNOWN, Known
from oscbench.data.used import note
from oscbench.errors import UserError, nearest
from oscbench.records.writing import in_one_step

_PLACE = r"files/[0-9a-f]{64}/[A-Za-z0-9_][A-Za-z0-9_.-]*"
"""What is filed lies there and nowhere else: whatever a manifest names is deleted when the data are brought again."""
ARCHIVES = (".zip", ".gz", ".tgz", ".bz2", ".xz", ".tar", ".zst")


class Entry(BaseModel):
    """What the manifest says of a stored data set.

    Attributes:
        path: below the store.
        num_bytes: of all files.
        num_files: how many.
        sha256: of the content when it was added, see `Fingerprint`.
        stamp: names, sizes and times of change then; another one means that the hash is taken again before use.
        added_utc: when.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    num_bytes: int
    num_files: int
    sha256: str
    stamp: str
    added_utc: datetime

    @model_validator(mode="after")
    def _stays_in_the_store(self) -> Entry:
        if self.path.split("/")[:2] != ["files", self.sha256] or not re.fullmatch(_PLACE, self.path):
            raise ValueError("path must be files/<sha256>/<name>, and sha256 the same")
        return self


class _Manifest(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    data: dict[str, Entry] = {}


@dataclass(frozen=True)
class Located:
    """A file or folder that is there.

    Attributes:
        path: where.
        where: the setting that asked for it, for messages.
        name: of the stored data set; None for a path of one's own.
        entry: what the manifest says of it; None for a path of one's own.
    """

    path: Path
    where: str
    name: str | None = None
    entry: Entry | None = None

    def sha256(self) -> str:
        """Hash of the content, for data hashes and keys of prepared tensors; stored data are held to their record.

        Raises:
            UserError: the content is not what was added, or cannot be read.
        """
        try:
            if self.entry is None:
                return fingerprint(self.path).sha256
            if stamp(self.path) == self.entry.stamp:
                return self.entry.sha256
            found = fingerprint(self.path).sha256
        except OSError as error:
            raise UserError(f"{self.where}: {self.path}: cannot be read ({error.strerror})") from error
        if found != self.entry.sha256:
            raise UserError(f"{self.where}: {_changed(str(self.name), self.path, found, self.entry)}")
        return found


def data_root() -> Path:
    """The store's folder, which need not be there yet."""
    given = os.environ.get("OSCBENCH_DATA")
    return Path(given).expanduser().absolute() if given else Path("~/.cache/oscbench").expanduser()


def entries() -> dict[str, Entry]:
    """What is stored, by name.

    Raises:
        UserError: the manifest cannot be read.
    """
    return dict(_read_manifest().data)


def locate(path_or_name: str, where: str = "task.path") -> Located:
    """The file or folder behind a stored data set's name, or behind a path.

    A known name always means the store; a file of that name is written `./enwik8`.

    Args:
        path_or_name: as a suite gives it.
        where: the setting that asks, for messages.

    Raises:
        UserError: nothing is there, or what is stored is no longer whole; says what to do.
    """
    if path_or_name in KNOWN:
        return note(_stored(path_or_name, where))
    path = Path(path_or_name)
    if path.exists():
        return note(Located(path, where))
    looks_like_name = not path.suffix and not any(mark in path_or_name for mark in "/\\")
    if looks_like_name:
        raise UserError(
            f"{where}: {path_or_name}: neither a stored data set nor a file or folder; {nearest(path_or_name, KNOWN)}"
        )
    raise UserError(
        f"{where}: {path_or_name}: no such file or folder; "
        f"give a path, or the name of a stored data set ({', '.join(sorted(KNOWN))})"
    )


def add(name: str, source: Path, *, link: bool = False) -> Entry:
    """File a data set under its name, after checking that it is what it should be.

    Args:
        name: of a known data set.
        source: the file or folder.
        link: make hard links instead of copies; the store then shares its bytes with the source.

    Raises:
        UserError: an unknown name, a source of the wrong form, or a store that cannot be written.
    """
    known = known_data(name)
    mistake = form_mistake(known, source) or _outward_link(known, source)
    if mistake:
        raise UserError(f"{name}: {mistake}")
    root = data_root()
    try:
        (root / "files").mkdir(parents=True, exist_ok=True)
        with FileLock(root / ".manifest.lock"):
            _tidy(root)
            place, seen = _file_away(known, source, root, link=link)
            entry = Entry(
                path=place.relative_to(root).as_posix(),
                num_bytes=seen.num_bytes,
                num_files=seen.num_files,
                sha256=seen.sha256,
                stamp=stamp(place),
                added_utc=datetime.now(UTC),
            )
            data = _read_manifest().data
            _write_manifest(root, _Manifest(data={**data, name: entry}))
            _forget(root, data.get(name), entry)
    except OSError as error:
        what = f"{error.filename or root}: {error.strerror or error}"
        raise UserError(f"{name}: cannot be filed in the data store {root} ({what})") from error
    return entry


def verify(name: str) -> str | None:
    """Read a stored data set again; what is wrong with it, or None.

    Raises:
        UserError: an unknown name, or one that is not stored.
    """
    found = _stored(known_data(name).name, "data", complete=False)
    assert found.entry is not None
    if lost := gone(name, found.entry):
        return lost
    try:
        seen = fingerprint_now(found.path)
    except OSError as error:
        return f"{error.filename}: cannot be read ({error.strerror})"
    if seen.sha256 != found.entry.sha256:
        return _changed(name, found.path, seen.sha256, found.entry)
    return None


def gone(name: str, entry: Entry) -> str | None:
    """A line on a data set that the manifest names and that lies there no longer, or None."""
    path = data_root() / entry.path
    return None if path.exists() else f"{name}: {path} is gone; {_remedy(name)}"


def form_mistake(known: Known, source: Path) -> str | None:
    """Why a file or folder cannot be this data set, or None."""
    if not source.exists():
        return f"{source}: no such file or folder"
    if source.is_file() and source.suffix in ARCHIVES:
        return f"{source}: is an archive; unpack it first"
    if known.is_file != source.is_file():
        wanted = (
            "a file"
            if known.is_file
            else f"a folder with {', '.join(file.name for file in known.files) or 'all files'}"
        )
        return f"{source}: must be {wanted}"
    for file, path in known.parts(source):
        try:
            if not path.is_file():
                return f"{path}: no such file; {known.name} is {known.what}"
            size = path.stat().st_size
            if size != (file.num_bytes or size) or size == 0:
                wanted = f"{file.num_bytes:,}" if file.num_bytes else "more than 0"
                return f"{path}: has {size:,} bytes, {file.name} has {wanted}: truncated, or another file"
            if file.sha256 and (found := sha256_of(path)) != file.sha256:
                return f"{path}: its SHA-256 is {found}, {file.name} as published has {file.sha256}"
        except OSError as error:
            return f"{path}: cannot be read ({error.strerror})"
    try:
        mistake = known.mistake(source) if known.mistake else None
    except OSError as error:
        return f"{error.filename or source}: cannot be read ({error.strerror})"
    return f"{source}: {mistake}" if mistake else None


def _outward_link(known: Known, source: Path) -> str | None:
    """A link among the files that leads out of the source, so that what is filed would depend on what lies elsewhere; or None."""
    if known.is_file:
        return None
    inside = source.resolve()
    try:
        for _, path in _contents(known, source):
            if not path.resolve().is_relative_to(inside):
                link = next(one for one in (path, *path.parents) if one.is_symlink())
                return f"{link}: is a link to {link.resolve()}, which is not in {source}; put what it leads to in its place"
    except OSError as error:
        return f"{error.filename}: {error.strerror}"
    return None


def _tidy(root: Path) -> None:
    """Remove what killed processes left half done: whoever holds the store's lock is the only one who adds."""
    for path in (root / "files").glob(".adding-*"):
        shutil.rmtree(path, ignore_errors=True)
    for path in root.glob(".writing-*"):
        path.unlink(missing_ok=True)


def _file_away(known: Known, source: Path, root: Path, *, link: bool) -> tuple[Path, Fingerprint]:
    """Copy or link into a temporary folder, hash what arrived, and give it its name in one step; what is where."""
    temporary = Path(tempfile.mkdtemp(prefix=".adding-", dir=root / "files"))
    try:
        arrived = temporary / known.name
        for relative, path in _contents(known, source):
            target = arrived / relative if relative else arrived
            target.parent.mkdir(parents=True, exist_ok=True)
            _take(path, target, link=link)
        if mistake := form_mistake(known, arrived):  # it changed since it was checked, or not all of it came
            raise UserError(f"{known.name}: {mistake}")
        seen = fingerprint_now(arrived)
        place = root / "files" / seen.sha256 / known.name
        if place.exists() and fingerprint_now(place) != seen:
            _remove(place)  # damaged since it was filed, and brought again
        if not place.exists():
            place.parent.mkdir(exist_ok=True)
            arrived.rename(place)
        return place, seen
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _contents(known: Known, source: Path) -> list[tuple[str, Path]]:
    """Relative name and path of what is filed: the declared files, or all of the folder."""
    if known.whole_folder:
        return files_below(source)
    return [("" if known.is_file else file.name, path) for file, path in known.parts(source)]


def _take(path: Path, target: Path, *, link: bool) -> None:
    if link:
        with contextlib.suppress(OSError):  # another file system: copy
            os.link(path.resolve(), target)
            return
    shutil.copyfile(path, target)


def _forget(root: Path, old: Entry | None, new: Entry) -> None:
    """Remove what a name meant before it was added again."""
    if old is not None and old.sha256 != new.sha256:
        with contextlib.suppress(OSError):  # what is left of it is in nobody's way
            _remove(root / old.path)


def _remove(place: Path) -> None:
    """Remove what a name stands for, and the folder of its hash where no other name has the same content."""
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        place.parent.rmdir()


def known_data(name: str) -> Known:
    """The data set of a name.

    Raises:
        UserError: there is none; gives the nearest.
    """
    if name not in KNOWN:
        raise UserError(f'no data set "{name}"; {nearest(name, KNOWN)}')
    return KNOWN[name]


def _stored(name: str, where: str, *, complete: bool = True) -> Located:
    root = data_root()
    entry = entries().get(name)
    if entry is None:
        raise UserError(f"{where}: {name}: not in the data store {root}; {_remedy(name)}")
    path = root / entry.path
    if complete and (lost := gone(name, entry)):
        raise UserError(f"{where}: {lost}")
    if complete and path.is_file() and path.stat().st_size != entry.num_bytes:
        raise UserError(
            f"{where}: {name}: {path} has {path.stat().st_size:,} bytes, on record {entry.num_bytes:,}; {_remedy(name)}"
        )
    return Located(path, where, name, entry)


def _remedy(name: str) -> str:
    return f"bring it with: oscbench data add {name} --from PATH"


def _changed(name: str, path: Path, found: str, entry: Entry) -> str:
    return f"{name}: {path}: its SHA-256 is {found[:16]}…, on record {entry.sha256[:16]}…; {_remedy(name)}"


def _read_manifest() -> _Manifest:
    path = data_root() / "manifest.json"
    try:
        return _Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return _Manifest()
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "file"
        raise UserError(
            f"{path}: not readable as a manifest: {place}: {first['msg']}; delete it and add the data again"
        ) from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def _write_manifest(root: Path, manifest: _Manifest) -> None:
    with in_one_step(root / "manifest.json", mode=0o600) as file:
        file.write(manifest.model_dump_json(indent=1).encode())

"""Packing the records of a suite into one file to commit or to send, and back.

What is left out: raw samples, which no report reads (their number stays, as `n`), and where the suite's file lay on the machine.
Values, curves, settings and identities stay as they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from oscbench.errors import UserError, first_line, nearest
from oscbench.records import packed
from oscbench.records.asked import is_asked
from oscbench.records.ledger import Ledger, find_ledgers, ledger_path, read_ledger, write_ledger
from oscbench.records.reading import contents
from oscbench.records.schema import FINAL, Measurement, Record
from oscbench.records.store import ResultsError, Store, folder_name, suite_name

_QUOTED = re.compile(r"""(['"`])(?:file://)?(?:/|[A-Za-z]:\\)(?:[^'"`/\\\n]+[/\\])+([^'"`/\\\n]+)\1""")
"""An absolute path between quotes, in which folders may have spaces, and its last part."""
_FOLDERS = re.compile(
    r"""(^|[\s"'(=\[,;:`])(?:file://)?(?:/[\w.+~@-]+)+/|(^|[\s"'(=\[,;:`])[A-Za-z]:\\(?:[^\\\s]+\\)*"""
)
"""An absolute path in a text, up to its last part."""

_SYSTEM = ("/proc/", "/sys/", "/dev/")
"""Paths that are the same on every machine, and say something."""


class PackError(UserError):
    """Nothing to pack, or a packed file that cannot be read whole."""


@dataclass(frozen=True)
class Packed:
    """One packed file, and how many records it holds and is new to."""

    path: Path
    count: int
    new: int


def pack(suite: str, results: Path, output: Path) -> list[Packed]:
    """Write `<output>/<device>/<suite>.jsonl.gz`, one file a device; records that lie there already stay unless these are newer.

    Of several records of a cell a pack shows the newest: of those in `results` what is newer than the one that the suite last asked for is
    left out.

    Args:
        suite: name; every label of it is packed, trials of a search too.
        results: folder that holds the records, loose or packed.
        output: as `results/reference`.

    Raises:
        UserError: no record of this suite, a damaged one, or a file that cannot be written.
    """
    found = _of_suite(suite, results)
    asked = is_asked(Store(results))
    ledgers = _ledgers(suite, results)
    made = []
    for device in sorted({record.device for record in found}):
        store = Store(output / folder_name(device))
        path = store.packed(suite)
        there = {_key(record): record for record in _whole(path)[0]}
        kept = dict(there)
        own = [record for record in found if record.device == device]
        shown = {_key(record)[:-1]: record for record in own if asked(record)}
        for record in own:
            older = kept.get(_key(record))
            worth_more = older is not None and _worth(older) > _worth(record)
            if not (worth_more or _newer(record, shown.get(_key(record)[:-1]))):
                kept[_key(record)] = lean(record)
        labels = {record.suite for record in kept.values()}
        told = _ledgers(suite, path.parent)
        told |= {label: ledger for label, ledger in ledgers.items() if label in labels}
        _write(path, [kept[key] for key in sorted(kept)], [told[label] for label in sorted(told)])
        made.append(Packed(path, len(kept), len(kept) - len(there)))
    return made


def unpack(path: Path, results: Path) -> tuple[int, Path]:
    """Write every record of a packed file as a file of its own, where none is yet; how many it holds, and their folder.

    Raises:
        UserError: it is no packed file, or the folder cannot be written.
    """
    if not path.name.endswith(packed.SUFFIX) or not path.is_file():
        raise PackError(f"{path}: no such file of packed records (SUITE{packed.SUFFIX})")
    records, ledgers = _whole(path)
    store = Store(results)
    store.prepare()
    folder = results
    for record in records:
        folder = store.write(record).parent
    for ledger in ledgers:
        there = read_ledger(ledger_path(store, ledger.suite))
        if there is None or there.request == ledger.request:
            write_ledger(store, ledger)
    return len(records), folder


def lean(record: Record) -> Record:
    """A record without raw samples, paths of the machine, and pictures of data that were brought, which are not ours to hand on."""
    task = record.spec.get("task")
    brought = isinstance(task, dict) and bool(task.get("path"))
    measures = {name: _without_samples(measured, brought) for name, measured in record.measures.items()}
    given = dict(record.spec_given)
    if isinstance(given.get("source"), str):
        given["source"] = re.split(r"[/\\]", given["source"])[-1]
    changes = {
        name: _without_folders(getattr(record, name))
        for name in ("reason", "environment", "flags", "calibration")
    }
    given = _without_folders(given)
    return record.model_copy(update={"measures": measures, "spec_given": given, **changes})


def _of_suite(suite: str, results: Path) -> list[Record]:
    records, damaged = Store(results, tell=lambda text: None).read_all()
    folder = Store(results).folder(suite).name
    if wrong := [
        one for one in damaged if folder in (one.path.parent.name, one.path.name.removesuffix(packed.SUFFIX))
    ]:
        raise PackError(f"{wrong[0].path}: {wrong[0].reason}; nothing was packed")
    found = [record for record in records if suite_name(record.suite) == suite]
    if not found:
        known = {suite_name(record.suite) for record in records}
        raise PackError(f'suite "{suite}" has no records in {results}; {nearest(suite, known)}')
    return found


def _ledgers(suite: str, results: Path) -> dict[str, Ledger]:
    return {one.suite: one for _, one in find_ledgers(results) if suite_name(one.suite) == suite}


def _whole(path: Path) -> tuple[tuple[Record, ...], tuple[Ledger, ...]]:
    """Every record and every ledger of a packed file; none where there is no file.

    Raises:
        PackError: part of it cannot be read, and would be lost if it were written again.
    """
    if not path.exists():
        return (), ()
    found = contents(path)
    if found.damaged:
        raise PackError(f"{path}: {found.damaged[0].reason}")
    try:
        return found.records, tuple(Ledger.model_validate_json(text) for text in found.ledgers)
    except ValidationError as error:
        raise PackError(f"{path}: a search's ledger: {first_line(error)}") from error


def _key(record: Record) -> tuple[str, str, str, str, int, str]:
    return (record.suite, record.task, record.mechanism, record.variant, record.seed, record.identity)


def _worth(record: Record) -> tuple[bool, datetime]:
    """What breaks costs no result that was there; else the later one counts."""
    return record.status in FINAL, record.finished_utc


def _newer(record: Record, shown: Record | None) -> bool:
    return (
        shown is not None and record.identity != shown.identity and record.finished_utc >= shown.finished_utc
    )


def _write(path: Path, records: list[Record], ledgers: list[Ledger]) -> None:
    lines = [record.model_dump_json().encode() for record in records]
    lines += [packed.LEDGER + ledger.model_dump_json().encode() + b"}" for ledger in ledgers]
    try:
        packed.write(path, lines)
    except OSError as error:
        raise ResultsError(f"{path}: packed records cannot be written ({error.strerror})") from error


def _without_samples(measured: Measurement, brought: bool) -> Measurement:
    details = {
        key: value
        for key, value in measured.details.items()
        if not (key.endswith("samples") or (brought and key == "examples"))
    }
    reason = _without_folders(measured.reason)
    return measured.model_copy(update={"samples": (), "details": _without_folders(details), "reason": reason})


def _without_folders(value: Any) -> Any:
    """The same with every absolute path in its texts cut down to its last part."""
    if isinstance(value, dict):
        return {key: _without_folders(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_without_folders(one) for one in value)
    if not isinstance(value, str):
        return value
    value = _QUOTED.sub(
        lambda found: found[0] if found[0][1:].startswith(_SYSTEM) else f"{found[1]}{found[2]}{found[1]}",
        value,
    )
    return _FOLDERS.sub(
        lambda found: found[0] if found[0].lstrip(" \"'(=[,;:`").startswith(_SYSTEM) else found[1] or "",
        value,
    )

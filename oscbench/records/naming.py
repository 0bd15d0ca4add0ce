"""From what a person calls a record to the record: its file, or the first letters of its identity."""

from __future__ import annotations

from pathlib import Path

from oscbench.records.reading import Damaged, read
from oscbench.records.schema import Record
from oscbench.records.store import ResultsError, Store

WEIGHTS = ".safetensors"
FEW = 5
"""Records that a message names."""


def record_named(name: str | Path, results: Path) -> tuple[Record, Path]:
    """A record, and the results folder that holds it.

    Args:
        name: file of a record or of its weights, or an identity or the first letters of one.
        results: folder of the records, where the name is no file.

    Raises:
        ResultsError: no such record, a damaged one, or letters that several begin with.
    """
    path = Path(name)
    if path.suffix == ".json":
        found = read(path)
        if isinstance(found, Damaged):
            raise ResultsError(f"{found.path}: {found.reason}")
        return found, _holding(path)
    if path.suffix == WEIGHTS:
        return _by_identity(path.stem.rpartition("-")[2], _holding(path)), _holding(path)
    return _by_identity(str(name), results), results


def _holding(path: Path) -> Path:
    """The results folder of a file in a suite's folder, also for whoever stands in that."""
    folder = path.parent.parent
    return folder if path.parent != Path() else path.absolute().parent.parent


def _by_identity(start: str, results: Path) -> Record:
    """The one cell whose identity begins so; of its records under several labels the one that has weights."""
    store = Store(results)
    records, _ = store.read_all()
    found = [record for record in records if start and record.identity.startswith(start)]
    identities = sorted({record.identity for record in found})
    if not found:
        latest = sorted(records, key=lambda record: record.finished_utc, reverse=True)[:FEW]
        told = [f"{one.identity} ({one.mechanism}:{one.variant} seed {one.seed})" for one in latest]
        there = f"the latest of {len(records)} are: {', '.join(told)}" if told else "there are none"
        raise ResultsError(f'{results}: no record\'s identity begins with "{start[:80]}"; {there}')
    if len(identities) > 1:
        some = ", ".join(identities[:FEW])
        raise ResultsError(
            f'{results}: {len(identities)} records begin with "{start}": {some}; give more letters'
        )
    return max(found, key=lambda record: store.weights_path(record).exists())

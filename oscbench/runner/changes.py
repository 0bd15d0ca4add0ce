"""What is another than when cells ran: the files of their parts, the data that they read, the versions of what they name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from oscbench import catalog, data
from oscbench.errors import UserError
from oscbench.records import Record


def since(records: Sequence[Record]) -> Iterator[str]:
    """A line for each kind of change that a reader of these cells must know of."""
    yield from _unlike(records) or _told(
        _data(records),
        "which count as they are: run again with --fresh, or give the new data a name of their own",
    )
    yield from _told(
        _sources(records),
        "and no version with it, so that they count as they are: raise the version where results change, or run again with --fresh",
    )


def of_one(record: Record) -> list[str]:
    """What has changed since one cell ran, a line each; versions too, which a run compares by itself."""
    changed = [*_data([record]), *_sources([record])]
    return [f"{what} has changed since this cell ran" for what in changed] + [
        f"{what} had version {was} when this cell ran, and has {now} now"
        for what, was, now in _versions(record)
        if was != now
    ]


def _told(changed: Counter[str], then: str) -> list[str]:
    """One line on what changed since how many cells ran, and what to do; none where nothing did."""
    told = "; ".join(
        f"{what} has changed since {count} of these cells ran" for what, count in changed.most_common(3)
    )
    return [f"{told}, {then}"] if told else []


def _unlike(records: Sequence[Record]) -> list[str]:
    """A line where cells of one seed and task saw unlike data, as a file has changed since some of them ran."""
    seen: dict[tuple[str, int], set[str]] = {}
    for record in records:
        if record.data_hash:
            seen.setdefault((record.task, record.seed), set()).add(record.data_hash)
    unlike = [f"{task} seed {seed}" for (task, seed), hashes in seen.items() if len(hashes) > 1]
    if not unlike:
        return []
    return [
        f"the data changed since some of these cells ran ({', '.join(unlike[:3])}{', …' if len(unlike) > 3 else ''}), and a report "
        "refuses to compare them: run again with --fresh"
    ]


def _sources(records: Sequence[Record]) -> Counter[str]:
    """Files of mechanisms, tasks and measures that are others now -> cells that ran before."""
    cells: Counter[str] = Counter()
    for record in records:
        for part, was in record.environment.get("sources", {}).items():
            kind, _, name = part.partition("/")
            now = catalog.source_hash(kind, name)
            if now is not None and now != was:
                cells[catalog.file_of(kind, name)] += 1
    return cells


def _data(records: Sequence[Record]) -> Counter[str]:
    """Data that are others now -> cells that ran before."""
    cells: Counter[str] = Counter()
    now: dict[tuple[str, str], str | None] = {}
    for record in records:
        for where, was in record.environment.get("data", {}).items():
            given = _given(record, where)
            if given is None:
                continue
            if (where, given) not in now:
                now[where, given] = _content(where, given)
            if now[where, given] not in (None, was):
                cells[f"{given} ({where})"] += 1
    return cells


def _given(record: Record, where: str) -> str | None:
    """What a record's spec says at `task.path`; None where it names nothing there."""
    value: object = record.spec
    for key in where.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, str) else None


def _content(where: str, given: str) -> str | None:
    """Beginning of the hash of what lies there now; None where nothing can be read."""
    try:
        return data.contents({where: data.locate(given, where)}).get(where)
    except UserError:
        return None


def _versions(record: Record) -> Iterator[tuple[str, object, object]]:
    """Mechanism and task with their versions then and now, as far as these can be told."""
    for kind, name in (("mechanism", record.mechanism), ("task", record.task)):
        try:
            now = catalog.load(f"{kind}s", name).version
        except UserError:
            continue
        yield f"{kind} {name}", record.versions.get(kind), now

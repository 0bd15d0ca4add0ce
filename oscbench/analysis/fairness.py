"""Whether two entries may be compared at all, and what a reader must know about how they were made alike."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from oscbench.analysis.choices import position_of
from oscbench.records import Record
from oscbench.words import ranges

# What may differ between two entries of a fair comparison; everything else in a spec is protocol.
_OWN = ("mechanism", "variant", "seed", "versions", "own_match", "own_model", "tuned")


def refusals(first: Sequence[Record], second: Sequence[Record]) -> list[str]:
    """Why these cells must not be compared; empty where they may be.

    Args:
        first: Finished cells of one entry.
        second: Finished cells of the other.

    Returns:
        One clause a reason: unlike matching, device, data or protocol.
    """
    modes = [_values(matching_mode(r) for r in records) for records in (first, second)]
    on_purpose = bool(control_notes([*first, *second]))
    reasons = [
        None if on_purpose else _unlike("matching", *modes),
        _unlike("device", _values(r.device for r in first), _values(r.device for r in second)),
        _unlike_data(first, second),
    ]
    if {r.protocol for r in first} != {r.protocol for r in second}:
        different = spec_differences(first[0].spec, second[0].spec)
        reasons.append(f"unlike protocol ({'; '.join(different[:4]) or 'versions differ'})")
    return [reason for reason in reasons if reason]


def matching_mode(record: Record) -> str:
    """`params`, `flops`, `time` or `none`."""
    return record.matching.by if record.matching else "none"


def position_notes(first: Iterable[Record], second: Iterable[Record]) -> list[str]:
    """A line where two entries differ in their positions: what separates them may be that."""
    ours, theirs = ({position_of(r) for r in records} - {""} for records in (first, second))
    if ours == theirs or not ours or not theirs:
        return []
    return [f"positions differ: {', '.join(sorted(ours))} against {', '.join(sorted(theirs))}"]


def control_notes(records: Iterable[Record]) -> list[str]:
    """One line for every control among these cells: it is matched otherwise than its suite, on purpose."""
    return sorted(
        {
            f"{r.mechanism}:{r.variant} is a control: matched by {r.matching.by}"
            + (f" to {r.matching.reference}" if r.matching.reference else "")
            + _suite_matching(r.spec.get("match"))
            for r in records
            if r.matching and r.matching.control
        }
    )


def _suite_matching(match: dict[str, Any] | None) -> str:
    """How the suite matches the others; nothing of a record that does not say."""
    return f", where the suite matches by {match['by']} to {match['reference']['name']}" if match else ""


def _values(values: Iterable[str]) -> list[str]:
    return sorted(set(values))


def _unlike(what: str, first: list[str], second: list[str]) -> str | None:
    if first == second and len(first) == 1:
        return None
    return f"unlike {what} ({', '.join(first)} against {', '.join(second)})"


def _unlike_data(first: Sequence[Record], second: Sequence[Record]) -> str | None:
    """Data are compared seed by seed.

    Each seed may have its own subset or order, but all entries the same one.
    """
    hashes = {record.seed: record.data_hash for record in second}
    unlike = [
        record.seed for record in first if record.seed in hashes and hashes[record.seed] != record.data_hash
    ]
    return f"unlike data hashes at seed {ranges(unlike)}" if unlike else None


def spec_differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Settings that two specs do not share, mechanism, variant and seed aside.

    Each as `train.epochs: 3 against 5`.
    """
    a, b = _flat(first), _flat(second)
    keys = sorted(key for key in a.keys() | b.keys() if a.get(key) != b.get(key))
    return [f"{key}: {a.get(key, 'absent')} against {b.get(key, 'absent')}" for key in keys]


def _flat(spec: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in spec.items():
        if not prefix and key in _OWN:
            continue
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = json.dumps(value, sort_keys=True, default=str)
    return flat


def scope_notes(records: Sequence[Record]) -> list[str]:
    """What the intervals over seeds leave out: another draw of the data, and tuning that nobody had."""
    notes = []
    if len({r.seed for r in records}) > 1 and len({r.data_hash for r in records} - {None}) == 1:
        notes.append("all seeds share one draw of training and test data, so no interval covers another draw")
    if not any(record.spec.get("tuned") for record in records):
        notes.append("nothing was tuned for anyone")
    return notes


SPARE_LOAD = 0.5
"""What a machine's own housekeeping may add to the load of one cell."""


def machine(record: Record) -> tuple[str, ...]:
    """What times depend on; unknown properties are empty."""
    return tuple(str(record.environment.get(key, "")) for key in ("processor", "accelerator", "threads"))


def timed_alone(record: Record) -> bool:
    """Whether a cell's times can be read as costs: nothing else wanted the machine in its last minute, as far as the load tells.

    Cells trained side by side slow one another down, and not equally; where the load is unknown, they may have been.
    """
    load, threads = record.environment.get("load_average"), record.environment.get("threads")
    return load is not None and threads is not None and float(load) <= int(threads) + SPARE_LOAD


def origin_notes(records: Sequence[Record]) -> list[str]:
    """What is odd about the code and the machines behind some cells.

    Uncommitted changes, several commits or machines.
    """
    notes: list[str] = []
    if any(record.dirty for record in records):
        notes.append("some cells ran from a checkout with uncommitted changes")
    commits = {record.commit for record in records if record.commit}
    if len(commits) > 1:
        notes.append(f"cells come from {len(commits)} commits ({', '.join(sorted(c[:8] for c in commits))})")
    versions = {json.dumps(r.versions, sort_keys=True, default=str) for r in records}
    mechanisms = {(record.mechanism, record.variant) for record in records}
    if len(versions) > len(mechanisms):
        notes.append("cells come from more than one version of the code or its libraries")
    if len({machine(record) for record in records}) > 1:
        notes.append(
            "cells ran on more than one kind of machine, so times are compared inside each kind only"
        )
    notes += busy_notes(records)
    if any(record.data_hash is None for record in records):
        notes.append("some cells carry no data hash")
    return notes


def busy_notes(records: Sequence[Record], what: str = "training speeds") -> list[str]:
    """A warning where at most of the cells more processes wanted to run than the machine has cores; else nothing."""
    known = [
        (float(r.environment["load_average"]), int(r.environment["cores"]))
        for r in records
        if r.environment.get("load_average") is not None and r.environment.get("cores")
    ]
    if 2 * sum(load > cores for load, cores in known) <= len(known):
        return []
    cores = sorted({cores for _, cores in known})
    # Without the load itself, which differs from pair to pair: the same warning everywhere can be given once.
    return [
        f"times were taken on a busy machine, with more to run than its {', '.join(map(str, cores))} cores: "
        f"do not read {what} as costs"
    ]

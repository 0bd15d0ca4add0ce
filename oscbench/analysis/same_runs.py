"""Cells that several suites share: one run under two names is one piece of evidence, not two."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping

from oscbench import words
from oscbench.analysis.frame import headline
from oscbench.records import Record, suite_name


def fingerprint(record: Record) -> str:
    """The same for two records of one run.

    Equal identities are one run. So are records that learned on the same tensors, at the same seed, with the same mechanism, and whose
    training loss and result agree in every digit, although a version in their specs may differ.
    """
    curve = record.curves.get("train_loss")
    if curve is None or not curve.y or record.data_hash is None:
        return record.identity
    same = [record.task, record.mechanism, record.seed, record.data_hash, repr(headline(record))]
    text = json.dumps([*same, *map(repr, curve.x), *map(repr, curve.y)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def suites_sharing(records: Iterable[Record]) -> dict[str, tuple[str, ...]]:
    """Fingerprint -> names of all suites that hold this run; those in one suite alone are left out."""
    found: dict[str, set[str]] = {}
    given = list(records)
    if len({suite_name(record.suite) for record in given}) == 1:
        return {}
    for record in given:
        found.setdefault(fingerprint(record), set()).add(suite_name(record.suite))
    return {key: tuple(sorted(suites)) for key, suites in found.items() if len(suites) > 1}


def shared_note(cells: Iterable[Record], sharing: Mapping[str, tuple[str, ...]]) -> str:
    """How many of some cells stand in other suites too, and in which; empty where none does."""
    if not sharing:
        return ""
    own = list(cells)
    mine = {suite_name(record.suite) for record in own}
    where = [set(sharing.get(fingerprint(record), ())) - mine for record in own]
    there = [suites for suites in where if suites]
    if not there:
        return ""
    others = sorted(set.union(*there))
    return (
        f"{len(there)} of its {len(own)} cells are also those of {words.listed(others)}: "
        "the same runs, not another piece of evidence"
    )

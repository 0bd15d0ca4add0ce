"""Which entries a report compares, and with what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from oscbench import words
from oscbench.analysis.errors import ReportError
from oscbench.analysis.growth import is_timing
from oscbench.errors import nearest
from oscbench.records import Record


class Entry(NamedTuple):
    """One thing that is compared: a mechanism in one of its variants."""

    mechanism: str
    variant: str

    def __str__(self) -> str:
        """The full name, `mechanism:variant`."""
        return f"{self.mechanism}:{self.variant}"


@dataclass(frozen=True)
class Pair:
    """A comparison asked for: `treatment` minus `baseline`."""

    treatment: Entry
    baseline: Entry


def entry_of(record: Record) -> Entry:
    """The entry that a record belongs to."""
    return Entry(record.mechanism, record.variant)


def entry_names(records: Iterable[Record]) -> dict[Entry, str]:
    """Short names.

    The mechanism alone where it has one variant in these records, else `mechanism:variant`.
    """
    entries = sorted({entry_of(record) for record in records})
    variants: dict[str, int] = {}
    for entry in entries:
        variants[entry.mechanism] = variants.get(entry.mechanism, 0) + 1
    return {e: e.mechanism if variants[e.mechanism] == 1 else str(e) for e in entries}


def expand(name: str, entries: Iterable[Entry]) -> list[Entry]:
    """The entries that a compare name means; a bare mechanism means each of its variants.

    Raises:
        ReportError: no such entry.
    """
    known = sorted(set(entries))
    found = [entry for entry in known if name in (entry.mechanism, str(entry))]
    if not found:
        mechanisms = {entry.mechanism for entry in known}
        names = mechanisms | {str(e) for e in known if sum(o.mechanism == e.mechanism for o in known) > 1}
        raise ReportError(f'--compare: nothing is called "{name}" in these results; {nearest(name, names)}')
    return found


def pairs_asked(compare: Sequence[str], entries: Iterable[Entry]) -> list[Pair]:
    """What `--compare a,b,…` asks for: every name before the last is compared with the last, the baseline.

    Args:
        compare: Comma-separated lists of names, `mechanism` or `mechanism:variant`, each list with a baseline of its own.
        entries: All that the results hold, finished or not.

    Raises:
        ReportError: an unknown name, or fewer than two different entries in a list.
    """
    known = sorted(set(entries))
    return list(dict.fromkeys(pair for item in compare for pair in _pairs_of(item, known)))


def _pairs_of(item: str, known: Sequence[Entry]) -> list[Pair]:
    names = [name.strip() for name in item.split(",") if name.strip()]
    if not names:
        raise ReportError("--compare: no names given; write for example --compare a,b (a minus b)")
    groups = [expand(name, known) for name in names]
    if len(groups) == 1:
        raise ReportError(
            f'--compare: only "{names[0]}" is named; give a baseline too, as in --compare {names[0]},baseline'
        )
    pairs = [Pair(a, b) for group in groups[:-1] for a in group for b in groups[-1] if a != b]
    if not pairs:
        raise ReportError(f'--compare: "{", ".join(names)}" names one entry only; give a second one')
    return pairs


def pairs_by_reference(records: Sequence[Record]) -> list[Pair]:
    """Without --compare: every entry against the one that the records were matched to, and against its control if it has one.

    Empty where they name none.
    """
    controls = {entry_of(r): r.matching.reference for r in records if r.matching and r.matching.control}
    references = {r.matching.reference for r in records if r.matching and not r.matching.control}
    entries = sorted({entry_of(record) for record in records} - controls.keys())
    # A control is the baseline of the one that it was matched to, and of nobody else.
    pairs = [
        Pair(entry, control)
        for control, reference in sorted(controls.items())
        for entry in entries
        if reference in (entry.mechanism, str(entry))
    ]
    for reference in sorted(name for name in references if name):
        baselines = [entry for entry in entries if reference in (entry.mechanism, str(entry))]
        pairs += [Pair(entry, base) for base in baselines for entry in entries if entry not in baselines]
    return list(dict.fromkeys(pairs))


def order(entries: Iterable[Entry], names: Mapping[Entry, str]) -> list[Entry]:
    """The one order in which entries get colours and rows: by name."""
    return sorted(entries, key=lambda entry: names[entry])


def anchor_of(record: Record) -> str:
    """The place of a cell's entry in records.html."""
    if is_timing(record):
        return words.slug(f"{record.suite} {record.device}")
    return words.slug(f"{record.suite} {record.task} {record.mechanism} {record.variant}")

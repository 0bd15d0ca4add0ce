"""Which entries a report compares, and with what."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from oscbench import words
from oscbench.analysis.choices import is_untrained
from oscbench.analysis.costs.growth import is_timing
from oscbench.analysis.floors import is_floor
from oscbench.errors import ReportError, nearest
from oscbench.records import Record

_OWN_TOO = ("own",)
"""What follows a plus in the name of a position, `position=learned+own`, and is no part of the variant's own name."""


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

    @property
    def turned(self) -> Pair:
        """The same two the other way round."""
        return Pair(self.baseline, self.treatment)


def entry_of(record: Record) -> Entry:
    """The entry that a record belongs to."""
    return Entry(record.mechanism, record.variant)


def by_entry(records: Iterable[Record]) -> dict[Entry, list[Record]]:
    """Records by the entry that they belong to."""
    grouped: dict[Entry, list[Record]] = {}
    for record in records:
        grouped.setdefault(entry_of(record), []).append(record)
    return grouped


def entry_names(records: Iterable[Record]) -> dict[Entry, str]:
    """Names for people.

    The label of the mechanism alone for its default, else with the variant in brackets; settings that a suite did not name, but that are
    spelled out (`position=own`), are left out where no other entry of the mechanism differs in them alone. A control is named by what it
    was matched in, after what its variant says before that (`values-kope-flops` is at equal FLOPs, and of `values`).
    Names that would be the same are spelled out as `mechanism:variant`.
    """
    first = {entry_of(record): record for record in records}
    alike = Counter((entry.mechanism, _but_for_settings(entry.variant)) for entry in first)
    named = {
        entry: _for_people(record, alike[entry.mechanism, _but_for_settings(entry.variant)] == 1)
        for entry, record in sorted(first.items())
    }
    twice = Counter(named.values())
    return {entry: name if twice[name] == 1 else str(entry) for entry, name in named.items()}


def _for_people(record: Record, alone: bool) -> str:
    label, matching = record.card.label, record.matching
    if matching and matching.control:
        suffix = f"{(matching.reference or '').partition(':')[0]}-{matching.by}"
        own = record.variant.removesuffix(suffix).removesuffix("-") if record.variant.endswith(suffix) else ""
        which = f"{label} ({own})" if own else label
        return f"{which} at equal {words.MATCHED_IN.get(matching.by, matching.by)}"
    shown = _but_for_settings(record.variant) if alone else record.variant
    return label if shown == "default" else f"{label} ({shown})"


def headline_entries(cells: Iterable[Record]) -> dict[str, Entry]:
    """What a bare name means in one suite and task: of each mechanism the entry that stands for it.

    That is its default, and of several that are the default but for their positions the one with the best mean on validation, since
    positions belong to a mechanism; where none is the default, the best of all on validation. Controls stand for nobody unless there is
    nothing else.
    """
    found: dict[str, dict[Entry, list[Record]]] = {}
    for record in cells:
        found.setdefault(record.mechanism, {}).setdefault(entry_of(record), []).append(record)
    return {mechanism: _headline(entries) for mechanism, entries in found.items()}


def _headline(entries: Mapping[Entry, Sequence[Record]]) -> Entry:
    own = {e: c for e, c in entries.items() if not any(r.matching and r.matching.control for r in c)}
    choice = own or dict(entries)
    defaults = {entry: c for entry, c in choice.items() if _but_for_position(entry.variant) == "default"}
    choice = defaults or choice
    scores = {entry: score for entry, c in choice.items() if (score := _on_validation(c)) is not None}
    if len(scores) < len(choice):  # nothing that all of them were measured by chooses among them
        return next((entry for entry in choice if entry.variant == "default"), min(choice))
    return max(sorted(scores), key=lambda entry: scores[entry])


def _but_for_settings(variant: str) -> str:
    """A variant without all settings that are spelled out: `locked+position=learned+own` -> `locked`, `gamma=0.05` -> `default`."""
    parts = [part for part in variant.split("+") if "=" not in part and part not in _OWN_TOO]
    return "+".join(parts) or "default"


def _but_for_position(variant: str) -> str:
    """A variant without the positions that a suite crosses it with: `locked+position=learned` -> `locked`, `position=none` -> `default`."""
    parts = [part for part in variant.split("+") if not part.startswith("position=") and part not in _OWN_TOO]
    return "+".join(parts) or "default"


def _on_validation(cells: Sequence[Record]) -> float | None:
    """Mean on validation, the larger the better; None where no cell has such a measure, or better has no direction."""
    values = []
    for record in cells:
        one = record.measures.get(f"validation_{record.metric}")
        if record.status == "ok" and one is not None and one.value is not None:
            values.append(-one.value if one.direction == "lower" else one.value)
    return sum(values) / len(values) if values else None


def pairs_asked(compare: Sequence[str], questions: Sequence[Sequence[Record]]) -> list[list[Pair]]:
    """What `--compare a,b,…` asks for: every name before the last is compared with the last, the baseline.

    Args:
        compare: Comma-separated lists of names, `mechanism` or `mechanism:variant`, each list with a baseline of its own; a bare mechanism
            is its headline entry in each suite and task.
        questions: All cells, finished or not, by suite and task.

    Returns:
        For each question the pairs whose entries both have cells there; a pair that has them nowhere stands in every one, to be told missing.

    Raises:
        ReportError: an unknown name, or fewer than two different entries in a list.
    """
    everywhere = [record for cells in questions for record in cells]
    known = sorted({entry_of(record) for record in everywhere})
    anywhere = headline_entries(everywhere)
    here = [({entry_of(r) for r in cells}, headline_entries(cells)) for cells in questions]
    found: list[list[Pair]] = [[] for _ in questions]
    for treatment, baseline in _named(compare, known):
        pairs = [_pair(treatment, baseline, *one) for one in here]
        if not any(pairs):
            pairs = [_pair(treatment, baseline, set(known), anywhere)] * len(questions)
        for pair, into in zip(pairs, found, strict=True):
            into += [pair] if pair else []
    return [list(dict.fromkeys(pairs)) for pairs in found]


def _named(compare: Sequence[str], known: Sequence[Entry]) -> list[tuple[str, str]]:
    """The pairs of names in some lists.

    Raises:
        ReportError: a name that nothing has, or no pair in a list.
    """
    mechanisms = {entry.mechanism for entry in known}
    full = {str(entry) for entry in known}
    found: list[tuple[str, str]] = []
    for item in compare:
        # As suites write it too: "kope - softmax".
        given = re.split(r",|\s[-\u2212]\s", item) if isinstance(item, str) else list(item)
        names = list(dict.fromkeys(name.strip() for name in given if name.strip()))
        if not names:
            raise ReportError("compare: no names given; write for example a,b (a minus b)")
        for name in names:
            if name not in mechanisms | full:
                choices = mechanisms | {
                    n for n in full if sum(e.mechanism == n.split(":")[0] for e in known) > 1
                }
                raise ReportError(
                    f'compare: nothing is called "{name}" in these results; {nearest(name, choices)}'
                )
        if len(names) == 1:
            raise ReportError(
                f'compare: only "{names[0]}" is named; give a baseline too, as in {names[0]},baseline'
            )
        found += [(name, names[-1]) for name in names[:-1]]
    return found


def _pair(
    treatment: str, baseline: str, entries: Collection[Entry], headlines: Mapping[str, Entry]
) -> Pair | None:
    """The two entries of these names; None where one has no cell, or both are one."""
    full = {str(entry): entry for entry in entries}
    first, second = (headlines.get(name) or full.get(name) for name in (treatment, baseline))
    return Pair(first, second) if first and second and first != second else None


@dataclass(frozen=True)
class Declared:
    """What a suite declared on one task before it ran.

    Attributes:
        pairs: Those that every trained cell of both entries was given, so that no result was there when they were named.
        late: Those that were named when cells of their entries were there: they confirm nothing.
        count: All that any cell was given, whether it has run or not: the size of the family that is corrected.
    """

    pairs: tuple[Pair, ...] = ()
    late: tuple[Pair, ...] = ()
    count: int = 0


def pairs_declared(cells: Sequence[Record]) -> Declared:
    """The comparisons that the suite of these cells declares (`compare:`), as its trained cells were given them; nothing without any.

    Names mean what they mean to --compare. A floor of the task alone is told of no comparison, so that one made anew withdraws none. What
    was named when cells of its entries were there already is in the family, and confirms nothing.
    """
    trained = [record for record in cells if not is_untrained(record)]
    entries, headlines = {entry_of(record) for record in cells}, headline_entries(cells)
    family: dict[Pair | tuple[str, str], None] = {}
    told: dict[Entry, list[set[Pair]]] = {}
    read: dict[tuple[tuple[str, str], ...], set[Pair]] = {}
    for record in sorted(trained, key=lambda record: record.finished_utc, reverse=True):
        names = tuple((first, second) for first, second in record.spec_given.get("compare") or ())
        if names not in read:
            pairs = {name: _pair(*name, entries, headlines) for name in names}
            family |= dict.fromkeys(pairs[name] or name for name in names)
            read[names] = {pair for pair in pairs.values() if pair}
        told.setdefault(entry_of(record), []).append(read[names])
    known = [pair for pair in family if isinstance(pair, Pair)]
    sides = {pair: [*told.get(pair.treatment, ()), *told.get(pair.baseline, ())] for pair in known}
    before = tuple(pair for pair in known if all(pair in given for given in sides[pair]))
    return Declared(before, tuple(pair for pair in known if pair not in before), len(family))


def pairs_by_reference(records: Sequence[Record]) -> list[Pair]:
    """Without --compare: every entry against the one that the records were matched to, and against its control if it has one.

    Empty where they name none. Floors are compared with nobody.
    """
    records = [record for record in records if not is_floor(record)]
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


def anchor_of(record: Record) -> str:
    """The place of a cell's entry in records.html."""
    if is_timing(record):
        return words.slug(f"{record.suite} {record.device}")
    return words.slug(f"{record.suite} {record.task} {record.mechanism} {record.variant}")

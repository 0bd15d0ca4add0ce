"""Records as rules ask for them, cells of a suite's entries and comparisons as a report makes them; and what a rule finds in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

from oscbench import words
from oscbench.analysis.claims.ledger import Ask
from oscbench.analysis.comparison import LOST_ITSELF, Comparison
from oscbench.analysis.costs.growth import is_timing
from oscbench.analysis.floors import AboveFloor, above_floor, is_floor
from oscbench.analysis.frame import Loaded
from oscbench.analysis.limits import VERDICT_SEEDS
from oscbench.analysis.selection import (
    Entry,
    Pair,
    entry_names,
    entry_of,
    headline_entries,
    pairs_declared,
)
from oscbench.analysis.statistics.seeds import LEVEL
from oscbench.analysis.study import Study, assemble
from oscbench.analysis.sweeps.sweep import label_parts
from oscbench.errors import ReportError
from oscbench.records import Record, suite_name
from oscbench.records.ledger import is_trial

UNCORRECTED = "it holds taken alone, not after correction over the claim's grounds (one would be enough)"
CORRECTED = "corrected over the claim's questions, its interval reaches the claim"
Outcome = Literal["holds", "does not hold", "undecided", "not tested"]
FEW_SEEDS = f"estimates only: a verdict takes {VERDICT_SEEDS} seeds"


@dataclass(frozen=True)
class Levels:
    """Coverage that intervals must have.

    Attributes:
        holds: To speak for the claim.
        fails: To speak against it.
    """

    holds: float = LEVEL
    fails: float = LEVEL


@dataclass(frozen=True)
class Finding:
    """What the records say to one question.

    Attributes:
        outcome: `not tested` where the records lack what it asks about.
        text: The size with its interval and seeds, or what is missing.
        hides: What could still be the case where it is undecided.
        declared: Whether the suite declared this comparison before it ran; None where the rule compares nothing.
    """

    ask: Ask
    outcome: Outcome
    text: str
    hides: str = ""
    declared: bool | None = None

    @property
    def suggests(self) -> bool:
        """Whether it may not decide: it was asked, or its comparison chosen, after the records existed."""
        return bool(self.ask.asked) or self.declared is False


At = Callable[[float], bool]
"""Whether something is so with intervals of this coverage."""


def by_interval(
    ask: Ask, text: str, num_seeds: int, levels: Levels, *, holds: At, fails: At, hides: str = ""
) -> Finding:
    """The verdict of an interval over seeds: where it lies decides, from as many seeds on as a verdict takes.

    Args:
        ask: The question.
        text: The size in words.
        num_seeds: Behind the interval.
        levels: Coverage that the interval must have.
        holds: It lies wholly where the claim puts it.
        fails: It lies wholly elsewhere.
        hides: What could still be the case where it is neither.
    """
    if num_seeds < VERDICT_SEEDS:
        return Finding(ask, "undecided", text, FEW_SEEDS)
    if holds(levels.holds):
        return Finding(ask, "holds", text)
    if fails(levels.fails):
        return Finding(ask, "does not hold", text)
    return Finding(ask, "undecided", text, UNCORRECTED if holds(LEVEL) else hides)


def absent(ask: Ask, what: str = "") -> Finding:
    """The records lack what a question asks about."""
    where = f"{ask.suite}[{ask.value}]" if ask.value else ask.suite
    whose = [getattr(ask, name, "") for name in ("entry", "treatment", "baseline", "mechanism")]
    who = words.listed([name for name in whose if name])
    return Finding(ask, "not tested", what or f"no records of {f'{who} in ' if who else ''}{where} here")


def p_told(p: float) -> str:
    """`p = 0.031`, `p < 0.001`."""
    shown = words.p_value(p)
    return f"p {shown}" if shown.startswith("<") else f"p = {shown}"


@dataclass
class Evidence:
    """All records of a folder, by suite; comparisons are made once."""

    loaded: Loaded
    _suites: dict[str, list[Record]] = field(default_factory=dict)
    _reports: dict[tuple[str, tuple[str, ...]], Study | None] = field(default_factory=dict)
    _withheld: dict[str, dict[str, str]] = field(default_factory=dict)
    _names: dict[str, dict[Entry, str]] = field(default_factory=dict)
    _declared: dict[str, set[Pair]] = field(default_factory=dict)
    _entries: dict[str, dict[str, Entry]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for record in self.loaded.records:
            if not is_trial(record.suite):
                self._suites.setdefault(suite_name(record.suite), []).append(record)

    def cells(self, suite: str, value: str | None = None) -> list[Record]:
        """The cells of a suite, of one of its values alone if one is given; empty where there are none."""
        found = self._suites.get(suite, [])
        return [r for r in found if value is None or value in _changes(r.suite)]

    def entry(self, name: str, suite: str, value: str | None = None) -> list[Record]:
        """The cells of the entry that a name means in a suite."""
        named = self.named(name, suite)
        return [r for r in self.cells(suite, value) if entry_of(r) == named]

    def named(self, name: str, suite: str) -> Entry | None:
        """The entry that a name means in a suite, as --compare reads it; None where it has no such cell."""
        if suite not in self._entries:
            cells = self.cells(suite)
            exact = {str(entry): entry for entry in map(entry_of, cells)}
            self._entries[suite] = exact | headline_entries(cells)
        return self._entries[suite].get(name)

    def declared(self, treatment: str, baseline: str, suite: str) -> bool:
        """Whether a suite declared that these two are compared, either way round, before it ran."""
        first, second = self.named(treatment, suite), self.named(baseline, suite)
        if first is None or second is None:
            return False
        if suite not in self._declared:
            cells = self.cells(suite)
            tasks = {record.task for record in cells}
            found = [pairs_declared([r for r in cells if r.task == task]).pairs for task in tasks]
            self._declared[suite] = {pair for pairs in found for pair in pairs}
        return not self._declared[suite].isdisjoint((Pair(first, second), Pair(second, first)))

    def lost(self, names: Sequence[str], suite: str, value: str | None = None) -> str:
        """Runs of some entries that diverged or ran out of memory, `2 of 8 runs of KoPE diverged or …`; empty without any."""
        told = []
        for name in names:
            cells = self.entry(name, suite, value)
            count = sum(record.status in LOST_ITSELF for record in cells)
            if count:
                told.append(
                    f"{count} of {len(cells)} runs of {self.called(name, suite)} diverged or ran out of memory"
                )
        return " and ".join(told)

    def mixes(self, name: str, suite: str) -> bool:
        """Whether one seed of an entry stands there more than once, at several values of what its suite varies."""
        seeds = [record.seed for record in self.entry(name, suite)]
        return len(seeds) > len(set(seeds))

    def called(self, name: str, suite: str) -> str:
        """An entry as people call it, among those of its suite; the name itself where the suite has no such cell."""
        if suite not in self._names:
            self._names[suite] = entry_names(self.cells(suite))
        named = self.named(name, suite)
        return self._names[suite][named] if named else name

    def both(self, treatment: str, baseline: str, suite: str) -> tuple[str, str]:
        """Two entries as people call them."""
        return self.called(treatment, suite), self.called(baseline, suite)

    def comparisons(self, suite: str, pairs: Sequence[tuple[str, str]]) -> Study | None:
        """Some pairs of a suite compared and corrected together; None where the suite has no cell, or lacks one of the names."""
        asked = tuple(dict.fromkeys(f"{first},{second}" for first, second in pairs))
        if (suite, asked) not in self._reports:
            self._reports[suite, asked] = self._report(suite, asked)
        return self._reports[suite, asked]

    def withheld(self, suite: str, value: str | None = None) -> str:
        """Why a suite's task decides nothing: its best entry is not above a floor; empty where it is, or has no floor."""
        if suite not in self._withheld:
            report = self._report(suite, ())
            self._withheld[suite] = (
                {e.suite: e.above_floor.reason for e in report.experiments if e.above_floor} if report else {}
            )
        told = self._withheld[suite].items()
        why = [why for name, why in told if value is None or value in _changes(name)]
        return why[0] if why and all(why) else ""

    def over_floor(self, name: str, suite: str, value: str | None = None) -> list[AboveFloor]:
        """An entry itself against the floor that it is the least above, in each section of a suite that has floors."""
        named, found = self.named(name, suite), []
        apart: dict[str, list[Record]] = {}
        for record in self.cells(suite, value):
            apart.setdefault(record.suite, []).append(record)
        for cells in apart.values():
            entries: dict[str, list[Record]] = {}
            for record in cells:
                if entry_of(record) == named or is_floor(record):
                    entries.setdefault(self.called(str(entry_of(record)), suite), []).append(record)
            over = above_floor(entries)
            found += [over] if over is not None else []
        return found

    def below_floor(self, name: str, suite: str, value: str | None = None) -> str:
        """Why an entry itself has nothing to lose: nowhere in the suite is it above a floor; empty where it is, or has no floor."""
        found = self.over_floor(name, suite, value)
        if not found or any(over.decides for over in found):
            return ""
        return f"{found[0].best} {found[0].gap}"

    def _report(self, suite: str, asked: Sequence[str]) -> Study | None:
        records = tuple(r for r in self.cells(suite) if not is_timing(r))
        if not records:
            return None
        try:
            return assemble(Loaded(records, (), ()), asked)
        except ReportError:
            return None


@cache
def _changes(label: str) -> tuple[str, ...]:
    return tuple(f"{key}={text}" for key, text in label_parts(label)[1].items())


def comparison_of(
    report: Study, value: str | None, sides: tuple[Entry | None, Entry | None]
) -> Comparison | None:
    """One pair in a report of one suite: over all its values, or at one of them; None where it is not there."""
    choices: Mapping[bool, Sequence[Comparison]] = {
        True: report.comparisons,
        False: [c for e in report.experiments if value in _changes(e.suite) for c in e.comparisons],
    }
    made = choices[value is None]
    return next((c for c in made if (c.pair.treatment, c.pair.baseline) == sides), None)

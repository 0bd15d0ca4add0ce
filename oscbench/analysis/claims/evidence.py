"""Records as rules ask for them: cells of a suite's entries, and comparisons as a report makes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from oscbench.analysis.comparison import Comparison
from oscbench.analysis.costs.growth import is_timing
from oscbench.analysis.errors import ReportError
from oscbench.analysis.floors import above_floor, is_floor
from oscbench.analysis.frame import Loaded
from oscbench.analysis.selection import Entry, entry_names, entry_of, headline_entries
from oscbench.analysis.study import Study, assemble
from oscbench.analysis.sweeps.sweep import label_parts
from oscbench.records import Record, suite_name
from oscbench.records.ledger import is_trial


@dataclass
class Evidence:
    """All records of a folder, by suite; comparisons are made once."""

    loaded: Loaded
    _suites: dict[str, list[Record]] = field(default_factory=dict)
    _reports: dict[tuple[str, tuple[str, ...]], Study | None] = field(default_factory=dict)
    _withheld: dict[str, dict[str, str]] = field(default_factory=dict)
    _names: dict[str, dict[Entry, str]] = field(default_factory=dict)

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
        cells = self.cells(suite)
        exact = next((entry_of(r) for r in cells if str(entry_of(r)) == name), None)
        return headline_entries(cells).get(name, exact)

    def called(self, name: str, suite: str) -> str:
        """An entry as people call it, among those of its suite; the name itself where the suite has no such cell."""
        if suite not in self._names:
            self._names[suite] = entry_names(self.cells(suite))
        cells = self.entry(name, suite)
        return self._names[suite][entry_of(cells[0])] if cells else name

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

    def below_floor(self, name: str, suite: str, value: str | None = None) -> str:
        """Why an entry itself has nothing to lose: nowhere in the suite is it above a floor; empty where it is, or has no floor."""
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
            found.append("" if over is None or over.decides else f"{over.best} {over.gap}")
        return found[0] if found and all(found) else ""

    def _report(self, suite: str, asked: Sequence[str]) -> Study | None:
        records = tuple(r for r in self.cells(suite) if not is_timing(r))
        if not records:
            return None
        try:
            return assemble(Loaded(records, (), ()), asked)
        except ReportError:
            return None


def _changes(label: str) -> list[str]:
    return [f"{key}={text}" for key, text in label_parts(label)[1].items()]


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

"""Records as rules ask for them: cells of a suite's entries, and comparisons as a report makes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from oscbench.analysis.comparison import Comparison
from oscbench.analysis.costs.growth import is_timing
from oscbench.analysis.errors import ReportError
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
        everything = self.cells(suite)
        headline = headline_entries(everything).get(name)
        return [r for r in self.cells(suite, value) if entry_of(r) == headline or str(entry_of(r)) == name]

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
        return next((why for name, why in told if why and (value is None or value in _changes(name))), "")

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


def comparison_of(report: Study, value: str | None, names: tuple[str, str]) -> Comparison | None:
    """One pair in a report of one suite: over all its values, or at one of them; None where it is not there."""
    choices: Mapping[bool, Sequence[Comparison]] = {
        True: report.comparisons,
        False: [c for e in report.experiments if value in _changes(e.suite) for c in e.comparisons],
    }
    return next((c for c in choices[value is None] if _means(c, names)), None)


def _means(comparison: Comparison, names: tuple[str, str]) -> bool:
    sides = (comparison.pair.treatment, comparison.pair.baseline)
    return all(name in (str(entry), entry.mechanism) for name, entry in zip(names, sides, strict=True))

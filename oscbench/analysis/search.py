"""What a tuned suite's searches were given, cost and chose: its ledger beside the records of its trials and of what is reported."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from oscbench import words
from oscbench.analysis.choices import is_untrained
from oscbench.analysis.experiment import Experiment
from oscbench.analysis.frame import Loaded, value_of
from oscbench.analysis.selection import Entry, anchor_of
from oscbench.records import Record, Store
from oscbench.records.ledger import Ledger, LedgerEntry, TrialRow, find_ledgers, shared_request

EDGE = 0.05
"""A chosen value nearer than this share of a range to its end lies at its edge: what is better may lie beyond."""


@dataclass(frozen=True)
class Search:
    """The search of one entry.

    Attributes:
        name: of the entry in this report.
        entry: its part of the ledger.
        trials: identity -> record of a trial's cell, as far as the results folder holds them.
    """

    name: str
    entry: LedgerEntry
    trials: Mapping[str, Record]

    @property
    def scores(self) -> list[float]:
        """Of the trials that have one and are no repetition, in order."""
        return [row.score for row in self.entry.trials if row.score is not None and not row.repeats]

    @property
    def given(self) -> TrialRow | None:
        """The trial with the suite's own values, if it has a score."""
        row = self.entry.given_trial
        return row if row is not None and row.score is not None else None

    @property
    def statuses(self) -> Counter[str]:
        """How the cells of all trials ended, each counted once."""
        return Counter(status for row in self.entry.trials if not row.repeats for status in row.statuses)

    def gain(self, direction: str) -> float:
        """By how much the chosen trial is better than the one with the suite's own values; NaN without one of them."""
        if self.given is None or self.given.score is None or self.entry.score is None:
            return math.nan
        sign = -1.0 if direction == "lower" else 1.0
        return sign * (self.entry.score - self.given.score)

    def link(self, row: TrialRow | None) -> str | None:
        """The place of a trial's cells in records.html."""
        found = [self.trials[one] for one in row.identities if one in self.trials] if row else []
        return anchor_of(found[0]) if found else None


@dataclass(frozen=True)
class Tuned:
    """A section whose entries were searched; without a ledger where the folder holds none of this very search."""

    experiment: Experiment
    ledger: Ledger | None
    searches: tuple[Search, ...]

    @property
    def slug(self) -> str:
        """Name for anchors and files."""
        return f"{self.experiment.slug}-search"

    @property
    def metric_label(self) -> str:
        """What trials are scored by, as in `validation accuracy`."""
        return self.ledger.metric.replace("_", " ") if self.ledger is not None else ""

    @cached_property
    def places(self) -> list[str]:
        """Everything that was searched for at least one entry."""
        return list(dict.fromkeys(key for one in self.searches for key in one.entry.space))

    @property
    def records(self) -> list[Record]:
        """Records of all trial cells."""
        return [record for one in self.searches for record in one.trials.values()]

    @cached_property
    def lowest_floor(self) -> tuple[str, float] | None:
        """The untrained floor that is the easiest to be above, and its score on the split that trials are scored on; None without one."""
        worst = max if self.experiment.direction == "lower" else min
        found = [
            (standing.name, score)
            for standing in self.experiment.standings
            for record in standing.cells
            if is_untrained(record)
            and math.isfinite(score := value_of(record, f"validation_{self.experiment.metric}"))
        ]
        return worst(found, key=lambda one: one[1]) if found else None

    def saw_nothing(self, one: Search) -> bool:
        """Whether a seed of the trial that was chosen is not above the lowest floor, so that chance may have chosen."""
        chosen = one.entry.chosen_trial
        if self.lowest_floor is None or chosen is None:
            return False
        sign = -1.0 if self.experiment.direction == "lower" else 1.0
        return any(s is None or sign * (s - self.lowest_floor[1]) <= 0.0 for s in chosen.scores)

    def score(self, value: float | None) -> str:
        """A score as text."""
        return words.quantity(math.nan if value is None else value, self.experiment.unit)


def searches(experiments: Sequence[Experiment], loaded: Loaded, results: Path) -> tuple[Tuned, ...]:
    """Every section whose cells were searched for, with its ledger and trials."""
    asked = [experiment for experiment in experiments if _tune(experiment) is not None]
    if not asked:
        return ()
    suites = {record.suite for record in loaded.records}
    ledgers = {
        (ledger.suite, ledger.request): (store, ledger)
        for store, ledger in find_ledgers(results)
        if ledger.suite in suites
    }
    found = []
    for experiment in asked:
        request = shared_request(_tune(experiment) or {}, experiment.protocol)
        store, ledger = ledgers.get((experiment.suite, request), (None, None))
        own: list[Search] = []
        if store is not None and ledger is not None:
            names = {standing.entry: standing.name for standing in experiment.standings}
            place = {entry: number for number, entry in enumerate(names)}
            own = [
                Search(names.get(key_of(one), str(key_of(one))), one, _trials(one, ledger, store))
                for one in sorted(ledger.entries, key=lambda e: place.get(key_of(e), len(place)))
            ]
        found.append(Tuned(experiment, ledger, tuple(own)))
    return tuple(found)


def _trials(entry: LedgerEntry, ledger: Ledger, store: Store) -> dict[str, Record]:
    """Records of the trials' cells that are still there."""
    found = {}
    for identity in dict.fromkeys(identity for row in entry.trials for identity in row.identities):
        record = store.find(ledger.trial_suite, identity, tidy=False)
        if record is not None and record.suite == ledger.trial_suite:
            found[identity] = record
    return found


def key_of(entry: LedgerEntry) -> Entry:
    """Which entry a part of the ledger is about."""
    return Entry(entry.mechanism, entry.variant)


def _tune(experiment: Experiment) -> dict[str, Any] | None:
    """What was searched; floors, which may stand first, were not."""
    cells = (record for standing in experiment.standings for record in standing.cells)
    return next((dict(record.spec["tune"]) for record in cells if "tune" in record.spec), None)


def setting(place: str) -> str:
    """`train.learning_rate` as people say it."""
    return place.partition(".")[2].replace("_", " ")


def value_text(value: Any) -> str:
    """A chosen value, as a suite spells it."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def values_text(values: Mapping[str, Any]) -> str:
    """Chosen values in a line."""
    return ", ".join(f"{setting(key)} {value_text(value)}" for key, value in values.items()) or "as given"


def space_text(axis: Mapping[str, Any]) -> str:
    """What could be chosen."""
    if axis.get("choices") is not None:
        return ", ".join(value_text(choice) for choice in axis["choices"])
    log = ", logarithmic" if axis.get("log") else ""
    return f"{value_text(axis['low'])} to {value_text(axis['high'])}{log}"


def is_number(value: Any) -> bool:
    """Whether a value has a place on an axis."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def edge(axis: Mapping[str, Any], value: Any) -> str:
    """Where a chosen value lies in what could be chosen; empty where that has no order."""
    choices = axis.get("choices")
    if choices is not None:
        if len(choices) < 3 or not all(map(is_number, choices)):
            return ""
        low, high, near = min(choices), max(choices), 0.0
        share = 0.0 if value == low else 1.0 if value == high else 0.5
    else:
        low, high, near = axis["low"], axis["high"], EDGE
        scale = math.log if axis.get("log") else float
        share = (scale(value) - scale(low)) / (scale(high) - scale(low))
    if share <= near:
        return "at the low end"
    return "at the high end" if share >= 1 - near else "inside"

"""What a tuned suite's searches were given, cost and chose: its ledger beside the records of its trials and of what is reported."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from oscbench import words
from oscbench.analysis.experiment import Section, Standing
from oscbench.analysis.frame import Loaded
from oscbench.analysis.selection import Entry
from oscbench.records import Record, Store
from oscbench.records.ledger import Ledger, LedgerEntry, TrialRow, find_ledgers, shared_request
from oscbench.reporting.tables import anchor_of

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

    section: Section
    ledger: Ledger | None
    searches: tuple[Search, ...]

    @property
    def slug(self) -> str:
        """Name for anchors and files."""
        return f"{self.section.slug}-search"

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

    def score(self, value: float | None) -> str:
        """A score as text."""
        return words.quantity(math.nan if value is None else value, self.section.unit)


def tuned_sections(sections: Sequence[Section], loaded: Loaded, results: Path) -> tuple[Tuned, ...]:
    """Every section whose cells were searched for, with its ledger and trials."""
    asked = [section for section in sections if _tune(section) is not None]
    if not asked:
        return ()
    suites = {record.suite for record in loaded.records}
    ledgers = {
        (ledger.suite, ledger.request): (store, ledger)
        for store, ledger in find_ledgers(results)
        if ledger.suite in suites
    }
    found = []
    for section in asked:
        request = shared_request(_tune(section) or {}, section.protocol)
        store, ledger = ledgers.get((section.suite, request), (None, None))
        searches: list[Search] = []
        if store is not None and ledger is not None:
            names = {standing.entry: standing.name for standing in section.standings}
            place = {entry: number for number, entry in enumerate(names)}
            searches = [
                Search(names.get(_key(one), str(_key(one))), one, _trials(one, ledger, store))
                for one in sorted(ledger.entries, key=lambda e: place.get(_key(e), len(place)))
            ]
        found.append(Tuned(section, ledger, tuple(searches)))
    return tuple(found)


def _trials(entry: LedgerEntry, ledger: Ledger, store: Store) -> dict[str, Record]:
    """Records of the trials' cells that are still there."""
    found = {}
    for identity in dict.fromkeys(identity for row in entry.trials for identity in row.identities):
        record = store.find(ledger.trial_suite, identity, tidy=False)
        if record is not None and record.suite == ledger.trial_suite:
            found[identity] = record
    return found


def _key(entry: LedgerEntry) -> Entry:
    return Entry(entry.mechanism, entry.variant)


def _tune(section: Section) -> dict[str, Any] | None:
    found = section.standings[0].cells[0].spec.get("tune")
    return dict(found) if found is not None else None


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


def answers(tuned: Tuned) -> Iterator[str]:
    """A sentence for every entry: what its search gained, and how much hung on the choice."""
    section, ledger = tuned.section, tuned.ledger
    for one in tuned.searches if ledger is not None else ():
        entry = one.entry
        count = f"{len(entry.trials)} trials" if len(entry.trials) != 1 else "one trial"
        if entry.score is None:
            yield f"{one.name}: none of {count} ended well, so the suite's own values ran"
            continue
        text = f"{one.name}: {tuned.score(entry.score)} in the best of {count} ({values_text(entry.chosen)})"
        gain = one.gain(section.direction)
        if gain == 0:
            text += ", which is what the suite itself gives"
        elif math.isfinite(gain):
            better = words.difference(gain, section.unit)
            text += f", {better} better than {tuned.score(one.given.score if one.given else None)} with the suite's own values"
        scores = one.scores
        if len(scores) > 1:
            text += (
                f"; over all trials {tuned.score(min(scores))} to {tuned.score(max(scores))}, "
                f"median {tuned.score(float(np.median(scores)))}"
            )
        yield text


def facts(tuned: Tuned) -> list[tuple[str, str]]:
    """What was equal in the search, what it cost, and what stands against believing it."""
    ledger, section = tuned.ledger, tuned.section
    if ledger is None:
        return [
            ("Ledger", "none of this very search in the results folder; the values that ran stand in Tuning")
        ]
    reported = {record.seed for standing in section.standings for record in standing.cells}
    both = sorted(reported & set(ledger.scoring_seeds))
    seeds = words.ranges(list(ledger.scoring_seeds))
    over = f"mean over seeds {seeds}" if len(ledger.scoring_seeds) > 1 else f"at seed {seeds}"
    outside = ", ".join(one.name for one in tuned.searches if one.entry.given_trial is None)
    apart = f"but seed {words.ranges(both)} is REPORTED TOO" if both else "none of them reported"
    found = [
        ("Trials", _equal(tuned, ledger)),
        ("Scored by", f"{tuned.metric_label}, {over}; {apart}"),
        ("Searched", "; ".join(f"{setting(key)}: {text}" for key, text in _spaces(tuned))),
        ("Drawn by", ledger.sampler),
        ("The suite's own values", f"not among the trials of {outside}" if outside else ""),
        ("Compute", _compute(tuned)),
        ("At the edge", "; ".join(_edges(tuned))),
        ("Not what was chosen", "; ".join(_unlike(tuned))),
    ]
    optimistic = (
        "the best of several noisy scores flatters itself, and the more the wider they scatter; only the fresh "
        "seeds of the section above compare entries"
    )
    return [fact for fact in found if fact[1]] + [("Caution", optimistic)]


def _equal(tuned: Tuned, ledger: Ledger) -> str:
    text = f"{ledger.trials} for every entry"
    short = [
        f"{s.name} has {len(s.entry.trials)}" for s in tuned.searches if len(s.entry.trials) != ledger.trials
    ]
    searched = {_key(one.entry) for one in tuned.searches}
    short += [f"{s.name} has none" for s in tuned.section.standings if s.entry not in searched]
    text += f"; NOT equal: {', '.join(short)}" if short else ""
    few = [
        f"{s.name} has {len(s.entry.trials) - again} different ones only"
        for s in tuned.searches
        if (again := sum(row.repeats for row in s.entry.trials))
    ]
    return text + (f"; where the space holds no more, choices come again: {', '.join(few)}" if few else "")


def _spaces(tuned: Tuned) -> Iterator[tuple[str, str]]:
    """Each place with its space, and for whom where not for all."""
    for key in tuned.places:
        owners: dict[str, list[str]] = {}
        for one in tuned.searches:
            if key in one.entry.space:
                owners.setdefault(space_text(one.entry.space[key]), []).append(one.name)
        for text, names in owners.items():
            some = len(names) < len(tuned.searches)
            yield key, f"{text} ({', '.join(names)} only)" if some else text


def _compute(tuned: Tuned) -> str:
    flops = [one.entry.training_flops for one in tuned.searches]
    seconds = sum(one.entry.seconds for one in tuned.searches)
    cells = [record for standing in tuned.section.standings for record in standing.cells]
    after = sum(record.seconds for record in cells)
    text = f"{words.quantity(seconds, 's')} in all cells of trials"
    known = [number for number in flops if number is not None]
    if known and len(known) == len(flops):
        text = f"{words.quantity(sum(known), 'FLOP')} of training, {text}"
    return text + (f", {words.times(seconds / after)} what the reported cells took" if after else "")


def _edges(tuned: Tuned) -> Iterator[str]:
    for one in tuned.searches:
        for key, value in one.entry.chosen.items():
            where = edge(one.entry.space[key], value)
            if where not in ("", "inside"):
                yield f"{one.name} took {setting(key)} {value_text(value)} {where}; better may lie beyond"


def _unlike(tuned: Tuned) -> Iterator[str]:
    """Reported cells that ran with other values than the ledger says."""
    chosen = {_key(one.entry): one.entry.chosen for one in tuned.searches}
    for standing in tuned.section.standings:
        ran = _ran(standing, list(chosen.get(standing.entry, {})))
        if ran != chosen.get(standing.entry, {}):
            yield f"{standing.name} ran with {values_text(ran)}"


def _ran(standing: Standing, places: Sequence[str]) -> dict[str, Any]:
    spec = standing.cells[-1].spec
    found = {}
    for place in places:
        kind, _, name = place.partition(".")
        values = {**spec["train"], **spec.get("tuned", {})} if kind == "train" else spec["mechanism"]
        found[place] = values.get(name)
    return found

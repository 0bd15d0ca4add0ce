"""One section of a report for each suite, task and protocol: its entries in order, what was equal, its comparisons."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from oscbench import words
from oscbench.analysis.comparison import Comparison, compare
from oscbench.analysis.facts import fairness_facts
from oscbench.analysis.fairness import timed_alone
from oscbench.analysis.floors import AboveFloor, above_floor
from oscbench.analysis.frame import headline, value_of
from oscbench.analysis.selection import Entry, Pair, anchor_of, by_entry
from oscbench.analysis.statistics.seeds import Summary, summarise
from oscbench.records import Measurement, Record
from oscbench.roles import speed_measures
from oscbench.words import capitalised, slug

_STATES = ("compared", "refused", "missing")


@dataclass(frozen=True)
class Standing:
    """One entry in one section; `summary` is None where it has no finished cell."""

    entry: Entry
    name: str
    idea: str
    citation: str
    cells: tuple[Record, ...]
    summary: Summary | None

    @property
    def finished(self) -> tuple[Record, ...]:
        """The cells that have a headline value."""
        return tuple(record for record in self.cells if math.isfinite(headline(record)))

    @property
    def values(self) -> list[float]:
        """Their headline values."""
        return [headline(record) for record in self.finished]

    @property
    def flags(self) -> list[str]:
        """Each health flag with the number of cells that carry it."""
        counts = Counter(flag for record in self.cells for flag in record.flags)
        return [f"{flag} ({count}/{len(self.cells)})" for flag, count in sorted(counts.items())]


@dataclass(frozen=True)
class Experiment:
    """One suite × task × protocol.

    Attributes:
        slug: Name for anchors and files, unique in the report.
        split: Whether the suite and task have several protocols, which are never compared.
        standings: Every entry, the best headline mean first, those without a finished cell last.
        facts: The fairness block, as (what, finding) pairs.
        comparisons: Those asked for here.
        above_floor: Its best entry against its floors; None where it has none.
    """

    slug: str
    suite: str
    task: str
    task_label: str
    description: str
    protocol: str
    split: bool
    metric: str
    metric_label: str
    unit: str
    direction: str
    standings: tuple[Standing, ...]
    facts: tuple[tuple[str, str], ...]
    comparisons: tuple[Comparison, ...]
    above_floor: AboveFloor | None = None

    @property
    def title(self) -> str:
        """Task and suite; the protocol where there are several."""
        tail = f", protocol {self.protocol[:8]}" if self.split else ""
        return f"{self.task_label} ({self.suite}{tail})"

    @property
    def failures(self) -> list[Record]:
        """Cells that did not end well."""
        return [record for standing in self.standings for record in standing.cells if record.status != "ok"]


def make_experiment(
    inside: Sequence[Record],
    cells: Sequence[Record],
    names: dict[Entry, str],
    pairs: Sequence[Pair],
    claimed: set[Pair],
    split: bool,
) -> Experiment:
    """One section.

    Args:
        inside: Its cells.
        cells: Those of the same suite and task under any protocol.
        names: Short names of all entries.
        pairs: What is to be compared.
        claimed: Pairs that another protocol has told about; those refused or missing here are added.
        split: Whether there are several protocols.
    """
    first = inside[0]
    metric = Counter(record.metric for record in inside).most_common(1)[0][0]
    measurement = next((r.measures[metric] for r in inside if metric in r.measures), None)
    here = by_entry(inside)
    everywhere = by_entry(cells)
    comparisons = [
        compare(pair, names, here, everywhere)
        for pair in pairs
        if pair not in claimed and _belongs(pair, here, everywhere)
    ]
    claimed |= {c.pair for c in comparisons if c.state != "compared"}
    direction = measurement.direction if measurement else "none"
    above = above_floor({names[entry]: found for entry, found in here.items()})
    if above is not None:
        comparisons = [replace(c, withheld=above.reason) for c in comparisons]
    return Experiment(
        slug=slug(f"{first.suite}-{first.task}" + (f"-{first.protocol[:8]}" if split else "")),
        suite=first.suite,
        task=first.task,
        task_label=capitalised(first.task_label),
        description=first.suite_description,
        protocol=first.protocol,
        split=split,
        metric=metric,
        metric_label=capitalised(measurement.label if measurement else metric),
        unit=measurement.unit if measurement else "",
        direction=direction,
        standings=_standings(here, names, direction),
        facts=tuple(fairness_facts(inside, names)),
        comparisons=tuple(sorted(comparisons, key=lambda c: _STATES.index(c.state))),
        above_floor=above,
    )


def _belongs(pair: Pair, here: dict[Entry, list[Record]], everywhere: dict[Entry, list[Record]]) -> bool:
    """Whether this protocol is where the pair is told about.

    Both ran here, or never both together in any one protocol.
    """
    if pair.treatment in here and pair.baseline in here:
        return True
    protocols = [{r.protocol for r in everywhere.get(e, ())} for e in (pair.treatment, pair.baseline)]
    return not (protocols[0] & protocols[1])


def _standings(
    grouped: dict[Entry, list[Record]], names: dict[Entry, str], direction: str
) -> tuple[Standing, ...]:
    found: list[Standing] = []
    for entry, cells in grouped.items():
        values = [v for v in map(headline, cells) if math.isfinite(v)]
        card = cells[-1].card
        summary = summarise(values, np.random.default_rng(0)) if values else None
        found.append(Standing(entry, names[entry], card.idea, card.citation, tuple(cells), summary))
    sign = 1 if direction == "lower" else -1
    return tuple(
        sorted(found, key=lambda s: (s.summary is None, sign * s.summary.mean if s.summary else 0.0, s.name))
    )


def known_measure(experiment: Experiment, names: Sequence[str]) -> tuple[str | None, Measurement | None]:
    """The first of some measures that any finished cell has a value of, and one such measurement."""
    for name in names:
        for standing in experiment.standings:
            for record in standing.finished:
                if math.isfinite(value_of(record, name)):
                    return name, record.measures[name]
    return None, None


def missing_reason(experiment: Experiment, names: Sequence[str], asked_by: str | None) -> str:
    """Why no cell has a value: the reason in the records, or that the suite does not ask."""
    reasons = {
        m.reason
        for s in experiment.standings
        for r in s.finished
        for n, m in r.measures.items()
        if n in names and m.reason
    }
    if reasons:
        return f"unavailable: {'; '.join(sorted(reasons))}"
    return f"not measured: the suite does not list the measure {asked_by or names[0]}"


def health_means(experiment: Experiment) -> dict[tuple[str, str, int, str], float]:
    """(quantity, entry name, layer, start or end) -> mean over finished cells.

    Non-finite diagnostics are left out.
    """
    values: dict[tuple[str, str, int, str], list[float]] = {}
    for standing in experiment.standings:
        for record in standing.finished:
            for row in record.health:
                for name, value in row.quantities.items():
                    if math.isfinite(value):
                        values.setdefault((name, standing.name, row.layer, row.when), []).append(value)
    return {key: float(np.mean(found)) for key, found in values.items()}


def anchor(standing: Standing) -> str:
    """The place in records.html of the cells behind an entry of a section."""
    return anchor_of(standing.cells[0])


def median_of(standing: Standing, measure: str) -> tuple[float, str]:
    """Median over the finished cells of one measure, and its unit; NaN where no cell has it."""
    found = [r.measures[measure] for r in standing.finished if measure in r.measures]
    values = [float(m.value) for m in found if m.value is not None]
    return (float(np.median(values)) if values else math.nan, found[0].unit if found else "1")


def values_of(standing: Standing, measure: str) -> list[float]:
    """One measure of the finished cells that have it."""
    return [v for r in standing.finished if math.isfinite(v := value_of(r, measure))]


def identify(experiment: Experiment, standing: Standing) -> dict[str, Any]:
    """The columns that say which entry of which section a CSV row is about."""
    return {
        "suite": experiment.suite,
        "task": experiment.task,
        "protocol": experiment.protocol,
        "mechanism": standing.entry.mechanism,
        "variant": standing.entry.variant,
    }


def speed_measure(experiment: Experiment) -> str | None:
    """What stands for training speed here: the first of its measures that any cell has; None where cells were trained side by side."""
    cells = [r for s in experiment.standings for r in s.cells]
    have = {name for r in cells for name in r.measures} if all(map(timed_alone, cells)) else set()
    return next((name for name in speed_measures() if name in have), None)


def measure_label(experiment: Experiment, measure: str) -> str:
    """The label that the records give a measure, as a heading."""
    found = (
        r.measures[measure].label for s in experiment.standings for r in s.cells if measure in r.measures
    )
    return words.capitalised(next(found))

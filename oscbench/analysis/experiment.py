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
from oscbench.analysis.fairness import control_notes, matching_mode, origin_notes, position_of, timed_alone
from oscbench.analysis.floors import AboveFloor, above_floor, is_untrained
from oscbench.analysis.frame import headline, value_of
from oscbench.analysis.selection import Entry, Pair, anchor_of, entry_of
from oscbench.analysis.statistics.seeds import Summary, exact_proportion_interval, summarise
from oscbench.records import Measurement, Record
from oscbench.roles import quantities, speed_measures
from oscbench.words import capitalised, quantity, ranges, relative, slug

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


def _by_entry(cells: Sequence[Record]) -> dict[Entry, list[Record]]:
    grouped: dict[Entry, list[Record]] = {}
    for record in cells:
        grouped.setdefault(entry_of(record), []).append(record)
    return grouped


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
    here = _by_entry(inside)
    everywhere = _by_entry(cells)
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


def fairness_facts(cells: Sequence[Record], names: dict[Entry, str]) -> list[tuple[str, str]]:
    """What was equal between the entries of a section and by how much, in words and numbers."""
    grouped = _by_entry(cells)
    alike = [r for r in cells if not ((r.matching and r.matching.control) or is_untrained(r))]
    modes = sorted({matching_mode(record) for record in alike})
    references = sorted({r.matching.reference for r in alike if r.matching and r.matching.reference})
    to = f" to {', '.join(references)}" if references else ""
    residuals = [abs(r.matching.residual) for r in alike if r.matching and r.matching.residual is not None]
    worst = f"; largest residual {100 * max(residuals):.2f} %" if residuals else ""
    facts = [
        ("Matching", f"by {', '.join(modes)}{to}{worst}"),
        *((one.role["cost"], _spread(grouped, one.name)) for one in quantities("basis")),
        ("Data", _data(cells)),
        ("Positions", _positions(grouped, names)),
        ("Seeds", _seeds(grouped, names)),
        ("Tested on", _tested(cells)),
        ("Tuning", _tuning(grouped, names)),
        ("Device", ", ".join(sorted({record.device for record in cells}))),
        ("Code", _code(cells)),
        ("Protocol", cells[0].protocol),
    ]
    return [fact for fact in facts if fact[1]] + [
        ("Note", note) for note in control_notes(cells) + origin_notes(cells)
    ]


def _positions(grouped: dict[Entry, list[Record]], names: dict[Entry, str]) -> str:
    """Where each entry's tokens have their places from: entries side by side by position."""
    found: dict[str, list[str]] = {}
    for entry, cells in grouped.items():
        if position := position_of(cells[-1]):
            found.setdefault(position, []).append(names[entry])
    return "; ".join(f"{position}: {', '.join(entries)}" for position, entries in found.items())


def _tuning(grouped: dict[Entry, list[Record]], names: dict[Entry, str]) -> str:
    """The search that all entries had, and what it chose for each."""
    tune = next(iter(grouped.values()))[0].spec.get("tune")
    if tune is None:
        return "none: every entry ran once with the settings of its suite, no search"
    chosen = []
    for entry, cells in grouped.items():
        spec = cells[-1].spec
        values = dict(spec.get("tuned", {}))
        for place in tune["space"]:
            kind, _, name = place.partition(".")
            if kind == "settings" and name in spec.get("mechanism", {}):
                values[name] = spec["mechanism"][name]
            if kind == "model" and name in spec.get("own_model", {}):
                values[name] = position_of(cells[-1]) if name == "position" else spec["own_model"][name]
        if values:
            chosen.append(f"{names[entry]} " + ", ".join(f"{name} {value}" for name, value in values.items()))
    return (
        f"{tune['trials']} trials for every entry, scored on validation at seeds {ranges(tune['seeds'])}, none of them "
        f"reported; ran with {'; '.join(chosen)}"
    )


def _spread(grouped: dict[Entry, list[Record]], measure: str) -> str:
    medians = []
    unit = "1"
    for cells in grouped.values():
        found = [r.measures[measure] for r in cells if measure in r.measures]
        values = [float(m.value) for m in found if m.value is not None]
        if values:
            medians.append(float(np.median(values)))
            unit = found[0].unit
    if not medians:
        return ""
    low, high = min(medians), max(medians)
    if low == high:
        return f"{quantity(low, unit, 4)} in every entry"
    spread = f"largest over smallest {relative(high / low)}"
    return f"{quantity(low, unit, 4)} to {quantity(high, unit, 4)} ({spread})"


def _data(cells: Sequence[Record]) -> str:
    by_seed: dict[int, set[str | None]] = {}
    for record in cells:
        if record.data_hash is not None:
            by_seed.setdefault(record.seed, set()).add(record.data_hash)
    unlike = [seed for seed, hashes in by_seed.items() if len(hashes) > 1]
    if unlike:
        return f"NOT the same for every entry at seed {ranges(unlike)}; such comparisons are refused"
    hashes = sorted({h[:12] for found in by_seed.values() for h in found if h})
    if not hashes:
        return "no hash recorded"
    tasks = [record.spec.get("task", {}) for record in cells if record.data_hash]
    if len(hashes) > 1 and any(task.get("path") and task.get("draw") != "per_seed" for task in tasks):
        return (
            f"NOT the same at every seed ({len(hashes)} hashes), though the task draws none anew: "
            "data of one's own have changed between runs, and means over seeds mix them"
        )
    many = f"one hash a seed, first {hashes[0]}" if len(hashes) > 1 else f"hash {hashes[0]}"
    return f"at each seed the same tensors for every entry ({many})"


def _seeds(grouped: dict[Entry, list[Record]], names: dict[Entry, str]) -> str:
    trained = {entry: cells for entry, cells in grouped.items() if not is_untrained(cells[0])}
    sets = {
        entry: frozenset(r.seed for r in cells if r.status == "ok")
        for entry, cells in (trained or grouped).items()
    }
    counts = Counter(sets.values())
    usual = counts.most_common(1)[0][0]
    text = f"{len(usual)} ({ranges(list(usual))})"
    odd = [f"{names[entry]} has {len(seeds)}" for entry, seeds in sorted(sets.items()) if seeds != usual]
    return f"{text}; but {', '.join(odd)}" if odd else f"{text}, the same for every entry"


def _tested(cells: Sequence[Record]) -> str:
    finished = [record for record in cells if math.isfinite(headline(record))]
    if not finished:
        return ""
    metric = finished[0].measures[finished[0].metric]
    if metric.unit != "fraction" or metric.n < 2:
        return f"{metric.n} items" if metric.n > 1 else ""
    if not all(_is_share(record) for record in finished):
        return f"{metric.n} items or classes, of which the score is a mean; its sampling error is not known"
    mean = float(np.mean([headline(record) for record in finished]))
    ends = exact_proportion_interval(round(mean * metric.n), metric.n)
    error = 100 * max(ends.high - mean, mean - ends.low)
    return (
        f"{metric.n} items; their own sampling error is up to ± {error:.1f} points for one model (95 %), "
        "which the intervals over seeds do not cover"
    )


def _is_share(record: Record) -> bool:
    """Whether a headline is a share of things that are each right or wrong, whose sampling error is binomial; a mean IoU is none."""
    share = headline(record)
    if not 0.0 <= share <= 1.0:
        return False
    counted = share * record.measures[record.metric].n
    return abs(counted - round(counted)) < 1e-4


def _code(cells: Sequence[Record]) -> str:
    commits = sorted({record.commit[:10] for record in cells if record.commit})
    dirty = " (uncommitted changes)" if any(record.dirty for record in cells) else ""
    return f"commit {', '.join(commits)}{dirty}" if commits else "no commit recorded"


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

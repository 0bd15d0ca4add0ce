"""A report's content before it has a look: its sections, the suites that vary, and a correction for every question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby

import numpy as np

from oscbench.records import Record
from oscbench.reporting.comparison import Aggregate, Comparison, correct
from oscbench.reporting.frame import Loaded
from oscbench.reporting.sections import Section, make_section
from oscbench.reporting.selection import Entry, Pair, entry_names, entry_of, pairs_asked, pairs_by_reference
from oscbench.reporting.statistics import aggregate_over_tasks
from oscbench.reporting.varied import Family, families, over_values, varied_by


@dataclass(frozen=True)
class Report:
    """All sections, in order, and what the folder held besides.

    Attributes:
        sections: The points of suites that vary among them.
        families: The suites that vary, each over one number.
        asked: Whether --compare named the comparisons.
    """

    sections: tuple[Section, ...]
    families: tuple[Family, ...]
    names: dict[Entry, str]
    loaded: Loaded
    asked: bool

    @property
    def comparisons(self) -> list[Comparison]:
        """What the report answers: a suite that varies once for each pair, over all its points, and every other section's own."""
        varied = [comparison for family in self.families for comparison in family.overall]
        return varied + [c for s in self.sections if s.slug not in self.points for c in s.comparisons]

    @cached_property
    def points(self) -> frozenset[str]:
        """Slugs of the sections that are points of a suite that varies."""
        return frozenset(section.slug for family in self.families for _, section in family.points)


def assemble(loaded: Loaded, compare_names: Sequence[str]) -> Report:
    """Group the records, pair what is to be compared, and correct.

    Holm's correction runs over the comparisons of one question: those of a suite, or for a suite that varies those over all its values, and
    apart from them the values of one pair. Over a report it would grow with whatever lies in the folder, and eight seeds,
    whose smallest p is 0.008, could show nothing any more beside six other comparisons.

    Raises:
        ReportError: a compare name is unknown, or names fewer than two entries.
    """
    records = loaded.records
    names = entry_names(records)
    groups = [list(group) for _, group in groupby(records, key=lambda r: (r.suite, r.task))]
    asked = _where_asked(pairs_asked(compare_names, names), groups) if compare_names else None
    sections: list[Section] = []
    for place, cells in enumerate(groups):
        protocols = sorted({record.protocol for record in cells}, key=lambda p: _age(cells, p))
        claimed: set[Pair] = set()
        pairs = pairs_by_reference(cells) if asked is None else asked[place]
        for protocol in protocols:
            inside = [record for record in cells if record.protocol == protocol]
            sections.append(make_section(inside, cells, names, pairs, claimed, len(protocols) > 1))
    corrected = _corrected(sections)
    return Report(corrected, _answered(sections, corrected), names, loaded, asked is not None)


def aggregates(report: Report) -> list[Aggregate]:
    """Each pair that was compared in several tasks of a suite, in one metric, unit and direction."""
    groups: dict[tuple[str, Pair, str, str, str], list[Comparison]] = {}
    for section in report.sections:
        for c in section.comparisons:
            if c.state == "compared" and not section.split:
                key = (section.suite, c.pair, c.metric_label, c.unit, c.direction)
                groups.setdefault(key, []).append(c)
    found: list[Aggregate] = []
    for (suite, _, label, unit, _), group in groups.items():
        if len(group) > 1:
            rows = [np.subtract(c.first, c.second) for c in group]
            effect, interval = aggregate_over_tasks(rows, np.random.default_rng(0))
            names = (group[0].treatment, group[0].baseline)
            found.append(Aggregate(suite, *names, label, unit, len(group), effect, interval))
    return found


def _where_asked(asked: Sequence[Pair], groups: Sequence[Sequence[Record]]) -> list[list[Pair]]:
    """For each suite and task the pairs that both have cells there; a pair that has them nowhere is told missing everywhere."""
    present = [{entry_of(record) for record in cells} for cells in groups]
    nowhere = [p for p in asked if not any({p.treatment, p.baseline} <= here for here in present)]
    return [[p for p in asked if p in nowhere or {p.treatment, p.baseline} <= here] for here in present]


def _age(cells: Sequence[Record], protocol: str) -> tuple[float, str]:
    return (min(r.finished_utc.timestamp() for r in cells if r.protocol == protocol), protocol)


def _corrected(sections: Sequence[Section]) -> tuple[Section, ...]:
    """The sections with p values corrected: over a suite, and for the points of one that varies over those of each pair."""
    points = {section.slug for family in families(sections) for _, section in family.points}
    groups: dict[tuple[object, ...], list[tuple[int, int]]] = {}
    for place, section in enumerate(sections):
        for at, comparison in enumerate(section.comparisons):
            inside = (varied_by(section.suite), section.task, comparison.pair)
            question = inside if section.slug in points else (section.suite,)
            groups.setdefault(question, []).append((place, at))
    made: dict[tuple[int, int], Comparison] = {}
    for members in groups.values():
        found = correct([sections[place].comparisons[at] for place, at in members])
        made |= dict(zip(members, found, strict=True))
    return tuple(
        replace(section, comparisons=tuple(made[place, at] for at in range(len(section.comparisons))))
        for place, section in enumerate(sections)
    )


def _answered(plain: Sequence[Section], corrected: Sequence[Section]) -> tuple[Family, ...]:
    """The suites that vary with their comparisons over all values, corrected over all of a suite, its tasks and numbers together."""
    # Taken before the correction of single values, whose notes on power are not theirs.
    wholes = [over_values(family) for family in families(plain)]
    found = families(corrected)
    groups: dict[tuple[str, ...], list[int]] = {}
    for place, family in enumerate(found):
        groups.setdefault(varied_by(family.last.suite), []).append(place)
    answered = list(found)
    for places in groups.values():
        together = iter(correct([c for place in places for c in wholes[place]]))
        for place in places:
            answered[place] = replace(found[place], overall=tuple(next(together) for _ in wholes[place]))
    return tuple(answered)

"""A report's content before it has a look: its sections, the suites that vary, and a correction for every question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby

import numpy as np

from oscbench.analysis.comparison import Aggregate, Comparison, correct
from oscbench.analysis.experiment import Experiment, make_experiment
from oscbench.analysis.fairness import matching_mode
from oscbench.analysis.frame import Loaded
from oscbench.analysis.selection import Entry, Pair, entry_names, entry_of, pairs_asked, pairs_by_reference
from oscbench.analysis.statistics import aggregate_over_tasks
from oscbench.analysis.sweep import Family, families, over_values, varied_by
from oscbench.records import Record


@dataclass(frozen=True)
class Report:
    """All sections, in order, and what the folder held besides.

    Attributes:
        sections: The points of suites that vary among them.
        families: The suites that vary, each over one number.
        asked: Whether --compare named the comparisons.
    """

    experiments: tuple[Experiment, ...]
    families: tuple[Family, ...]
    names: dict[Entry, str]
    loaded: Loaded
    asked: bool

    @property
    def comparisons(self) -> list[Comparison]:
        """What the report answers: a suite that varies once for each pair, over all its points, and every other section's own."""
        varied = [comparison for family in self.families for comparison in family.overall]
        return varied + [c for s in self.experiments if s.slug not in self.points for c in s.comparisons]

    @cached_property
    def points(self) -> frozenset[str]:
        """Slugs of the sections that are points of a suite that varies."""
        return frozenset(experiment.slug for family in self.families for _, experiment in family.points)


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
    experiments: list[Experiment] = []
    for place, cells in enumerate(groups):
        protocols = sorted({record.protocol for record in cells}, key=lambda p: _age(cells, p))
        claimed: set[Pair] = set()
        pairs = pairs_by_reference(cells) if asked is None else asked[place]
        for protocol in protocols:
            inside = [record for record in cells if record.protocol == protocol]
            experiments.append(make_experiment(inside, cells, names, pairs, claimed, len(protocols) > 1))
    corrected = _corrected(experiments)
    return Report(corrected, _answered(experiments, corrected), names, loaded, asked is not None)


@dataclass(frozen=True)
class _Effect:
    """A pair compared by one suite on one task; a suite that varies counts once, by the mean over its values."""

    suite: str
    experiment: Experiment
    comparison: Comparison
    matching: tuple[str, str]

    @property
    def kind(self) -> tuple[object, ...]:
        """What effects over tasks must share."""
        s = self.experiment
        return (self.comparison.pair, s.metric, s.unit, s.direction, self.matching)

    @property
    def differences(self) -> dict[int, float]:
        """By seed."""
        c = self.comparison
        return {seed: a - b for seed, a, b in zip(c.seeds, c.first, c.second, strict=True)}


def aggregates(report: Report) -> list[Aggregate]:
    """Each pair that was compared in several tasks, by whatever suites, in one metric and unit and matched in one way."""
    groups: dict[tuple[object, ...], dict[str, list[_Effect]]] = {}
    for effect in _effects(report):
        groups.setdefault(effect.kind, {}).setdefault(effect.experiment.task, []).append(effect)
    return [_aggregate(tasks) for tasks in groups.values() if len(tasks) > 1]


def _effects(report: Report) -> list[_Effect]:
    whole: list[tuple[str, tuple[Experiment, ...], tuple[Comparison, ...]]] = [
        (s.suite, (s,), s.comparisons)
        for s in report.experiments
        if s.slug not in report.points and not s.split
    ]
    whole += [(f.suite, tuple(s for _, s in f.points), f.overall) for f in report.families]
    return [
        _Effect(suite, experiments[-1], c, _matching(experiments, c.pair))
        for suite, experiments, comparisons in whole
        for c in comparisons
        if c.state == "compared"
    ]


def _matching(experiments: Sequence[Experiment], pair: Pair) -> tuple[str, str]:
    """How treatment and baseline were matched; unlike for a control alone, as other pairs are refused."""
    standings = [standing for experiment in experiments for standing in experiment.standings]
    modes = [
        {matching_mode(r) for s in standings if s.entry == entry for r in s.finished}
        for entry in (pair.treatment, pair.baseline)
    ]
    return (" and ".join(sorted(modes[0])), " and ".join(sorted(modes[1])))


def _aggregate(tasks: Mapping[str, Sequence[_Effect]]) -> Aggregate:
    kept = {task: _one_sample(effects) for task, effects in tasks.items()}
    rows = [_mean_by_seed(effects) for effects in kept.values()]
    effect, interval = aggregate_over_tasks(rows)
    first = next(iter(kept.values()))[0]
    return Aggregate(
        tasks=tuple((e[0].experiment.task_label, tuple(one.suite for one in e)) for e in kept.values()),
        treatment=first.comparison.treatment,
        baseline=first.comparison.baseline,
        matching=first.matching,
        metric_label=first.experiment.metric_label,
        unit=first.experiment.unit,
        fewest=min(map(len, rows)),
        effect=effect,
        interval=interval,
    )


def _one_sample(effects: Sequence[_Effect]) -> list[_Effect]:
    """The suites of one task that can be averaged seed by seed: all of them, or where they hardly share seeds the one with the most."""
    shared = set.intersection(*(set(effect.differences) for effect in effects))
    return list(effects) if len(shared) > 1 else [max(effects, key=lambda effect: len(effect.differences))]


def _mean_by_seed(effects: Sequence[_Effect]) -> list[float]:
    """Several suites of one task share data and seeds and are no independent evidence: a seed counts once, by the mean over them."""
    each = [effect.differences for effect in effects]
    shared = sorted(set.intersection(*(set(one) for one in each)))
    return [float(np.mean([one[seed] for one in each])) for seed in shared]


def _where_asked(asked: Sequence[Pair], groups: Sequence[Sequence[Record]]) -> list[list[Pair]]:
    """For each suite and task the pairs that both have cells there; a pair that has them nowhere is told missing everywhere."""
    present = [{entry_of(record) for record in cells} for cells in groups]
    nowhere = [p for p in asked if not any({p.treatment, p.baseline} <= here for here in present)]
    return [[p for p in asked if p in nowhere or {p.treatment, p.baseline} <= here] for here in present]


def _age(cells: Sequence[Record], protocol: str) -> tuple[float, str]:
    return (min(r.finished_utc.timestamp() for r in cells if r.protocol == protocol), protocol)


def _corrected(experiments: Sequence[Experiment]) -> tuple[Experiment, ...]:
    """The sections with p values corrected: over a suite, and for the points of one that varies over those of each pair."""
    points = {experiment.slug for family in families(experiments) for _, experiment in family.points}
    groups: dict[tuple[object, ...], list[tuple[int, int]]] = {}
    for place, experiment in enumerate(experiments):
        for at, comparison in enumerate(experiment.comparisons):
            inside = (varied_by(experiment.suite), experiment.task, comparison.pair)
            question = inside if experiment.slug in points else (experiment.suite,)
            groups.setdefault(question, []).append((place, at))
    made: dict[tuple[int, int], Comparison] = {}
    for members in groups.values():
        found = correct([experiments[place].comparisons[at] for place, at in members])
        made |= dict(zip(members, found, strict=True))
    return tuple(
        replace(experiment, comparisons=tuple(made[place, at] for at in range(len(experiment.comparisons))))
        for place, experiment in enumerate(experiments)
    )


def _answered(plain: Sequence[Experiment], corrected: Sequence[Experiment]) -> tuple[Family, ...]:
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

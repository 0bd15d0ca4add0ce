"""Ranks over several tasks, with the uncertainty that the seeds leave in them.

A suite gives one column, a suite that varies too. Entries are ranked beside others that were matched in the same way only, and in tasks
that all of them finished: whatever does not fit is left out by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats

from oscbench.analysis.choices import is_untrained
from oscbench.analysis.experiment import Experiment, Standing
from oscbench.analysis.fairness import matching_mode, refusals
from oscbench.analysis.frame import headline
from oscbench.analysis.statistics.seeds import LEVEL, Floats, Interval
from oscbench.analysis.study import Study
from oscbench.analysis.sweeps.sweep import Sweep, varied_by

RESAMPLES = 2000

BySeed = Mapping[int, float]


@dataclass(frozen=True)
class Scores:
    """What the entries of one suite reached in one task, all matched in the same way.

    Attributes:
        matching: `params`, `flops`, `time` or `none`.
        by_entry: Headline value of each seed; in a suite that varies its mean over all values.
        absent: Entries that did not finish at every value or at all.
        otherwise: Entries that were matched in another way, controls among them.
        unlike: Entries on other data, another device or another protocol than most, which may not be compared with them.
        lost: Entries with cells that did not finish, and how many of how many.
    """

    title: str
    task: str
    matching: str
    direction: str
    by_entry: Mapping[str, BySeed]
    absent: frozenset[str]
    otherwise: frozenset[str]
    unlike: frozenset[str]
    lost: Mapping[str, str]


class Source(NamedTuple):
    """A suite on one task: a section, or all points of a suite that varies."""

    title: str
    experiments: tuple[Experiment, ...]


@dataclass(frozen=True)
class Ranking:
    """Entries that finished in several tasks, and their scores there."""

    columns: tuple[Scores, ...]
    names: tuple[str, ...]

    @property
    def tasks(self) -> list[str]:
        """The different tasks."""
        return sorted({column.task for column in self.columns})

    @property
    def orderings(self) -> int:
        """How often one entry is ordered against another: pairs of entries times tasks."""
        return len(self.tasks) * len(self.names) * (len(self.names) - 1) // 2

    @property
    def alone(self) -> list[str]:
        """Where an entry has one seed, from which no interval follows for anybody in that column."""
        return [
            f"{name} in {c.title}" for c in self.columns for name in self.names if len(c.by_entry[name]) < 2
        ]


def rankings(study: Study) -> tuple[list[Ranking], list[str]]:
    """A ranking for each way of matching and each set of tasks that share entries, and the titles of what is in none.

    Ranks come from the means over seeds, 1 is best, ties share. Every task weighs once, the suites of one task alike. A bootstrap draws seeds
    anew in each task (the same draw for all entries and suites, as far as they share seeds) and ranks again. The tasks are taken as given:
    it says nothing about other tasks.
    """
    sources = _sources(study)
    columns = [scores for source in sources for scores in _scores(source)]
    modes = sorted({column.matching for column in columns})
    found = [one for mode in modes for one in _rankings_of([c for c in columns if c.matching == mode])]
    ranked = {column.title for one in found for column in one.columns}
    return found, [source.title for source in sources if source.title not in ranked]


def _sources(study: Study) -> list[Source]:
    single = [Source(s.title, (s,)) for s in study.experiments if s.slug not in study.points and s.standings]
    groups: dict[tuple[object, ...], list[Sweep]] = {}
    for sweep in study.sweeps:
        groups.setdefault((varied_by(sweep.last.suite), sweep.last.task), []).append(sweep)
    return single + [_varied(sweeps) for sweeps in groups.values()]


def _varied(sweeps: Sequence[Sweep]) -> Source:
    """All points of a suite, once each where it varies over two numbers."""
    suites = sorted({sweep.suite for sweep in sweeps})
    name = suites[0] if len(suites) == 1 else varied_by(sweeps[0].last.suite)[0]
    keys = " and ".join(sorted({sweep.axis for sweep in sweeps}))
    points = {experiment.slug: experiment for sweep in sweeps for _, experiment in sweep.points}
    return Source(f"{sweeps[0].last.task_label} ({name}, mean over {keys})", tuple(points.values()))


def _scores(source: Source) -> list[Scores]:
    """One for each way of matching that at least two entries share."""
    measured = {(s.metric, s.unit, s.direction) for s in source.experiments}
    first = source.experiments[0]
    if (
        len(measured) > 1
        or first.direction not in ("higher", "lower")
        or any(s.split for s in source.experiments)
    ):
        return []
    standings = [standing for experiment in source.experiments for standing in _entries(experiment)]
    modes = sorted({mode for standing in standings if (mode := _mode(standing))})
    return [made for mode in modes if len((made := _alike(source, mode)).by_entry) > 1]


def _alike(source: Source, mode: str) -> Scores:
    """The scores of the entries that were matched in one way."""
    first, standings = (
        source.experiments[0],
        [s for experiment in source.experiments for s in _entries(experiment)],
    )
    points = [p for s in source.experiments if (p := [t for t in _entries(s) if _mode(t) == mode])]
    unlike = frozenset(name for point in points for name in _unlike(point))
    by_entry = _over_points([[s for s in point if s.name not in unlike] for point in points])
    otherwise = {s.name for s in standings if s.finished and _mode(s) != mode}
    return Scores(
        title=source.title,
        task=first.task,
        matching=mode,
        direction=first.direction,
        by_entry=by_entry,
        absent=frozenset({s.name for s in standings} - by_entry.keys() - otherwise - unlike),
        otherwise=frozenset(otherwise - by_entry.keys()),
        unlike=unlike,
        lost=_lost(s for s in standings if s.name not in otherwise),
    )


def _entries(experiment: Experiment) -> list[Standing]:
    """What may be ranked: what was trained."""
    return [standing for standing in experiment.standings if not any(map(is_untrained, standing.cells))]


def _is_control(standing: Standing) -> bool:
    return any(r.matching is not None and r.matching.control for r in standing.cells)


def _mode(standing: Standing) -> str:
    """How the finished cells were matched; empty for a control, and where there is none or they are unlike."""
    modes = {matching_mode(record) for record in standing.finished}
    return modes.pop() if len(modes) == 1 and not _is_control(standing) else ""


def _unlike(point: Sequence[Standing]) -> set[str]:
    """Entries that may not be compared with the one that may be compared with most; all of them where two such sets are as large."""
    alike = {frozenset(s.name for s in point if not refusals(one.finished, s.finished)) for one in point}
    most = max(map(len, alike), default=0)
    largest = [names for names in alike if len(names) == most]
    return {s.name for s in point} - (largest[0] if len(largest) == 1 else frozenset())


def _lost(standings: Iterable[Standing]) -> dict[str, str]:
    counts: dict[str, tuple[int, int]] = {}
    for s in standings:
        lost, cells = counts.get(s.name, (0, 0))
        counts[s.name] = (lost + len(s.cells) - len(s.finished), cells + len(s.cells))
    return {name: f"{lost} of {cells}" for name, (lost, cells) in counts.items() if lost}


def _over_points(points: Sequence[Sequence[Standing]]) -> dict[str, BySeed]:
    """Seed by seed the mean over all points, of entries and seeds that have all of them."""
    each = [{s.name: {r.seed: headline(r) for r in s.finished} for s in point} for point in points]
    names = sorted(set.intersection(*(set(point) for point in each)))
    shared = {name: sorted(set.intersection(*(set(point[name]) for point in each))) for name in names}
    return {
        name: {seed: float(np.mean([point[name][seed] for point in each])) for seed in seeds}
        for name, seeds in shared.items()
        if seeds
    }


def _rankings_of(columns: Sequence[Scores]) -> list[Ranking]:
    """Sets of tasks that share entries, every column in one at most; those over the most tasks first."""
    rest, found = list(columns), []
    while (ranking := _widest(rest)) is not None:
        found.append(ranking)
        rest = [column for column in rest if column not in ranking.columns]
    return sorted(found, key=lambda ranking: (-len(ranking.tasks), -len(ranking.columns)))


def _widest(columns: Sequence[Scores]) -> Ranking | None:
    """The set with the most orderings; it depends on what was run, never on how it came out.

    From each column on, the one that shares the most entries joins next. So a suite with two entries does not thin out a ranking of ten.
    """
    found: list[Ranking] = []
    for start in columns:
        names = set(start.by_entry)
        while len(names) > 1:
            held = tuple(c for c in columns if names <= c.by_entry.keys())
            found.append(Ranking(held, tuple(sorted(names))))
            others = [names & c.by_entry.keys() for c in columns if c not in held]
            names = max(others, key=len, default=set())
    several = [ranking for ranking in found if len(ranking.tasks) > 1]
    return max(several, key=lambda r: (r.orderings, len(r.tasks), len(r.columns)), default=None)


def draws(ranking: Ranking) -> list[Floats]:
    """[draws, entries] ranks for each column, from one draw of seeds a task."""
    # A fixed seed: the same records give the same page, digit for digit.
    rng = np.random.default_rng(0)
    drawn: dict[str, dict[int, Floats]] = {}
    for task in ranking.tasks:
        inside = [c.by_entry[name] for c in ranking.columns if c.task == task for name in ranking.names]
        seeds = sorted({seed for by_seed in inside for seed in by_seed})
        weights = rng.multinomial(len(seeds), [1 / len(seeds)] * len(seeds), RESAMPLES)
        drawn[task] = dict(zip(seeds, weights.T.astype(np.float64), strict=True))
    return [_ranks(column, ranking.names, drawn[column.task]) for column in ranking.columns]


def _ranks(column: Scores, names: Sequence[str], weights: Mapping[int, Floats]) -> Floats:
    """[draws, entries] ranks of the means, each seed with its weight in each draw.

    An entry without a seed has no weight there; one without any seed of a draw keeps its plain mean.
    """
    means = np.stack([_weighted(column.by_entry[name], weights) for name in names], axis=1)
    return np.asarray(
        stats.rankdata(means if column.direction == "lower" else -means, axis=1), dtype=np.float64
    )


def _weighted(by_seed: BySeed, weights: Mapping[int, Floats]) -> Floats:
    total = np.sum([weights[seed] for seed in by_seed], axis=0)
    summed = np.sum([weights[seed] * value for seed, value in by_seed.items()], axis=0)
    plain = float(np.mean(list(by_seed.values())))
    return np.where(total > 0, summed / np.maximum(total, 1), plain)


def _over_tasks(ranking: Ranking, values: Sequence[Floats]) -> Floats:
    """The mean of something that each column has, every task once."""
    by_task = [
        np.mean([v for c, v in zip(ranking.columns, values, strict=True) if c.task == task], axis=0)
        for task in ranking.tasks
    ]
    return np.asarray(np.mean(by_task, axis=0), dtype=np.float64)


def _interval(draws: Floats) -> Interval:
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def chances(ranking: Ranking, drawn: Sequence[Floats]) -> Floats:
    """How often each entry has the best mean rank among the draws, ties shared."""
    first = stats.rankdata(_over_tasks(ranking, drawn), axis=1, method="min") == 1
    return np.asarray((first / first.sum(axis=1, keepdims=True)).mean(axis=0), dtype=np.float64)


class Placed(NamedTuple):
    """A rank; None for the interval where an entry has one seed."""

    over: str
    rank: float
    ends: Interval | None


def placed(ranking: Ranking, drawn: Sequence[Floats]) -> list[list[Placed]]:
    """For every entry its mean rank and the rank in each column."""
    columns, names = ranking.columns, ranking.names
    plain = [_ranks(c, names, {s: np.ones(1) for v in c.by_entry.values() for s in v})[0] for c in columns]
    known = [all(len(c.by_entry[name]) > 1 for name in names) for c in columns]
    whole, spread = _over_tasks(ranking, plain), _over_tasks(ranking, drawn)
    return [
        [
            Placed("all", float(whole[i]), None if ranking.alone else _interval(spread[:, i])),
            *(
                Placed(c.title, float(plain[k][i]), _interval(drawn[k][:, i]) if known[k] else None)
                for k, c in enumerate(columns)
            ),
        ]
        for i in range(len(names))
    ]

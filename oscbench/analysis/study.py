"""All experiments of some records, the suites that vary among them, and a correction for every question."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path

import numpy as np

from oscbench import words
from oscbench.analysis.comparison import Aggregate, Comparison
from oscbench.analysis.experiment import Experiment, make_experiment
from oscbench.analysis.fairness import matching_mode
from oscbench.analysis.families import correct_all, question_of
from oscbench.analysis.floors import by_protocol
from oscbench.analysis.frame import Loaded
from oscbench.analysis.same_runs import shared_note, suites_sharing
from oscbench.analysis.search import Tuned
from oscbench.analysis.selection import (
    Entry,
    Pair,
    entry_names,
    pairs_asked,
    pairs_by_reference,
    pairs_declared,
)
from oscbench.analysis.statistics.seeds import aggregate_over_tasks
from oscbench.analysis.sweeps.sweep import Sweep, label_parts
from oscbench.records import Record, suite_name
from oscbench.settings import name_of

_EXPLORES = "explores: the suite declared other comparisons before it ran, so this one confirms nothing"


@dataclass(frozen=True)
class Question:
    """What one suite asks about one task: its comparisons, which were corrected together.

    Attributes:
        title: Of the experiment or of the suite that varies.
        varied: Path of the number that varies; empty where none does.
    """

    title: str
    suite: str
    label: str
    task: str
    task_label: str
    varied: str
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True)
class Study:
    """All experiments, in order, and what the folder held besides.

    Attributes:
        experiments: The points of suites that vary among them.
        sweeps: The suites that vary, each over one number.
        names: Of every entry, for people, where cells of several suites stand together; inside one an entry has the name that it needs.
        loaded: All records, of timing suites too.
        asked: Whether --compare named the comparisons.
        targets: Levels of the headline metric, in its own unit, that costs are counted to; one near the reference's best when empty.
        searches: What was searched for before experiments of tuned suites.
        diagnostics: Identity -> file of what a trained model's mechanism did with one example, of the cells that have one.
    """

    experiments: tuple[Experiment, ...]
    sweeps: tuple[Sweep, ...]
    names: dict[Entry, str]
    loaded: Loaded
    asked: bool
    targets: tuple[float, ...] = ()
    searches: tuple[Tuned, ...] = ()
    diagnostics: Mapping[str, Path] = field(default_factory=dict)

    @property
    def comparisons(self) -> list[Comparison]:
        """What the study answers: a suite that varies once for each pair, over all its points, and every other experiment's own."""
        varied = [comparison for sweep in self.sweeps for comparison in sweep.overall]
        return varied + [c for e in self.single for c in e.comparisons]

    @cached_property
    def questions(self) -> list[Question]:
        """Every question that has comparisons, suites that vary first."""
        found = [
            Question(
                s.title, suite_name(s.last.suite), s.suite, s.last.task, s.last.task_label, s.key, s.overall
            )
            for s in self.sweeps
        ]
        found += [
            Question(e.title, suite_name(e.suite), e.suite, e.task, e.task_label, "", e.comparisons)
            for e in self.single
        ]
        return [question for question in found if question.comparisons]

    @cached_property
    def points(self) -> frozenset[str]:
        """Slugs of the experiments that are points of a suite that varies."""
        return frozenset(experiment.slug for sweep in self.sweeps for _, experiment in sweep.points)

    @cached_property
    def single(self) -> tuple[Experiment, ...]:
        """The experiments that are no points of a suite that varies."""
        return tuple(e for e in self.experiments if e.slug not in self.points)

    @cached_property
    def shown(self) -> tuple[Experiment, ...]:
        """What is shown one by one: single experiments, and of every suite that varies the one at its largest value."""
        last = {sweep.last.slug: sweep.last for sweep in self.sweeps}
        return (*self.single, *last.values())

    @cached_property
    def rest(self) -> tuple[Experiment, ...]:
        """The points that stand in the tables of their suite alone."""
        kept = {experiment.slug for experiment in self.shown}
        return tuple(e for e in self.experiments if e.slug not in kept)

    @property
    def suites(self) -> list[str]:
        """Names of all suites without what varies in them, trained ones first, in the order of their names."""
        trained = {suite_name(experiment.suite) for experiment in self.experiments}
        timed = {suite_name(record.suite) for record in self.loaded.records} - trained
        return [*sorted(trained), *sorted(timed)]

    def of(self, suite: str) -> Study:
        """What concerns one suite."""
        records = self.loaded.records
        return replace(
            self,
            experiments=tuple(e for e in self.experiments if suite_name(e.suite) == suite),
            sweeps=tuple(s for s in self.sweeps if suite_name(s.last.suite) == suite),
            searches=tuple(s for s in self.searches if suite_name(s.experiment.suite) == suite),
            loaded=replace(self.loaded, records=tuple(r for r in records if suite_name(r.suite) == suite)),
        )

    def point_name(self, experiment: Experiment) -> str:
        """What varies at a point of a suite that varies: `share of training data 0.1`."""
        changes = label_parts(experiment.suite)[1]
        return ", ".join(f"{name_of(key)} {text}" for key, text in changes.items())

    def title_of(self, experiment: Experiment) -> str:
        """The task, and where in a suite that varies."""
        inside = f" at {self.point_name(experiment)}" if experiment.slug in self.points else ""
        apart = f", protocol {experiment.protocol[:8]}" if experiment.split else ""
        return f"{experiment.task_label}{inside}{apart}"


def assemble(loaded: Loaded, compare_names: Sequence[str]) -> Study:
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
    questions = _by_question(groups)
    plan, sharing = _plan(questions, compare_names), suites_sharing(records)
    own = {question: entry_names(cells) for question, cells in questions.items()}
    experiments: list[Experiment] = []
    for cells in groups:
        protocols = by_protocol(cells)
        claimed: set[Pair] = set()
        question = question_of(cells[0].suite, cells[0].task)
        pairs, called = plan[question], names | own[question]
        for inside in protocols.values():
            made = make_experiment(inside, cells, called, list(pairs.made), claimed, len(protocols) > 1)
            experiments.append(_with_roles(_with_shared(made, sharing), pairs.declared))
    corrected, answered = correct_all(
        _told_apart(experiments), {one: pairs.family for one, pairs in plan.items()}
    )
    return Study(*_asked_alone(corrected, answered, plan), names, loaded, bool(compare_names))


def _told_apart(experiments: Sequence[Experiment]) -> list[Experiment]:
    """With slugs that are unique: of those that are spelled alike (`a_b` and `a-b`) each has a hash too."""
    spelled = Counter(one.slug for one in experiments)

    def apart(one: Experiment) -> Experiment:
        return replace(one, slug=f"{one.slug}-{words.mark(f'{one.suite}|{one.task}|{one.protocol}')}")

    return [apart(one) if spelled[one.slug] > 1 else one for one in experiments]


@dataclass(frozen=True)
class _Pairs:
    """Of one suite and task.

    Attributes:
        declared: What the suite declares; all of it is compared, since it is corrected together.
        shown: What the report tells.
        family: How many comparisons the suite declares, with those that have not run.
    """

    declared: tuple[Pair, ...]
    shown: tuple[Pair, ...]
    family: int = 0

    @property
    def made(self) -> tuple[Pair, ...]:
        """What is compared, told or not; a declared pair that is asked for the other way round is one comparison all the same."""
        turned = {pair.turned for pair in self.shown}
        return tuple(dict.fromkeys((*self.shown, *(pair for pair in self.declared if pair not in turned))))


def _by_question(groups: Sequence[Sequence[Record]]) -> dict[tuple[str, str], list[Record]]:
    """The cells of each suite and task, over all values of a suite that varies."""
    questions: dict[tuple[str, str], list[Record]] = {}
    for cells in groups:
        questions.setdefault(question_of(cells[0].suite, cells[0].task), []).extend(cells)
    return questions


def _plan(
    questions: Mapping[tuple[str, str], Sequence[Record]], compare_names: Sequence[str]
) -> dict[tuple[str, str], _Pairs]:
    """What --compare asks for; without it what each suite declares, or every entry against the reference of a suite that declares nothing."""
    asked = pairs_asked(compare_names, list(questions.values())) if compare_names else None
    found = {}
    for place, (question, cells) in enumerate(questions.items()):
        declared = pairs_declared(cells)
        named = (*declared.pairs, *declared.late)
        shown = asked[place] if asked is not None else named or pairs_by_reference(cells)
        found[question] = _Pairs(declared.pairs, tuple(shown), declared.count)
    return found


def _with_roles(experiment: Experiment, declared: Sequence[Pair]) -> Experiment:
    """Which comparisons confirm what the suite declared, and which explore beside it; a pair declared the other way round is declared."""
    if not declared:
        return experiment
    both = {*declared, *(pair.turned for pair in declared)}
    told = tuple(
        replace(c, role="confirms")
        if c.pair in both
        else replace(c, role="explores", caveats=(_EXPLORES, *c.caveats))
        for c in experiment.comparisons
    )
    return replace(experiment, comparisons=told)


def _with_shared(experiment: Experiment, sharing: Mapping[str, tuple[str, ...]]) -> Experiment:
    """A caveat at comparisons whose cells other suites hold too."""
    cells = {standing.entry: standing.cells for standing in experiment.standings}
    told = []
    for c in experiment.comparisons:
        both = [cell for entry in (c.pair.treatment, c.pair.baseline) for cell in cells.get(entry, ())]
        note = shared_note(both, sharing)
        told.append(replace(c, caveats=(*c.caveats, note)) if note else c)
    return replace(experiment, comparisons=tuple(told))


def _asked_alone(
    experiments: Sequence[Experiment], answered: Sequence[Sweep], plan: Mapping[tuple[str, str], _Pairs]
) -> tuple[tuple[Experiment, ...], tuple[Sweep, ...]]:
    """Without the comparisons that were made for their family's correction alone."""

    def only(experiment: Experiment) -> Experiment:
        shown = plan[question_of(experiment.suite, experiment.task)].shown
        kept = tuple(c for c in experiment.comparisons if c.pair in shown)
        return replace(experiment, comparisons=kept)

    found = {experiment.slug: only(experiment) for experiment in experiments}
    kept = []
    for sweep in answered:
        shown = plan[question_of(sweep.last.suite, sweep.last.task)].shown
        points = tuple((value, found[experiment.slug]) for value, experiment in sweep.points)
        overall = tuple(c for c in sweep.overall if c.pair in shown)
        kept.append(replace(sweep, points=points, overall=overall))
    return tuple(found.values()), tuple(kept)


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


def aggregates(study: Study) -> list[Aggregate]:
    """Each pair that was compared in several tasks, by whatever suites, in one metric and unit and matched in one way."""
    groups: dict[tuple[object, ...], dict[str, list[_Effect]]] = {}
    for effect in _effects(study):
        groups.setdefault(effect.kind, {}).setdefault(effect.experiment.task, []).append(effect)
    return [_aggregate(tasks) for tasks in groups.values() if len(tasks) > 1]


def _effects(study: Study) -> list[_Effect]:
    whole: list[tuple[str, tuple[Experiment, ...], tuple[Comparison, ...]]] = [
        (s.suite, (s,), s.comparisons)
        for s in study.experiments
        if s.slug not in study.points and not s.split
    ]
    whole += [(f.suite, tuple(s for _, s in f.points), f.overall) for f in study.sweeps]
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

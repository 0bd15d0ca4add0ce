"""The search before the reported seeds: as many trials for every mechanism and variant, chosen on validation.

A trial is as many ordinary cells as there are scoring seeds, under a label of its own. Which values a trial has depends on
the sampler's seed and on the scores before it alone, so a run that was stopped asks the same again, finds what is there,
and goes on.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from oscbench.records import Record, identity, protocol
from oscbench.records.identity import canonical
from oscbench.records.ledger import Extension, Ledger, LedgerEntry, TrialRow, shared_request, trial_label
from oscbench.runner.cell_spec import Cell
from oscbench.runner.training.entries import position_of
from oscbench.runner.training.space import (
    MOST_TRIALS,
    beyond,
    ends_reached,
    first_values,
    given_values,
    own_space,
    rounded,
    trial_spec,
    widened,
    with_values,
)
from oscbench.runner.training.specs import match_spec, parts_of
from oscbench.suite import Suite, expand
from oscbench.suite.tune import Axis, Tune

MAX_ASKS = 30
"""For a choice that was made before another one is drawn, at most so often; then the space is taken to hold no more."""
Key = tuple[str, str]
Run = Callable[[list[Cell]], Iterable[Record]]


def key_of(cell: Cell) -> Key:
    """Mechanism and variant."""
    return cell.spec["mechanism"]["name"], cell.spec["variant"]


@dataclass
class Search:
    """The search of one mechanism and variant.

    Attributes:
        cell: one of its reported cells, as the suite gives it.
        space: place -> what may be chosen.
        tune: what the suite asks for.
        first: place -> value in the first trial, where that is not what the suite gives.
        rows: trials so far.
    """

    cell: Cell
    space: dict[str, Axis]
    tune: Tune
    first: dict[str, Any] = field(default_factory=dict)
    rows: list[TrialRow] = field(default_factory=list)

    def __post_init__(self) -> None:
        import optuna  # only a suite that tunes pays for loading it

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._guided = optuna.samplers.TPESampler(
            seed=self.tune.sampler_seed, n_startup_trials=max(1, self.tune.trials // 2)
        )
        self._random = optuna.samplers.RandomSampler(seed=self.tune.sampler_seed)
        self._study = optuna.create_study(sampler=self._guided)
        self._failed = optuna.trial.TrialState.FAIL
        self._distributions = {key: _distribution(axis) for key, axis in self.space.items()}
        # The first trial is what the suite and the entry give, as far as that lies in the space.
        given = {**given_values(self.cell.spec, self.space), **self.first}
        self._begins = {key: _position(self.space[key], value) for key, value in given.items()}
        self._study.enqueue_trial(self._begins)
        self._asked: Any = None
        self._values: dict[str, Any] = {}
        self.extensions: list[Extension] = []
        self._reached = dict(self.space)
        self._further: list[dict[str, Any]] = []
        self._rounds = 0

    @property
    def finished(self) -> bool:
        """Whether all trials have their scores, those beyond a range too."""
        return len(self.rows) >= self.tune.trials and not self._further

    @property
    def num_further(self) -> int:
        """Trials beyond its ranges that are lined up."""
        return len(self._further)

    @property
    def distinct_trials(self) -> int:
        """How many trials have a choice of their own; fewer than there are trials where the space holds no more."""
        choices = math.prod(_count(axis) for axis in self.space.values())
        return int(min(self.tune.trials, choices))

    def ask(self) -> list[Cell]:
        """Cells of the next trial, one a scoring seed; cells of an earlier one where the space holds no more."""
        if self._further:
            self._values = self._further[0]
        elif self._asked is None:
            seen = {canonical(row.values) for row in self.rows}
            for left in reversed(range(MAX_ASKS)):
                self._asked = self._study.ask(self._distributions)
                self._values = {key: _value(self.space[key], v) for key, v in self._asked.params.items()}
                if not left or canonical(self._values) not in seen:
                    break
                # Among few choices the sampler insists on the one that it thinks best.
                self._study.tell(self._asked, state=self._failed)
                self._study.sampler = self._random
            self._study.sampler = self._guided
        cells = []
        for seed in self.tune.scoring_seeds():
            spec = trial_spec(self.cell.spec, self._values, seed)
            label = trial_label(self.cell.suite)
            made = replace(
                self.cell, suite=label, spec=spec, identity=identity(spec), protocol=protocol(spec)
            )
            cells.append(made)
        return cells

    def tell(self, records: list[Record]) -> None:
        """Score the trial that was asked for: the mean over its seeds, and as bad as can be where one has no number."""
        scores = [_score(record) for record in records]
        numbers = [score for score in scores if score is not None]
        score = sum(numbers) / len(numbers) if len(numbers) == len(scores) else None
        identities = tuple(record.identity for record in records)
        flops = [_training_flops(record) for record in records]
        repeats = any(row.identities == identities for row in self.rows)
        row = TrialRow(
            values=self._values,
            score=score,
            scores=tuple(scores),
            statuses=tuple(record.status for record in records),
            identities=identities,
            repeats=repeats,
            extension=self._rounds,
            seconds=0.0 if repeats else sum(record.seconds for record in records),
            training_flops=0.0 if repeats else _sum(flops),
        )
        self.rows.append(row)
        if self._further:
            self._further.pop(0)
        else:
            self._study.tell(self._asked, self._loss(row))
            self._asked = None
        if self.finished:
            self._extend()

    def _extend(self) -> None:
        """Line up trials beyond the ends at which the choice stands, all else as chosen; none where it stands inside."""
        best, room = self.best(), MOST_TRIALS - (len(self.rows) - self.tune.trials)
        if best is None or self._rounds >= self.tune.extend:
            return
        ends = ends_reached(self._reached, best.values)
        steps = {key: list(enumerate(beyond(self._reached[key], end))) for key, end in ends.items()}
        found = [(step, key, value) for key, values in steps.items() for step, value in values]
        # The nearest steps of all ends come first, since there may not be room for all.
        found = sorted((one for one in found if self._allows(best, *one[1:])), key=lambda one: one[0])[:room]
        for key in dict.fromkeys(key for _, key, _ in found):
            tried = [value for _, owner, value in found if owner == key]
            self._reached[key] = widened(self._reached[key], tried)
            self.extensions.append(
                Extension(place=key, end=ends[key], chosen=best.values[key], tried=tuple(tried))
            )
        self._further = [{**best.values, key: value} for _, key, value in found]
        self._rounds += bool(found)

    def _allows(self, best: TrialRow, key: str, value: Any) -> bool:
        """Whether mechanism and recipe can have the value, and a model can be built and matched with it."""
        try:
            spec = with_values(self.cell.spec, {**best.values, key: value}, "tune")
            parts = parts_of(spec)
            match_spec(spec, parts.task_class.describe(parts.task_config))
        except Exception:  # sizes that torch refuses among them: what cannot be is not tried
            return False
        return True

    def _loss(self, row: TrialRow) -> float:
        if row.score is None:
            return math.inf
        return row.score if metric_of(self.cell)[1] == "lower" else -row.score

    def best(self) -> TrialRow | None:
        """The best trial so far, the earlier of equals; None where none has a score."""
        scored = [row for row in self.rows if row.score is not None]
        return min(scored, key=self._loss) if scored else None

    def _given(self) -> dict[str, Any] | None:
        """What suite and entry say, as the sampler would hand it out; None where the space does not hold all of it."""
        if self._begins.keys() != self.space.keys():
            return None
        return {key: _value(axis, self._begins[key]) for key, axis in self.space.items()}

    def entry(self) -> LedgerEntry:
        """Its part of the ledger."""
        best = self.best()
        by_setting = {
            key: tuple(
                sorted(
                    ((row.values[key], row.score) for row in self.rows if row.score is not None),
                    key=lambda pair: _position(axis, pair[0]),
                )
            )
            for key, axis in self._reached.items()
        }
        mechanism, variant = key_of(self.cell)
        return LedgerEntry(
            mechanism=mechanism,
            variant=variant,
            space={
                key: axis.model_dump(mode="json", exclude_defaults=True) for key, axis in self.space.items()
            },
            given=self._given(),
            trials=tuple(self.rows),
            chosen=best.values if best else {},
            score=best.score if best else None,
            seconds=sum(row.seconds for row in self.rows),
            training_flops=_sum([row.training_flops for row in self.rows]),
            by_setting=by_setting,
            finished=self.finished,
            extensions=tuple(self.extensions),
        )


def searches(suite: Suite, source: str, cells: list[Cell]) -> list[Search]:
    """One search for every mechanism and variant among the cells; none where the suite asks for none."""
    if suite.tune is None:
        return []
    requests = {(request.mechanism, request.variant): request for request in expand(suite, source)}
    like: dict[Key, Cell] = {}
    for cell in cells:
        like.setdefault(key_of(cell), cell)
    return [
        Search(cell, own_space(suite, request), suite.tune, first_values(suite, request, source))
        for request, cell in ((requests[key], cell) for key, cell in like.items())
    ]


def search(found: list[Search], run: Run, note: Callable[[], object] = lambda: None) -> None:
    """Run all trials, one of every search at a time, so that an interrupted run has equal searches.

    Args:
        found: the searches, which may have trials already.
        run: gives the records of cells; where it leaves one out, that search stays where it is.
        note: is called after every round.
    """
    going = [one for one in found if not one.finished]
    while going:
        asked = [one.ask() for one in going]
        records = {record.identity: record for record in run(list(itertools.chain(*asked)))}
        still = []
        for one, cells in zip(going, asked, strict=True):
            if all(cell.identity in records for cell in cells):
                one.tell([records[cell.identity] for cell in cells])
                still += [] if one.finished else [one]
        going = still
        note()


def with_choices(cells: list[Cell], found: list[Search]) -> list[Cell]:
    """The reported cells with what their searches chose; as the suite gives them where no trial ended well."""
    chosen = {key_of(one.cell): best.values for one in found if (best := one.best())}
    tuned = []
    for cell in cells:
        spec = with_values(cell.spec, chosen.get(key_of(cell), {}), "tune")
        given = {**cell.given, "position": position_of(spec)}
        tuned.append(replace(cell, given=given, spec=spec, identity=identity(spec), protocol=protocol(spec)))
    return tuned


def ledger_of(found: list[Search]) -> Ledger:
    """What all searches were given, cost and chose."""
    one = found[0]
    metric, direction = metric_of(one.cell)
    version = importlib.metadata.version("optuna")
    return Ledger(
        suite=one.cell.suite,
        trial_suite=trial_label(one.cell.suite),
        trials=one.tune.trials,
        scoring_seeds=tuple(one.tune.scoring_seeds()),
        metric=f"validation_{metric}",
        direction="lower" if direction == "lower" else "higher",
        sampler=f"optuna {version} TPE, seed {one.tune.sampler_seed}",
        request=shared_request(one.cell.spec["tune"], one.cell.protocol),
        entries=tuple(search.entry() for search in found),
    )


def metric_of(cell: Cell) -> tuple[str, str]:
    """Name and direction of the task's metric, which its settings may decide."""
    parts = parts_of(cell.spec)
    _, metric = parts.task_class.headline(parts.task_config)
    return metric.name, metric.direction


def _score(record: Record) -> float | None:
    measured = record.measures.get(f"validation_{record.metric}")
    if record.status != "ok" or measured is None or measured.value is None:
        return None
    return float(measured.value) if math.isfinite(measured.value) else None


def _training_flops(record: Record) -> float | None:
    """FLOPs of a step, over the steps that were taken."""
    flops, losses = record.measures.get("flops"), record.curves.get("train_loss")
    if flops is None or flops.value is None or losses is None:
        return None
    step = record.measures.get("training_flops")
    if step is not None and step.value is not None:
        return float(step.value) * losses.x[-1]
    return 3.0 * float(flops.value) * losses.x[-1] * float(record.spec["train"]["batch_size"])


def _sum(values: Iterable[float | None]) -> float | None:
    numbers = list(values)
    return None if any(number is None for number in numbers) else sum(n for n in numbers if n is not None)


def _distribution(axis: Axis) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if axis.choices is not None:  # by position, since a choice may be a list
        return CategoricalDistribution(tuple(range(len(axis.choices))))
    assert axis.low is not None
    assert axis.high is not None
    if isinstance(axis.low, int) and isinstance(axis.high, int):
        return IntDistribution(axis.low, axis.high, log=axis.log)
    return FloatDistribution(float(axis.low), float(axis.high), log=axis.log)


def _count(axis: Axis) -> float:
    """How many values may be chosen; infinite where a range is of fractions."""
    if axis.choices is not None:
        return len(axis.choices)
    if isinstance(axis.low, int) and isinstance(axis.high, int):
        return axis.high - axis.low + 1
    return math.inf


def _position(axis: Axis, value: Any) -> Any:
    """A value as the sampler knows it."""
    return axis.choices.index(value) if axis.choices is not None else value


def _value(axis: Axis, drawn: Any) -> Any:
    """What the sampler drew as a setting."""
    return axis.choices[drawn] if axis.choices is not None else rounded(axis, drawn)

"""Families of comparisons: what is corrected together, over suites and over the values of suites that vary."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from oscbench.analysis.comparison import IN_WORDS, Comparison
from oscbench.analysis.experiment import Experiment
from oscbench.analysis.limits import VERDICT_SEEDS, no_verdict
from oscbench.analysis.statistics.equivalence import Equivalence, two_one_sided
from oscbench.analysis.statistics.multiplicity import can_pass, holm, seeds_needed, simultaneous_level
from oscbench.analysis.statistics.seeds import ALPHA, Interval, mean_interval
from oscbench.analysis.sweeps.sweep import Sweep, over_values, sweeps, varied_by

Families = Mapping[tuple[str, str], int]
"""How many comparisons each suite declares on each task."""


def question_of(suite: str, task: str) -> tuple[str, str]:
    """Suite and task, whatever number of the suite varies: entries are the same over all its values."""
    return (varied_by(suite)[0], task)


def correct_all(
    experiments: Sequence[Experiment], families: Families
) -> tuple[tuple[Experiment, ...], tuple[Sweep, ...]]:
    """Every experiment, and every suite that varies, with its p values corrected over its question.

    Args:
        experiments: With plain p values.
        families: How many comparisons each suite declares on each task, run or not.
    """
    corrected = _corrected(experiments, families)
    return _after_their_overall(corrected, _answered(experiments, corrected, families))


def _together(comparisons: Sequence[Comparison], declared: Sequence[int] = ()) -> list[Comparison]:
    """Those that a suite declares corrected as its family, and the others among themselves."""
    found = list(comparisons)
    confirming = [at for at, c in enumerate(comparisons) if c.role == "confirms"]
    others = [at for at, c in enumerate(comparisons) if c.role != "confirms"]
    made = [
        *zip(confirming, as_family([comparisons[at] for at in confirming], declared), strict=True),
        *zip(others, correct([comparisons[at] for at in others]), strict=True),
    ]
    for at, one in made:
        found[at] = one
    return found


def _declared(experiments: Iterable[Experiment], families: Families) -> list[int]:
    """How many comparisons were declared on each of the tasks of some experiments."""
    return [families[one] for one in dict.fromkeys(question_of(one.suite, one.task) for one in experiments)]


def _corrected(experiments: Sequence[Experiment], families: Families) -> tuple[Experiment, ...]:
    """The sections with p values corrected: over a suite, and for the points of one that varies over those of each pair."""
    points = {experiment.slug for sweep in sweeps(experiments) for _, experiment in sweep.points}
    groups: dict[tuple[object, ...], list[tuple[int, int]]] = {}
    for place, experiment in enumerate(experiments):
        for at, comparison in enumerate(experiment.comparisons):
            inside = (varied_by(experiment.suite), experiment.task, comparison.pair)
            question = inside if experiment.slug in points else (experiment.suite,)
            groups.setdefault(question, []).append((place, at))
    made: dict[tuple[int, int], Comparison] = {}
    for members in groups.values():
        asked = [experiments[place] for place, _ in members]
        # Of the values of one pair all have run.
        declared = [] if asked[0].slug in points else _declared(asked, families)
        together = _together([experiments[place].comparisons[at] for place, at in members], declared)
        made |= dict(zip(members, together, strict=True))
    return tuple(
        replace(experiment, comparisons=tuple(made[place, at] for at in range(len(experiment.comparisons))))
        for place, experiment in enumerate(experiments)
    )


def _answered(
    plain: Sequence[Experiment], corrected: Sequence[Experiment], families: Families
) -> tuple[Sweep, ...]:
    """The suites that vary with their comparisons over all values, corrected over all of a suite, its tasks and numbers together."""
    # Taken before the correction of single values, whose notes on power are not theirs.
    wholes = [over_values(sweep) for sweep in sweeps(plain)]
    found = sweeps(corrected)
    groups: dict[tuple[str, ...], list[int]] = {}
    for place, sweep in enumerate(found):
        groups.setdefault(varied_by(sweep.last.suite), []).append(place)
    answered = list(found)
    for places in groups.values():
        declared = _declared((found[place].last for place in places), families)
        together = iter(_together([c for place in places for c in wholes[place]], declared))
        for place in places:
            answered[place] = replace(found[place], overall=tuple(next(together) for _ in wholes[place]))
    return tuple(answered)


def _after_their_overall(
    experiments: Sequence[Experiment], answered: Sequence[Sweep]
) -> tuple[tuple[Experiment, ...], tuple[Sweep, ...]]:
    """Points of suites that vary, whose p is at least that of their pair over all values.

    Every pair brings as many tests as there are values, which are corrected among themselves: without this, many pairs would bring many
    chances to find one value that differs. Where the pair gives estimates only, so do its points.
    """
    overall = {
        (experiment.slug, c.pair): c
        for sweep in answered
        for _, experiment in sweep.points
        for c in sweep.overall
    }

    def after(c: Comparison, over: Comparison | None) -> Comparison:
        if over is None:
            return c
        both = math.isfinite(over.p_holm) and math.isfinite(c.p_holm)
        p = max(c.p_holm, over.p_holm) if both else c.p_holm
        return replace(c, p_holm=p, estimates=c.estimates or over.estimates)

    def later(experiment: Experiment) -> Experiment:
        told = tuple(after(c, overall.get((experiment.slug, c.pair))) for c in experiment.comparisons)
        return replace(experiment, comparisons=told)

    found = {experiment.slug: later(experiment) for experiment in experiments}
    kept = tuple(replace(s, points=tuple((value, found[e.slug]) for value, e in s.points)) for s in answered)
    return tuple(found.values()), kept


def correct(comparisons: Sequence[Comparison], unrun: int = 0) -> list[Comparison]:
    """Holm over the comparisons of a question that their seeds let pass it, and a note at the others.

    These have Bonferroni's p over all comparisons, which is above the level whatever came out. Tests of equivalence are a question of
    their own, corrected in the same way, over those comparisons that have the seeds of a verdict: two seeds that happen to agree show
    nothing.

    Args:
        comparisons: Of one question.
        unrun: How many more were declared and have not run yet: they count as if they had run and shown nothing, so that half of a suite
            is corrected as all of it will be.
    """
    seeds = [c.paired.n if c.paired and math.isfinite(c.paired.p) else 0 for c in comparisons]
    seeds += [max(seeds, default=0)] * unrun
    family = can_pass(seeds)
    p_values = [c.paired.p if c.paired else math.nan for c in comparisons] + [1.0] * unrun
    inside = holm([p if member else math.nan for p, member in zip(p_values, family, strict=True)])
    total = sum(math.isfinite(p) for p in p_values)
    alike = _equivalences(comparisons, unrun)
    corrected: list[Comparison] = []
    for at, comparison in enumerate(comparisons):
        member = family[at]
        tested = sum(family) if member else total
        corrected.append(
            replace(
                comparison,
                p_holm=inside[at] if member else float(np.minimum(total * p_values[at], 1.0)),
                adjusted=_adjusted(comparison, tested),
                equivalence=alike[at],
                tested=tested,
                needed=0 if member else seeds_needed(total),
                caveats=(*_power_notes(comparison, member, total), *comparison.caveats),
            )
        )
    return corrected


def as_family(comparisons: Sequence[Comparison], declared: Sequence[int] = ()) -> list[Comparison]:
    """The comparisons that a suite declares, corrected together; estimates only where there are too many of them or too few seeds.

    Args:
        comparisons: Those that have run.
        declared: How many there are on each of the suite's tasks, run or not; by default those that have run.
    """
    run = sum(c.paired is not None and math.isfinite(c.paired.p) for c in comparisons)
    count = max([len({comparison.pair for comparison in comparisons}), *declared])
    judged = []
    for comparison in correct(comparisons, max(0, sum(declared) - run)):
        seeds = comparison.paired.n if comparison.paired else 0
        judged.append(replace(comparison, estimates="; ".join(no_verdict(count, seeds))))
    return judged


def _differences(comparison: Comparison) -> list[float]:
    return [a - b for a, b in zip(comparison.first, comparison.second, strict=True)]


def _adjusted(comparison: Comparison, tested: int) -> Interval | None:
    if comparison.paired is None or comparison.paired.n < 2:
        return None
    return mean_interval(_differences(comparison), simultaneous_level(tested))


def _equivalences(comparisons: Sequence[Comparison], unrun: int) -> list[Equivalence | None]:
    found = [
        two_one_sided(_differences(c), c.margin)
        if c.margin and c.paired and c.paired.n >= VERDICT_SEEDS
        else None
        for c in comparisons
    ]
    adjusted = holm([one.p if one else math.nan for one in found] + [1.0] * unrun)
    return [
        replace(one, p_adjusted=p) if one else None
        for one, p in zip(found, adjusted[: len(found)], strict=True)
    ]


def _power_notes(comparison: Comparison, member: bool, total: int) -> tuple[str, ...]:
    if comparison.paired is None:
        return ()
    if comparison.paired.n == 1:
        return ("one paired seed gives no interval and no test",)
    return () if member else (_power_note(comparison.paired.n, total, seeds_needed(total)),)


def _power_note(n: int, tested: int, needed: int) -> str:
    among = "one comparison" if tested == 1 else f"{tested} comparisons"
    return (
        f"{IN_WORDS['underpowered']}: {n} paired seeds cannot reach p ≤ {ALPHA} among {among}; {needed} could"
    )

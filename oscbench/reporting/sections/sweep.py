"""Tables and the figure of a suite that varies over a number."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from oscbench import words
from oscbench.analysis.experiment import Experiment, anchor, identify
from oscbench.analysis.fairness import spec_differences
from oscbench.analysis.statistics.seeds import Censored, Interval, mean_interval, summarise_censored
from oscbench.analysis.study import Study
from oscbench.analysis.sweeps.sweep import (
    Sweep,
    Tested,
    level_at_last,
    listed,
    reaching_on_means,
    smallest_reaching,
)
from oscbench.reporting.page.blocks import SUITE, Block, Facts, Folded, Heading
from oscbench.reporting.page.comparisons import comparison_table, difference_columns, verdict_of
from oscbench.reporting.page.figure import (
    Picture,
    Plan,
    axis_label,
    canvas,
    finish,
    legend,
    line_of_means,
    name_ends,
    scaled,
)
from oscbench.reporting.page.scores import mean_cell
from oscbench.reporting.page.style import MUTED, Look, look_of, settings
from oscbench.reporting.page.svg import hint
from oscbench.reporting.page.table import Cell, Reads, Table, count_cell

LOG_FROM = 4.0
"""Values that span such a factor are drawn on a logarithmic axis."""


def overall_table(sweep: Sweep) -> Table | None:
    """Every pair over all values: the one test that the suite answers with; None where nothing is compared."""
    if not sweep.overall:
        return None
    last = sweep.last
    caption = (
        f"Over all values of the {sweep.axis} at which a pair is compared: differences by seed in the mean over the values of "
        f"{words.lowered(last.metric_label)}{words.in_unit(last.unit)}. One test a pair, Holm over the pairs of the "
        "suite; costs from the least to the most at any value"
    )
    place = {"suite": sweep.suite, "task": last.task, "varied": sweep.key}
    links = {whole.pair: _link(tests[0]) for whole, tests in zip(sweep.overall, sweep.tests, strict=True)}
    table = comparison_table(f"{sweep.slug}-overall", caption, sweep.overall, place, lambda c: links[c.pair])
    raw = ({**row, "metric": c.metric_label} for row, c in zip(table.raw, sweep.overall, strict=True))
    return replace(table, raw=tuple(raw))


def values_table(sweep: Sweep) -> Table:
    """The headline metric of every entry at every value."""

    def read(experiment: Experiment, name: str) -> Cell | str:
        if sweep.standing(experiment, name) is None:
            return words.MISSING
        return mean_cell(list(sweep.by_seed(experiment, name).values()), experiment.unit)

    columns = [
        Reads("Mechanism", str, "left"),
        *(Reads(f"{value:g}", partial(read, experiment)) for value, experiment in sweep.points),
    ]
    caption = f"{sweep.last.metric_label} against the {sweep.axis}, mean ± 95 % t interval over seeds"
    return Table.of(f"{sweep.slug}-values", caption, columns, sweep.names, partial(_values_raw, sweep))


def _values_raw(sweep: Sweep, name: str) -> Iterable[dict[str, Any]]:
    """A line a value at which the entry ran."""
    for value, experiment in sweep.points:
        if standing := sweep.standing(experiment, name):
            found = list(sweep.by_seed(experiment, name).values())
            ends = mean_interval(found)
            yield (
                identify(experiment, standing)
                | {
                    "varied": sweep.key,
                    "value": value,
                    "mean": float(np.mean(found)),
                    "unit": experiment.unit,
                }
                | {"t_low": ends.low, "t_high": ends.high, "seeds": len(found)}
            )


def differences_table(sweep: Sweep) -> Table | None:
    """Every pair at every value; None where nothing is compared."""
    every = [one for tests in sweep.tests for one in tests]
    if not every:
        return None
    columns: list[Reads[Tested]] = [
        Reads("Comparison", lambda one: one.comparison.name, "left"),
        Reads(words.capitalised(sweep.axis), lambda one: Cell(f"{one.value:g}", one.value)),
        *difference_columns("Difference", lambda one: one.comparison),
        Reads("Seeds", _pairs),
        Reads("Verdict", lambda one: verdict_of(one.comparison), "left"),
    ]
    caption = (
        f"Paired differences in {words.lowered(sweep.last.metric_label)} at each value of the {sweep.axis}. Holm over all points of "
        "one pair, and p at least that of the pair over all values"
    )
    raw = partial(_difference_raw, sweep)
    return Table.of(f"{sweep.slug}-differences", caption, columns, every, raw, _link)


def _link(one: Tested) -> str | None:
    return next(
        (anchor(s) for s in one.experiment.standings if s.entry == one.comparison.pair.treatment), None
    )


def _pairs(one: Tested) -> Cell:
    return count_cell(one.comparison.paired.n if one.comparison.paired else 0)


def _difference_raw(sweep: Sweep, one: Tested) -> dict[str, Any]:
    c = one.comparison
    raw: dict[str, Any] = {
        "suite": one.experiment.suite,
        "task": one.experiment.task,
        "varied": sweep.key,
        "value": one.value,
        "treatment": str(c.pair.treatment),
        "baseline": str(c.pair.baseline),
        "unit": c.unit,
        "verdict": c.verdict,
        "reason": c.reason,
    }
    if c.paired is None:
        return raw
    raw |= {"difference": c.paired.mean, "t_low": c.paired.interval.low, "t_high": c.paired.interval.high}
    return raw | {"p": c.paired.p, "p_holm": c.p_holm, "seeds": c.paired.n}


def shares_table(sweep: Sweep) -> Table | None:
    """The smallest value at which each entry is as good as its baseline at the largest: what it can do without.

    None where the number is no resource or nothing is compared.
    """
    if not sweep.is_resource or not sweep.tests:
        return None
    compared = {}
    for tests in sweep.tests:
        c, level = tests[0].comparison, level_at_last(sweep, tests)
        if level is not None:
            compared[c.baseline, c.baseline] = tests, level
            compared[c.treatment, c.baseline] = tests, level
    baselines_first = sorted(compared.items(), key=lambda item: item[0][0] != item[0][1])
    every = (_share(sweep, name, baseline, *found) for (name, baseline), found in baselines_first)
    shares = [one for one in every if one]
    caption = (
        f"The smallest {sweep.axis} at which an entry is as good as its baseline at {sweep.values[-1]:g} (larger ones need not be): on the "
        "means over seeds, and seed by seed (median and quartiles; a seed that never gets there counts as beyond all). A baseline may "
        "get there with less itself"
    )
    return Table.of(f"{sweep.slug}-shares", caption, SHARES, shares, lambda one: one.raw) if shares else None


class _Share(NamedTuple):
    """What an entry can do without to reach the level of a baseline: on the means, and over seeds, of each of which `raw` has a line."""

    name: str
    target: str
    on_means: float
    seeds: Censored
    raw: list[dict[str, Any]]


SHARES: tuple[Reads[_Share], ...] = (
    Reads("Mechanism", lambda one: one.name, "left"),
    Reads("As good as", lambda one: one.target, "left"),
    Reads("On the means", lambda one: Cell(words.reached(one.on_means), one.on_means)),
    Reads("Median of the seeds", lambda one: Cell(words.reached(one.seeds.median), one.seeds.median)),
    Reads("Quartiles", lambda one: words.reached_between(one.seeds.low_quartile, one.seeds.high_quartile)),
    Reads(
        "Seeds that reach it",
        lambda one: Cell(f"{one.seeds.reached}/{one.seeds.n}", float(one.seeds.reached)),
    ),
)


def _share(sweep: Sweep, name: str, baseline: str, tests: Sequence[Tested], level: float) -> _Share | None:
    last = sweep.last
    levels = sweep.by_seed(last, baseline)
    curves = {one.value: sweep.by_seed(one.experiment, name) for one in tests if one.comparison.paired}
    raw: list[dict[str, Any]] = [
        {"suite": sweep.suite, "task": last.task, "entry": name, "baseline": baseline, "seed": seed}
        | {"level": levels[seed], "share": smallest_reaching(here, levels[seed], last.direction)}
        for seed in sorted(levels)
        if (here := {value: found[seed] for value, found in curves.items() if seed in found})
    ]
    if not raw:
        return None
    on_means = reaching_on_means(sweep, tests, name, level)
    target = f"{baseline} ({words.quantity(level, last.unit, 4)})"
    seeds = summarise_censored([line["share"] for line in raw])
    return _Share(name, target, math.inf if math.isnan(on_means) else on_means, seeds, raw)


def picture(sweep: Sweep) -> Picture:
    """The headline metric against the number: mean and 95 % interval of every entry."""
    last = sweep.last
    with matplotlib.rc_context(settings()):
        figure, axes = canvas(3.1)
        phrases: list[str] = []
        ends: list[tuple[float, str, str]] = []
        for place, name in enumerate(sweep.names):
            shown = [
                (v, y)
                for v, experiment in sweep.points
                if (y := list(sweep.by_seed(experiment, name).values()))
            ]
            points = [(v, float(np.mean(y)), mean_interval(y)) for v, y in shown]
            told = [f"{words.quantity(mean, last.unit)} at {v:g}" for v, mean, _ in points]
            _draw(
                axes,
                sweep,
                place - (len(sweep.names) - 1) / 2,
                points,
                name,
                look_of(sweep.entry(name)),
                told,
            )
            phrases.append(f"{name} {', '.join(told)}")
            ends.append((float(scaled(points[-1][1], last.unit)), name, look_of(sweep.entry(name)).colour))
        _number_axis(axes, sweep)
        title = f"{last.metric_label} against {sweep.axis}"
        axes.set_title(axis_label(last.metric_label, last.unit))
        name_ends(figure, axes, ends)
        alt = f"Lines: {title}, mean and 95 % interval over seeds. {'; '.join(phrases)}."
        return finish(figure, sweep.slug, "varied", title, alt)


def differences_picture(sweep: Sweep) -> Picture:
    """The paired difference of every pair against the number: mean and 95 % interval."""
    last = sweep.last
    with matplotlib.rc_context(settings()):
        figure, axes = canvas(3.1)
        axes.axhline(0, color=MUTED, linewidth=1)
        pairs: dict[str, list[tuple[float, float, Interval]]] = {}
        for one in (one for tests in sweep.tests for one in tests):
            paired, name = one.comparison.paired, one.comparison.name
            if paired:
                pairs.setdefault(name, []).append((one.value, paired.mean, paired.interval))
        treatments = {tests[0].comparison.name: tests[0].comparison.pair.treatment for tests in sweep.tests}
        phrases = []
        for place, (name, points) in enumerate(pairs.items()):
            told = [f"{words.difference(mean, last.unit)} at {v:g}" for v, mean, _ in points]
            _draw(axes, sweep, place - (len(pairs) - 1) / 2, points, name, look_of(treatments[name]), told)
            phrases.append(f"{name} {', '.join(told)}")
        _number_axis(axes, sweep)
        title = f"Paired differences in {words.lowered(last.metric_label)}"
        axes.set_title(axis_label(title, words.difference_unit(last.unit)))
        legend(figure, axes, columns=2)
        alt = f"Lines: {title} against {sweep.axis}, mean and 95 % interval. {'; '.join(phrases)}."
        return finish(figure, sweep.slug, "varied differences", title, alt)


def _draw(
    axes: Axes,
    sweep: Sweep,
    aside: float,
    points: Sequence[tuple[float, float, Interval]],
    name: str,
    look: Look,
    told: Sequence[str],
) -> None:
    """Means with their intervals, `aside` of their values: beside one another instead of on top, and always the same."""
    x = np.array([value for value, *_ in points])
    x = x * 1.02**aside if _is_log(sweep) else x + 0.008 * aside * (sweep.values[-1] - sweep.values[0])
    line = line_of_means(axes, x, [(mean, ends) for _, mean, ends in points], sweep.last.unit, name, look)
    hint(line, name, (f"{name}: mean {one}" for one in told))


def _is_log(sweep: Sweep) -> bool:
    return sweep.values[0] > 0 and sweep.values[-1] / sweep.values[0] >= LOG_FROM


def _number_axis(axes: Axes, sweep: Sweep) -> None:
    """A tick at each value."""
    if _is_log(sweep):
        axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(sweep.values))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel(words.capitalised(sweep.axis))


def facts(sweep: Sweep) -> list[tuple[str, str]]:
    """What varies, and whatever else is unlike between the points."""
    found = [("Varied", f"{sweep.axis}: {listed(sweep.values)}; comparisons are made within each value only")]
    unlike = sorted(set(_unlike(sweep)))
    found += [("Also unlike between the values", "; ".join(unlike[:6]))] if unlike else []
    found += [("Left out", reason) for reason in sweep.left_out]
    return found


def _unlike(sweep: Sweep) -> Iterable[str]:
    """Settings besides the varied one in which an entry's cells differ from those at the largest value."""
    below = f"{sweep.key}:", f"{sweep.key}."
    for name in sweep.names:
        at_last = sweep.standing(sweep.last, name)
        for _, experiment in sweep.points[:-1]:
            here = sweep.standing(experiment, name)
            if here and at_last:
                for text in spec_differences(here.finished[0].spec, at_last.finished[0].spec):
                    if not text.startswith(below):
                        yield text.partition(":")[0]


class SweepSection:
    """A suite that varies over a number: its values are columns, and its lines stand over one axis."""

    title = "Over all values"
    rank = 20
    page = SUITE

    def blocks(self, study: Study) -> list[Block]:
        """Figures, then scores with a column a value; what is compared at each value, and what an entry can do without."""
        found: list[Block] = []
        for sweep in study.sweeps:
            found += [Heading(sweep.title)] if len(study.sweeps) > 1 else []
            found.append(Plan(0, partial(picture, sweep)))
            if any(one.comparison.paired for tests in sweep.tests for one in tests):
                found.append(Plan(0, partial(differences_picture, sweep)))
            found.append(values_table(sweep))
            shares, overall, differences = shares_table(sweep), overall_table(sweep), differences_table(sweep)
            found += [shares] if shares else []
            more = tuple(table for table in (overall, differences) if table)
            found += [Folded("Every comparison, over all values and at each", more)] if more else []
            found.append(Facts(tuple(facts(sweep))))
        return found


section = SweepSection

"""Tables and the figure of a suite that varies over a number."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from oscbench import words
from oscbench.analysis.comparison import Comparison
from oscbench.analysis.experiment import anchor, identify
from oscbench.analysis.fairness import spec_differences
from oscbench.analysis.statistics import Censored, Interval, mean_interval, summarise_censored
from oscbench.analysis.sweep import (
    Family,
    Tested,
    level_at_last,
    listed,
    reaching_on_means,
    smallest_reaching,
)
from oscbench.analysis.sweep_law import scaling_fits
from oscbench.reporting.page.comparisons import comparison_numbers, comparison_rows
from oscbench.reporting.page.figure import (
    Picture,
    Plan,
    axis_label,
    canvas,
    finish,
    legend,
    line_of_means,
)
from oscbench.reporting.page.style import MUTED, Look, settings
from oscbench.reporting.page.style import looks as looks_of
from oscbench.reporting.page.svg import hint
from oscbench.reporting.page.table import Cell, Column, Table
from oscbench.reporting.page.verdict import Answer, answer
from oscbench.reporting.sections.power_law import scaling_picture, scaling_table

LOG_FROM = 4.0
"""Values that span such a factor are drawn on a logarithmic axis."""


@dataclass(frozen=True)
class VariedView:
    """A varied suite, or values of a setting, with everything that is shown of it.

    Attributes:
        tables: all of them, `overall` first where there is one.
        overall: what the suite as a whole answers, which stands above everything else in its section.
        plans: its figures; `pictures` are those that the report had room for.
    """

    slug: str
    title: str
    description: str
    answers: tuple[Answer, ...]
    facts: tuple[tuple[str, str], ...]
    tables: tuple[Table, ...]
    plans: tuple[Plan, ...]
    pictures: tuple[Picture, ...] = ()
    overall: Table | None = None

    @property
    def details(self) -> list[Table]:
        """The tables below the one of the suite as a whole."""
        return [table for table in self.tables if table is not self.overall]


def varied_views(families: Sequence[Family], looks: Mapping[str, Look]) -> tuple[VariedView, ...]:
    """One view for every suite and number that it varies over."""
    return tuple(_view(family, looks) for family in families)


def _view(family: Family, looks: Mapping[str, Look]) -> VariedView:
    overall = overall_table(family)
    tables = [overall, values_table(family), differences_table(family), shares_table(family)]
    fits = scaling_fits(family)
    tables.append(scaling_table(family, fits))
    drawn = [Plan(0, partial(picture, family, looks))]
    if any(one.comparison.paired for tests in family.tests for one in tests):
        drawn.append(Plan(0, partial(differences_picture, family)))
    drawn += [Plan(1, partial(scaling_picture, family, fits, looks))] if fits.found else []
    notes = facts(family) + ([("Scaling law", fits.refused)] if fits.refused else [])
    return VariedView(
        slug=family.slug,
        title=family.title,
        description=family.last.description,
        answers=tuple(answers(family)),
        facts=tuple(notes),
        tables=tuple(table for table in tables if table is not None),
        plans=tuple(drawn),
        overall=overall,
    )


def overall_table(family: Family) -> Table | None:
    """Every pair over all values: the one test that the suite answers with; None where nothing is compared."""
    if not family.overall:
        return None
    columns, rows = comparison_rows(family.overall)
    last = family.last
    raw = tuple(
        {"suite": family.suite, "task": last.task, "varied": family.key, "metric": c.metric_label}
        | comparison_numbers(c)
        for c in family.overall
    )
    caption = (
        f"Over all values of {family.key} at which a pair is compared: differences by seed in the mean over the values of "
        f"{words.lowered(last.metric_label)}{words.in_unit(last.unit)}. One test a pair, Holm over the pairs of the "
        "suite; costs from the least to the most at any value"
    )
    links = tuple(_link(tests[0]) for tests in family.tests)
    return Table(f"{family.slug}-overall", caption, columns, rows, raw, links)


def values_table(family: Family) -> Table:
    """The headline metric of every entry at every value."""
    rows, raw = [], []
    for name in family.names:
        cells = [Cell(name)]
        for value, experiment in family.points:
            standing = family.standing(experiment, name)
            found = list(family.by_seed(experiment, name).values())
            if standing is None:
                cells.append(Cell(words.MISSING))
                continue
            mean, ends = float(np.mean(found)), mean_interval(found)
            half = words.half_width(ends.low, ends.high, experiment.unit)
            cells.append(Cell(f"{words.quantity(mean, experiment.unit)} {half}".strip(), mean))
            raw.append(
                identify(experiment, standing)
                | {"varied": family.key, "value": value, "mean": mean, "unit": experiment.unit}
                | {"t_low": ends.low, "t_high": ends.high, "seeds": len(found)}
            )
        rows.append(tuple(cells))
    caption = f"{family.last.metric_label} against {family.key}, mean ± 95 % t interval over seeds"
    columns = (Column("Mechanism", "left"), *(Column(f"{value:g}") for value in family.values))
    return Table(f"{family.slug}-values", caption, columns, tuple(rows), tuple(raw))


def differences_table(family: Family) -> Table | None:
    """Every pair at every value; None where nothing is compared."""
    every = [one for tests in family.tests for one in tests]
    if not every:
        return None
    headings = ("Difference", "95 % interval", "p", "p (Holm)", "Seeds")
    columns = (
        Column("Comparison", "left"),
        Column(family.key),
        *(Column(h) for h in headings),
        Column("Verdict", "left"),
    )
    found = [_difference(family, one) for one in every]
    caption = (
        f"Paired differences in {words.lowered(family.last.metric_label)} at each value of {family.key}. Holm over all points of "
        "one pair"
    )
    rows, raw = tuple(row for row, _ in found), tuple(line for _, line in found)
    links = tuple(_link(one) for one in every)
    return Table(f"{family.slug}-differences", caption, columns, rows, raw, links)


def _link(one: Tested) -> str | None:
    return next(
        (anchor(s) for s in one.experiment.standings if s.entry == one.comparison.pair.treatment), None
    )


def _difference(family: Family, one: Tested) -> tuple[tuple[Cell, ...], dict[str, Any]]:
    c = one.comparison
    start = (Cell(c.name), Cell(f"{one.value:g}", one.value))
    raw: dict[str, Any] = {
        "suite": one.experiment.suite,
        "task": one.experiment.task,
        "varied": family.key,
        "value": one.value,
        "treatment": str(c.pair.treatment),
        "baseline": str(c.pair.baseline),
        "unit": c.unit,
        "verdict": one.comparison.verdict,
        "reason": c.reason,
    }
    if c.paired is None:
        empty = (Cell(words.MISSING),) * 4
        return (*start, *empty, Cell("0", 0.0), Cell(f"{c.state}: {c.reason}")), raw
    ends = c.paired.interval
    cells = (
        Cell(words.difference(c.paired.mean, c.unit), c.paired.mean),
        Cell(words.interval(ends.low, ends.high, c.unit), ends.low if ends.exists else None),
        Cell(words.p_value(c.paired.p), c.paired.p if math.isfinite(c.paired.p) else None),
        Cell(words.p_value(c.p_holm), c.p_holm if math.isfinite(c.p_holm) else None),
        Cell(str(c.paired.n), float(c.paired.n)),
        Cell(one.comparison.verdict),
    )
    numbers = {"difference": c.paired.mean, "t_low": ends.low, "t_high": ends.high}
    return (*start, *cells), raw | numbers | {"p": c.paired.p, "p_holm": c.p_holm, "seeds": c.paired.n}


def shares_table(family: Family) -> Table | None:
    """The smallest value at which each entry is as good as its baseline at the largest: what it can do without.

    None where the number is no resource or nothing is compared.
    """
    if not family.is_resource or not family.tests:
        return None
    last, rows, raw = family.last, [], []
    compared = {}
    for tests in family.tests:
        c, level = tests[0].comparison, level_at_last(family, tests)
        if level is not None:
            compared[c.baseline, c.baseline] = tests, level
            compared[c.treatment, c.baseline] = tests, level
    for (name, baseline), (tests, level) in sorted(
        compared.items(), key=lambda item: item[0][0] != item[0][1]
    ):
        levels = family.by_seed(last, baseline)
        curves = {one.value: family.by_seed(one.experiment, name) for one in tests if one.comparison.paired}
        seeds = sorted(levels.keys() & {seed for found in curves.values() for seed in found})
        if not seeds:
            continue
        on_means = reaching_on_means(family, tests, name, level)
        each = [
            smallest_reaching(
                {v: f[seed] for v, f in curves.items() if seed in f}, levels[seed], last.direction
            )
            for seed in seeds
        ]
        summary = summarise_censored(each)
        rows.append(
            _share_row(name, f"{baseline} ({words.quantity(level, last.unit, 4)})", on_means, summary)
        )
        raw += [
            {"suite": family.suite, "task": last.task, "entry": name, "baseline": baseline, "seed": seed}
            | {"level": levels[seed], "share": share}
            for seed, share in zip(seeds, each, strict=True)
        ]
    caption = (
        f"The smallest {family.key} at which an entry is as good as its baseline at {family.values[-1]:g} (larger ones need not be): on the "
        "means over seeds, and seed by seed (median and quartiles; a seed that never gets there counts as beyond all). A baseline may "
        "get there with less itself"
    )
    headings = ("On the means", "Median of the seeds", "Quartiles", "Seeds that reach it")
    columns = (Column("Mechanism", "left"), Column("As good as", "left"), *(Column(h) for h in headings))
    return Table(f"{family.slug}-shares", caption, columns, tuple(rows), tuple(raw)) if rows else None


def _share_row(name: str, target: str, on_means: float, found: Censored) -> tuple[Cell, ...]:
    return (
        Cell(name),
        Cell(target),
        Cell(words.reached(on_means), on_means if math.isfinite(on_means) else math.inf),
        Cell(words.reached(found.median), found.median),
        Cell(words.reached_between(found.low_quartile, found.high_quartile)),
        Cell(f"{found.reached}/{found.n}", float(found.reached)),
    )


def picture(family: Family, looks: Mapping[str, Look]) -> Picture:
    """The headline metric against the number: mean and 95 % interval of every entry."""
    last = family.last
    with matplotlib.rc_context(settings()):
        figure, axes = canvas(3.1)
        phrases = []
        for place, name in enumerate(family.names):
            shown = [
                (v, y)
                for v, experiment in family.points
                if (y := list(family.by_seed(experiment, name).values()))
            ]
            points = [(v, float(np.mean(y)), mean_interval(y)) for v, y in shown]
            told = [f"{words.quantity(mean, last.unit)} at {v:g}" for v, mean, _ in points]
            _draw(axes, family, place - (len(family.names) - 1) / 2, points, name, looks[name], told)
            phrases.append(f"{name} {', '.join(told)}")
        _number_axis(axes, family)
        title = f"{last.metric_label} against {family.key}"
        axes.set_title(axis_label(title, last.unit))
        legend(figure, axes)
        alt = f"Lines: {title}, mean and 95 % interval over seeds. {'; '.join(phrases)}."
        return finish(figure, family.slug, "varied", title, alt)


def differences_picture(family: Family) -> Picture:
    """The paired difference of every pair against the number: mean and 95 % interval."""
    last = family.last
    with matplotlib.rc_context(settings()):
        figure, axes = canvas(3.1)
        axes.axhline(0, color=MUTED, linewidth=1)
        pairs: dict[str, list[tuple[float, float, Interval]]] = {}
        for one in (one for tests in family.tests for one in tests):
            paired, name = one.comparison.paired, one.comparison.name
            if paired:
                pairs.setdefault(name, []).append((one.value, paired.mean, paired.interval))
        colours = looks_of(pairs)  # a pair's own: neither side's would tell it from the others
        phrases = []
        for place, (name, points) in enumerate(pairs.items()):
            told = [f"{words.difference(mean, last.unit)} at {v:g}" for v, mean, _ in points]
            _draw(axes, family, place - (len(pairs) - 1) / 2, points, name, colours[name], told)
            phrases.append(f"{name} {', '.join(told)}")
        _number_axis(axes, family)
        title = f"Paired differences in {words.lowered(last.metric_label)}"
        axes.set_title(axis_label(title, words.difference_unit(last.unit)))
        legend(figure, axes, columns=2)
        alt = f"Lines: {title} against {family.key}, mean and 95 % interval. {'; '.join(phrases)}."
        return finish(figure, family.slug, "varied differences", title, alt)


def _draw(
    axes: Axes,
    family: Family,
    aside: float,
    points: Sequence[tuple[float, float, Interval]],
    name: str,
    look: Look,
    told: Sequence[str],
) -> None:
    """Means with their intervals, `aside` of their values: beside one another instead of on top, and always the same."""
    x = np.array([value for value, *_ in points])
    x = x * 1.02**aside if _is_log(family) else x + 0.008 * aside * (family.values[-1] - family.values[0])
    line = line_of_means(axes, x, [(mean, ends) for _, mean, ends in points], family.last.unit, name, look)
    hint(line, name, (f"{name}: mean {one}" for one in told))


def _is_log(family: Family) -> bool:
    return family.values[0] > 0 and family.values[-1] / family.values[0] >= LOG_FROM


def _number_axis(axes: Axes, family: Family) -> None:
    """A tick at each value."""
    if _is_log(family):
        axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(family.values))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel(family.key)


def facts(family: Family) -> list[tuple[str, str]]:
    """What varies, and whatever else is unlike between the points."""
    found = [
        ("Varied", f"{family.key}: {listed(family.values)}; comparisons are made within each value only")
    ]
    unlike = sorted(set(_unlike(family)))
    found += [("Also unlike between the values", "; ".join(unlike[:6]))] if unlike else []
    found += [("Left out", reason) for reason in family.left_out]
    return found


def _unlike(family: Family) -> Iterable[str]:
    """Settings besides the varied one in which an entry's cells differ from those at the largest value."""
    below = f"{family.key}:", f"{family.key}."
    for name in family.names:
        at_last = family.standing(family.last, name)
        for _, experiment in family.points[:-1]:
            here = family.standing(experiment, name)
            if here and at_last:
                for text in spec_differences(here.finished[0].spec, at_last.finished[0].spec):
                    if not text.startswith(below):
                        yield text.partition(":")[0]


def answers(family: Family) -> list[Answer]:
    """A sentence for every pair over all values, then at which of them it differs, and what it needs of a resource."""
    found = []
    for whole, tests in zip(family.overall, family.tests, strict=True):
        verdicts: dict[str, list[float]] = {}
        for one in tests:
            verdicts.setdefault(one.comparison.verdict, []).append(one.value)
        last = family.key.rpartition(".")[2]
        told = "; ".join(f"{verdict} at {last} {listed(values)}" for verdict, values in verdicts.items())
        plain = answer(whole)
        told = f"{words.capitalised(told)}." if whole.paired else ""
        sentences = [plain.text, told, _need(family, whole, tests)]
        alone = whole.verdict in ("better", "worse") and whole.verdict not in verdicts
        verdict = plain.verdict + (": on the mean over all values, at none of them alone" if alone else "")
        found.append(replace(plain, text=" ".join(filter(None, sentences)), verdict=verdict))
    return found


def _need(family: Family, whole: Comparison, tests: Sequence[Tested]) -> str:
    """With how little of a resource the treatment is as good as its baseline with most; empty where that is no question."""
    level = level_at_last(family, tests)
    if not family.is_resource or not whole.paired or level is None:
        return ""
    last, top = family.key.rpartition(".")[2], family.values[-1]
    reached, itself = (
        reaching_on_means(family, tests, name, level) for name in (whole.treatment, whole.baseline)
    )
    where = f"first at {reached:g}" if math.isfinite(reached) else "nowhere"
    own = f"; {whole.baseline} itself first at {itself:g}" if itself != top else ""
    return f"Reaches the mean of {whole.baseline} at {last} {top:g} {where}{own}."

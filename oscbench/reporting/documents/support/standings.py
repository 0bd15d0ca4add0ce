"""What suites came to, as tables: entries with their intervals, and comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from oscbench import words
from oscbench.analysis.choices import position_of
from oscbench.analysis.comparison import Comparison
from oscbench.analysis.experiment import Experiment, Standing, values_of
from oscbench.analysis.floors import is_floor
from oscbench.analysis.frame import Loaded
from oscbench.analysis.same_runs import shared_note, suites_sharing
from oscbench.analysis.selection import Entry
from oscbench.analysis.statistics.failures import failures
from oscbench.analysis.study import Study
from oscbench.analysis.sweeps.sweep import Sweep
from oscbench.records import suite_name
from oscbench.reporting.documents import Document, table
from oscbench.reporting.documents.support.forest import Row, forest, unit_of
from oscbench.reporting.documents.support.searches import search_of
from oscbench.reporting.documents.support.suites import (
    FAILS,
    VERDICTS,
    description_of,
    few_told,
    nothing_of,
    report_of,
)
from oscbench.reporting.documents.support.tables import flags, flags_told
from oscbench.roles import basis

_HEAD = """# {title}

{short}{words}
Made from the [reference records](../../results/reference) by `python -m oscbench.reporting.documents`; no number is typed. Intervals are
95 % t intervals over seeds, differences are paired by seed, and {verdicts}
What the papers claim and what of it holds is in [claims](claims.md).
"""


def page(
    name: str, title: str, text: str, loaded: Loaded, suites: Sequence[str], compare: Sequence[str] = ()
) -> Document:
    """A page on some suites: a picture of all differences, then a table a suite.

    Args:
        name: Of the page.
        title: The question that it answers.
        text: What to know before its tables.
        loaded: All records.
        suites: Their names, in the order of the page; those that vary nothing stand first.
        compare: Pairs to compare; without them what the suites declare.
    """
    report = report_of(loaded, suites, compare)
    if report is None:
        head = _HEAD.format(title=title, short="", words=text, verdicts=VERDICTS)
        return Document(f"{head}\n{nothing_of(loaded, suites)}")
    rows: list[Row] = []
    place = {suite: number for number, suite in enumerate(suites)}

    def placed(label: str) -> int:
        return place[suite_name(label)]

    asked = [
        (one.title, one.comparisons) for one in sorted(report.questions, key=lambda one: placed(one.label))
    ]
    parts = [_HEAD.format(title=title, short=in_short(asked), words=text, verdicts=VERDICTS)]
    several = len({e.suite for e in report.experiments}) > 1
    sharing = suites_sharing(report.loaded.records)
    for experiment in sorted(report.single, key=lambda one: placed(one.suite)):
        parts.append(
            _headed(experiment.title, experiment, report, sharing)
            + _tables(experiment)
            + search_of(experiment, loaded)
        )
        where = f" ({experiment.suite})" if several else ""
        rows += [Row(f"{c.name}{where}", c) for c in experiment.comparisons]
    for family in sorted(report.sweeps, key=lambda one: placed(one.suite)):
        parts.append(
            f"{_headed(family.title, family.last, report, sharing)}{comparisons_table(family.overall)}\n{by_value(family)}"
        )
        rows += [Row(f"{c.name} ({family.suite})", c) for c in family.overall]
    parts.append(few_told(loaded, suites))
    shown = [row for row in rows if row.comparison.paired and row.comparison.paired.interval.exists]
    pictures: list[str] = []
    files: dict[str, str] = {}
    for unit in dict.fromkeys(row.comparison.unit for row in shown):
        same = [row for row in shown if row.comparison.unit == unit]
        file = f"{name}_{words.slug(unit_of(same[0].comparison))}" if pictures else name
        picture, drawn = forest(file, title, same)
        pictures.append(f"\n{picture}")
        files |= drawn
    return Document("".join([parts[0], *pictures, *parts[1:]]), files)


def in_short(asked: Sequence[tuple[str, Sequence[Comparison]]], more: Sequence[str] = ()) -> str:
    """What comparisons came to, for right under a title: a line for each that was asked; their numbers stand in the tables.

    Args:
        asked: Title of what asked, and its comparisons.
        more: Sentences on what a page asks beside comparisons of headline metrics, without their full stops.

    Returns:
        Markdown that ends in an empty line; empty where nothing was compared and nothing else is told.
    """
    lines = []
    for title, comparisons in asked:
        for late in (False, True):
            told = _told([c for c in comparisons if c.paired and (c.role != "confirms") == late])
            if told:
                lines.append(f"- {title}{', not declared beforehand' if late else ''}: {'; '.join(told)}.")
    suggest = any("not declared beforehand" in line for line in lines)
    lines += [f"- {sentence}." for sentence in more]
    note = "\nWhat was not declared beforehand only suggests: fresh seeds must confirm.\n" * suggest
    return "In short:\n\n" + "\n".join(lines) + f"\n{note}\n" if lines else ""


def _told(comparisons: Sequence[Comparison]) -> list[str]:
    """`KoPE and RoPE *better than* softmax`, those that came to the same together."""
    baselines: dict[tuple[str, str], list[str]] = {}
    for c in comparisons:
        baselines.setdefault((_stands(c), c.treatment), []).append(c.baseline)
    treatments: dict[tuple[str, str], list[str]] = {}
    for (how, treatment), against in baselines.items():
        treatments.setdefault((how, words.listed(against)), []).append(treatment)
    return [f"{words.listed(some)} *{how}* {against}" for (how, against), some in treatments.items()]


def under_title(head: str, short: str) -> str:
    """A page's beginning with what came out right under its title."""
    title, _, rest = head.partition("\n\n")
    return f"{title}\n\n{short}{rest}"


_AGAINST = {
    "better": "better than",
    "worse": "worse than",
    "equivalent": "equivalent to",
    "different": "different from",
    "no clear difference": "not clearly different from",
    "estimates only": "estimated only, against",
    "underpowered": "with too few seeds for a verdict against",
    "one seed: no test": "with one seed against",
    "withheld": "given no verdict (no entry is clearly ahead of the floor) against",
}
"""Verdict -> how the treatments stand to their baselines."""


def _stands(comparison: Comparison) -> str:
    """`better than`, and where the two are equivalent as well, that it is by less than the margin."""
    how = _AGAINST[comparison.verdict]
    margin, equivalence = comparison.margin, comparison.equivalence
    if comparison.verdict in ("better", "worse") and margin and equivalence and equivalence.shown:
        within = words.margin(margin.value, comparison.unit)
        return f"{how.removesuffix(' than')} by less than {within.removeprefix('±')} than"
    return how


def by_value(family: Sweep) -> str:
    """A row a pair, its difference at each value: a large one at the smallest value may make most of the mean over all."""
    points = [({c.pair: c for c in point.comparisons}, value) for value, point in family.points]
    rows = [
        [
            overall.name,
            *(difference(found[overall.pair]) if overall.pair in found else "" for found, _ in points),
        ]
        for overall in family.overall
        if overall.paired
    ]
    if not rows:
        return ""
    headings = ("Comparison", *(f"{value:g}" for _, value in points))
    told = f"By {family.axis}, each interval for itself:"
    return f"\n{told}\n\n{table(headings, rows, numbers=len(points))}\n"


def _headed(title: str, experiment: Experiment, report: Study, sharing: Mapping[str, tuple[str, ...]]) -> str:
    """A suite's title, what it asks, and how many of its cells are those of another suite of the page."""
    suite = suite_name(experiment.suite)
    note = shared_note([r for r in report.loaded.records if suite_name(r.suite) == suite], sharing)
    told = f"\n{words.capitalised(note)}.\n" if note else ""
    return f"\n## {title}\n\n{description_of(experiment.suite, experiment.description)}\n{told}\n"


def _tables(experiment: Experiment) -> str:
    """Every entry, beside it what it is against its baseline; where baselines differ, comparisons are a table of their own."""
    baselines = {c.pair.baseline for c in experiment.comparisons if c.paired}
    if len(baselines) == 1:
        return f"{standings_table(experiment, baselines.pop())}\n"
    entries = f"{standings_table(experiment, None)}\n"
    return f"{entries}\n{comparisons_table(experiment.comparisons)}\n" if baselines else entries


def standings_table(experiment: Experiment, baseline: Entry | None) -> str:
    """Every entry with its mean, what it is against one baseline of all, and how often it fails where its task says when.

    Where entries know in different ways where a token stands, a column says how: a difference may be that. Where some carry flags, a column
    and a line below tell them.
    """
    against = {c.pair.treatment: c for c in experiment.comparisons if c.pair.baseline == baseline}
    told = [standing for standing in experiment.standings if standing.summary]
    apart = len({position_of(standing.cells[0]) for standing in told}) > 1
    flagged, threshold = any(standing.flags for standing in told), FAILS.get(experiment.task)
    headings = ["Mechanism", *(["Positions"] if apart else [])]
    headings += [f"{experiment.metric_label}, mean ± 95 %"]
    if baseline:
        name = next(standing.name for standing in experiment.standings if standing.entry == baseline)
        headings += [f"Minus {name}", "Verdict"]
    headings += ["Seeds that fail"] if threshold else []
    headings += ["Flags"] if flagged else []
    rows = []
    for standing in told:
        cells = [standing.name, *([position_of(standing.cells[0])] if apart else [])]
        cells.append(mean(standing, experiment.unit))
        if baseline:
            comparison = against.get(standing.entry)
            cells += [difference(comparison), _verdict(comparison)] if comparison else ["", ""]
        if threshold:
            found = None if is_floor(standing.cells[0]) else failures(standing.cells, threshold)
            cells.append(_failing(found.seeds, found.n, found.interval.high) if found else "")
        cells += [flags(standing)] if flagged else []
        rows.append([*cells, str(len(standing.finished)), flops(standing)])
    return (
        table([*headings, "Seeds", "Forward FLOPs"], rows, numbers=2)
        + flags_told(told)
        + withheld_told(experiment)
    )


def withheld_told(experiment: Experiment) -> str:
    """Why no comparison of a table has a verdict, once for all; empty where they have."""
    reason = next((c.withheld for c in experiment.comparisons if c.withheld), "")
    return f"\n\nVerdicts are withheld: {reason}." if reason else ""


def comparisons_table(comparisons: Sequence[Comparison]) -> str:
    """A row a comparison."""
    rows = [comparison_cells(c) for c in comparisons if c.paired]
    return table(("Comparison", "Difference", "Verdict", "p (Holm)", "Seeds"), rows, numbers=2)


def comparison_cells(comparison: Comparison) -> tuple[str, ...]:
    """What is compared, the difference, the verdict, p after Holm, and how many seeds."""
    n = comparison.paired.n if comparison.paired else 0
    return (
        comparison.name,
        difference(comparison),
        _verdict(comparison),
        words.p_value(comparison.p_holm),
        str(n),
    )


def mean(standing: Standing, unit: str) -> str:
    """The mean over seeds with half of its interval."""
    summary = standing.summary
    if summary is None:
        return ""
    half = words.half_width(summary.interval.low, summary.interval.high, unit)
    return f"{words.quantity(summary.mean, unit, 4)} {half}".strip()


def flops(standing: Standing) -> str:
    """What a forward pass of its model takes, the median over seeds."""
    known = values_of(standing, basis("compute"))
    return words.quantity(float(np.median(known)), "FLOP") if known else ""


def difference(comparison: Comparison) -> str:
    """The mean difference with its interval."""
    paired = comparison.paired
    if paired is None:
        return comparison.state
    told = words.estimate(paired.mean, paired.interval.low, paired.interval.high, comparison.unit)
    return told if paired.interval.exists else f"{told}, no interval"


def _verdict(comparison: Comparison) -> str:
    margin, why = comparison.margin, comparison.only_estimated
    told = f"{comparison.verdict_in_words}: {why}" if why else comparison.verdict_in_words
    if margin and comparison.equivalence and comparison.equivalence.shown:
        within = f"equivalent within {words.margin(margin.value, comparison.unit)}"
        if comparison.verdict == "equivalent":
            told = within
        elif comparison.clear and not why and not comparison.withheld:
            told = f"{comparison.verdict}, and {within}"
    return f"{told} (not declared beforehand)" if comparison.role == "explores" else told


def _failing(seeds: Sequence[int], n: int, high: float) -> str:
    return f"{len(seeds)} of {n} (at most {100 * high:.0f} %)" if not seeds else f"{len(seeds)} of {n}"

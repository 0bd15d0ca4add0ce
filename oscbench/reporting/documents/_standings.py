"""What suites came to, as tables: entries with their intervals, and comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import numpy as np

from oscbench import words
from oscbench.analysis.comparison import Comparison
from oscbench.analysis.costs.growth import is_timing
from oscbench.analysis.experiment import Experiment, Standing, values_of
from oscbench.analysis.fairness import position_of
from oscbench.analysis.frame import Loaded
from oscbench.analysis.roles import basis
from oscbench.analysis.selection import Entry
from oscbench.analysis.statistics.failures import Threshold, failures
from oscbench.analysis.study import Study, assemble
from oscbench.records import suite_name
from oscbench.records.ledger import is_trial
from oscbench.reporting.documents import Document, table
from oscbench.reporting.documents._forest import Row, forest

_HEAD = """# {title}

{words}
Made from the [reference records](../../results/reference) by `python -m oscbench.reporting.documents`; no number is typed. Intervals are
95 % t intervals over seeds, differences are paired by seed, and a verdict is that of the sign-flip test after Holm's correction, or of two
one-sided tests where it says equivalent. What the papers claim and what of it holds is in [claims](claims.md).
"""


FEWEST_SEEDS = 3
"""Of a suite that a page shows: between two seeds an interval is wider than any difference between mechanisms."""


def report_of(loaded: Loaded, suites: Sequence[str], compare: Sequence[str] = ()) -> Study | None:
    """The comparisons of those suites whose usual entry ran with `FEWEST_SEEDS` or more; None where there are none."""
    found = [
        r
        for r in loaded.records
        if suite_name(r.suite) in suites and not is_trial(r.suite) and not is_timing(r)
    ]
    seeds: dict[str, dict[tuple[str, str], set[int]]] = {}
    for r in found:
        seeds.setdefault(suite_name(r.suite), {}).setdefault((r.mechanism, r.variant), set()).add(r.seed)
    far = {name for name, entries in seeds.items() if median(map(len, entries.values())) >= FEWEST_SEEDS}
    records = tuple(r for r in found if suite_name(r.suite) in far)
    return assemble(Loaded(records, (), ()), compare) if records else None


def page(
    name: str, title: str, text: str, *reports: Study | None, threshold: Threshold | None = None
) -> Document:
    """A page on some suites: a picture of all differences, then a table a suite."""
    parts, rows = [_HEAD.format(title=title, words=text)], []
    known = [report for report in reports if report is not None]
    if not known:
        return Document(parts[0] + "\nNone of its suites has records here yet.\n")
    several = len({e.suite for report in known for e in report.experiments}) > 1
    for report in known:
        for experiment in report.experiments:
            if experiment.slug in report.points:
                continue
            parts.append(f"\n## {experiment.title}\n\n{experiment.description.strip()}\n\n")
            parts.append(_tables(experiment, threshold))
            where = f" ({experiment.suite})" if several else ""
            rows += [Row(f"{c.name}{where}", c) for c in experiment.comparisons]
        for family in report.sweeps:
            parts.append(f"\n## {family.title}\n\n{family.last.description.strip()}\n\n")
            parts.append(comparisons_table(family.overall) + "\n")
            rows += [Row(f"{c.name} ({family.suite})", c) for c in family.overall]
    shown = [row for row in rows if row.comparison.paired and row.comparison.paired.interval.exists]
    shown = [row for row in shown if row.comparison.unit == shown[0].comparison.unit]
    if not shown:
        return Document("".join(parts))
    picture, files = forest(name, title, shown)
    return Document("".join([parts[0], "\n", picture, *parts[1:]]), files)


def _tables(experiment: Experiment, threshold: Threshold | None) -> str:
    """Every entry, beside it what it is against its baseline; where baselines differ, comparisons are a table of their own."""
    baselines = {c.pair.baseline for c in experiment.comparisons if c.paired}
    if len(baselines) == 1:
        return f"{standings_table(experiment, baselines.pop(), threshold)}\n"
    entries = f"{standings_table(experiment, None, threshold)}\n"
    return f"{entries}\n{comparisons_table(experiment.comparisons)}\n" if baselines else entries


def standings_table(
    experiment: Experiment, baseline: Entry | None, threshold: Threshold | None = None
) -> str:
    """Every entry with its mean, what it is against one baseline of all, and how often it fails where a threshold says.

    Where entries know in different ways where a token stands, a column says how: a difference may be that.
    """
    against = {c.pair.treatment: c for c in experiment.comparisons}
    told = [standing for standing in experiment.standings if standing.summary]
    apart = len({position_of(standing.cells[0]) for standing in told}) > 1
    headings = ["Mechanism", *(["Positions"] if apart else [])]
    headings += [f"{experiment.metric_label}, mean ± 95 %"]
    if baseline:
        name = next(standing.label for standing in experiment.standings if standing.entry == baseline)
        headings += [f"Difference from {name}", "Verdict"]
    headings += ["Seeds that fail"] if threshold else []
    rows = []
    for standing in told:
        cells = [standing.label, *([position_of(standing.cells[0])] if apart else [])]
        cells.append(mean(standing, experiment.unit))
        if baseline:
            comparison = against.get(standing.entry)
            cells += [difference(comparison), _verdict(comparison)] if comparison else ["", ""]
        if threshold:
            found = failures(standing.cells, threshold)
            cells.append(_failing(found.seeds, found.n, found.interval.high) if found else "")
        rows.append([*cells, str(len(standing.finished)), flops(standing)])
    return table([*headings, "Seeds", "Forward FLOPs"], rows, numbers=2)


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
    if comparison.verdict == "equivalent" and comparison.margin:
        return f"equivalent within {words.margin(comparison.margin.value, comparison.unit)}"
    why = comparison.withheld or comparison.estimates
    return f"{comparison.verdict}: {why}" if why else comparison.verdict


def _failing(seeds: Sequence[int], n: int, high: float) -> str:
    return f"{len(seeds)} of {n} (at most {100 * high:.0f} %)" if not seeds else f"{len(seeds)} of {n}"

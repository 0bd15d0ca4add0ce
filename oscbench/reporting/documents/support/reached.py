"""What pages of several scores say of each suite, and the differences that they draw."""

from __future__ import annotations

from collections.abc import Mapping

from oscbench import words
from oscbench.analysis.experiment import Experiment
from oscbench.analysis.study import Study
from oscbench.reporting.documents.support.forest import Row
from oscbench.reporting.documents.support.standings import comparisons_table, withheld_told
from oscbench.reporting.documents.support.suites import description_of
from oscbench.reporting.documents.support.tables import (
    flags_row,
    flags_told,
    flops_row,
    gains_table,
    measured,
    measured_pairs,
    positions_row,
    scores_table,
    seeds_row,
)


def rows_of(report: Study) -> list[Row]:
    """A row of a forest for each comparison that has an interval; of suites that vary those over all values."""
    of_suites = [(e.suite, e.comparisons) for e in report.single]
    of_suites += [(family.suite, family.overall) for family in report.sweeps]
    return [
        Row(f"{c.name} ({suite})", c)
        for suite, comparisons in of_suites
        for c in comparisons
        if c.paired and c.paired.interval.exists
    ]


def reached(experiment: Experiment, names: Mapping[str, str]) -> str:
    """A suite's title, what it asks and compares, and what each entry reaches in those of the measures that any has.

    Args:
        experiment: the suite's.
        names: measure -> what its row is called.
    """
    entries = [one for one in experiment.standings if one.finished]
    told = {
        name: label for name, label in names.items() if any(measured(one, {name: label}) for one in entries)
    }
    above = [seeds_row(entries), positions_row(entries), flops_row(entries), *flags_row(entries)]
    return (
        f"\n## {experiment.title}\n\n{description_of(experiment.suite, experiment.description)}\n\n"
        f"{words.capitalised(experiment.metric_label)}, what the suite compares:\n\n{comparisons_table(experiment.comparisons)}"
        f"{withheld_told(experiment)}\n\n"
        f"What each reaches:\n\n{scores_table('On the test', entries, told, above)}{flags_told(entries)}\n"
        f"{_others(experiment, told)}"
    )


def _others(experiment: Experiment, told: Mapping[str, str]) -> str:
    """The compared pairs in every measure but the headline, as far as both sides have it; empty where there is none."""
    rest = {name: label for name, label in told.items() if name != experiment.metric}
    pairs = measured_pairs(experiment, [one for one in experiment.standings if measured(one, rest)])
    if not (rest and pairs):
        return ""
    gains = gains_table("Difference", pairs, rest)
    return f"\nThe same pairs in the other measures, which were not declared: paired by seed, each interval for itself.\n\n{gains}\n"

"""What a page takes of the records: suites that ran at enough seeds, in the words of their own files."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from statistics import median

from oscbench.analysis.choices import is_untrained
from oscbench.analysis.costs.growth import is_timing
from oscbench.analysis.frame import Loaded
from oscbench.analysis.statistics.failures import Threshold
from oscbench.analysis.study import Study, assemble
from oscbench.records import Record, suite_name
from oscbench.records.ledger import is_trial
from oscbench.suite import suite_names
from oscbench.suite.reading import read_yaml

FEWEST_SEEDS, _FEWEST = 3, "three"
"""Of a suite that a page shows: between two seeds an interval is wider than any difference between mechanisms."""
FAILS = {"agreement": Threshold("accuracy_hard", 0.85), "recall": Threshold("accuracy", 0.9)}
"""Task -> when a seed of it has failed, as the task itself declares it; reports load no task, which would take torch."""
VERDICTS = """a verdict takes the sign-flip test
after Holm's correction over its suite's questions and an interval that agrees; "equivalent" takes two one-sided tests. Intervals cover
seeds: start values, order and, where a suite draws them anew, training data. Test sets stay the same; no interval covers others, nor
other searches of settings than the one made."""
"""What every page with verdicts says of them."""


def report_of(loaded: Loaded, suites: Sequence[str], compare: Sequence[str] = ()) -> Study | None:
    """The comparisons of those suites whose usual entry ran with `FEWEST_SEEDS` or more; None where there are none."""
    found = _records(loaded, suites)
    few = few_of(loaded, suites)
    records = tuple(r for r in found if suite_name(r.suite) not in few)
    return assemble(Loaded(records, (), ()), compare) if records else None


def few_of(loaded: Loaded, suites: Sequence[str]) -> list[str]:
    """Those suites that have records, but of too few seeds to show."""
    seeds: dict[str, dict[tuple[str, str], set[int]]] = {}
    for r in _records(loaded, suites):
        if is_untrained(r):  # once for all seeds
            continue
        seeds.setdefault(suite_name(r.suite), {}).setdefault((r.mechanism, r.variant), set()).add(r.seed)
    return [name for name, entries in seeds.items() if median(map(len, entries.values())) < FEWEST_SEEDS]


def nothing_of(loaded: Loaded, suites: Sequence[str]) -> str:
    """Why a page shows none of its suites, as a sentence of its own."""
    told = f"records of fewer than {_FEWEST} seeds, too few to show" if few_of(loaded, suites) else ""
    return f"Its suite{'s have' if len(suites) > 1 else ' has'} {told or 'no records here yet'}.\n"


def few_told(loaded: Loaded, suites: Sequence[str]) -> str:
    """Which suites a page leaves out beside those that it shows; empty where it leaves out none."""
    few = few_of(loaded, suites)
    return (
        f"\nOf {', '.join(few)} there are records of fewer than {_FEWEST} seeds, too few to show.\n"
        if few
        else ""
    )


def description_of(suite: str, stored: str) -> str:
    """What a suite asks, by its file as it stands, which may have been mended since it ran; of one without a file, by its records."""
    return _described(suite_name(suite)) or stored.strip()


@cache
def _described(name: str) -> str:
    path = suite_names().get(name)
    return str(read_yaml(path).get("description", "")).strip() if path else ""


def reported(loaded: Loaded) -> list[Record]:
    """All cells that were trained to be reported."""
    return [r for r in loaded.records if not is_trial(r.suite) and not is_timing(r)]


def _records(loaded: Loaded, suites: Sequence[str]) -> list[Record]:
    """Those of some suites."""
    return [r for r in reported(loaded) if suite_name(r.suite) in suites]

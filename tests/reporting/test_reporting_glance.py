"""All answers of a report on one screen."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from synthetic_records import make_record
from test_reporting_varied import LAWS
from test_reporting_varied import records as varied_records

from oscbench.analysis.frame import Loaded
from oscbench.analysis.study import assemble
from oscbench.records import Record
from oscbench.reporting import build_report
from oscbench.reporting.page.table import Table
from oscbench.reporting.sections.overview import MOST_PAIRS, glance_table

Save = Callable[..., Path]


def glance(records: list[Record], *compare: str) -> Table | None:
    ordered = sorted(records, key=lambda record: (record.suite, record.task))  # as a folder is read
    return glance_table(assemble(Loaded(tuple(ordered), (), ()), compare))


def suites(*names: str, entries: tuple[str, ...] = ("plain", "wave"), seeds: int = 8) -> list[Record]:
    values = {name: 0.5 + 0.05 * place for place, name in enumerate(entries)}
    return [
        make_record(entry, s, suite=name, value=values[entry] + 0.001 * (s % 3) * (1 + len(entry) % 2))
        for name in names
        for entry in entries
        for s in range(seeds)
    ]


def test_one_suite_needs_no_glance() -> None:
    assert glance(suites("a")) is None


def test_every_pair_stands_once_for_each_suite_that_compared_it() -> None:
    table = glance(suites("a") + suites("b", entries=("plain", "wave", "ring")))
    assert table is not None
    assert [c.heading for c in table.columns] == ["Suite", "wave − plain", "ring − plain"]
    (a, b) = table.rows
    assert a[0].text.endswith("(a)")
    assert a[1].text.startswith("+4.91 points [")
    assert a[1].text.endswith("]: better")
    assert a[1].value == pytest.approx(0.049125)
    assert a[2].text == ""
    assert b[2].text.startswith("+9.91 points [")
    told = sorted((row["suite"], row["treatment"].split(":")[0]) for row in table.raw)
    assert told == [("a", "wave"), ("b", "ring"), ("b", "wave")]


def test_a_suite_that_varies_is_one_row_and_its_points_none() -> None:
    table = glance(varied_records(LAWS, seeds=2) + suites("single"))
    assert table is not None
    assert [row[0].text.split(" (")[0] for row in table.rows] == ["Digits over task.fraction", "Digits"]
    assert {row["varied"] for row in table.raw} == {"task.fraction", ""}


def test_what_is_refused_or_has_one_seed_says_so() -> None:
    other = [make_record("wave", s, suite="b", data_hash="f" * 64) for s in range(3)]
    table = glance(suites("a", seeds=1) + [make_record("plain", s, suite="b") for s in range(3)] + other)
    assert table is not None
    assert [row[1].text for row in table.rows][1] == "refused"
    assert table.rows[0][1].text.endswith("points: one seed: no test")


def test_more_pairs_than_a_glance_takes_in_have_none() -> None:
    entries = ("plain", *(f"entry_{i}" for i in range(MOST_PAIRS)))
    assert glance(suites("a", "b", entries=entries, seeds=2)) is not None
    assert glance(suites("a", "b", entries=(*entries, "one_more"), seeds=2)) is None


def test_it_stands_before_the_answers_in_page_and_markdown(save: Save, tmp_path: Path) -> None:
    page = build_report(save(suites("a", "b")), tmp_path / "report", formats=("html", "md", "latex"))
    for text in (page.read_text(), (page.parent / "report.md").read_text()):
        assert 0 < text.index("At a glance") < text.index("paired seeds")
    with (page.parent / "tables" / "comparisons-at-a-glance.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2
    assert (page.parent / "tables" / "comparisons-at-a-glance.tex").is_file()

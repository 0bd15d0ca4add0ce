"""All answers of a report on one screen."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from synthetic_records import make_record
from varied_records import LAWS
from varied_records import records as varied_records

from oscbench.analysis.frame import Loaded
from oscbench.analysis.study import assemble
from oscbench.errors import UserError
from oscbench.records import Record
from oscbench.reporting import build_report
from oscbench.reporting.page.table import Cell, Table
from oscbench.reporting.sections.grid import answers_table

Save = Callable[..., Path]


def glance(records: list[Record], *compare: str) -> Table | None:
    ordered = sorted(records, key=lambda record: (record.suite, record.task))  # as a folder is read
    return answers_table(assemble(Loaded(tuple(ordered), (), ()), compare))


def suites(*names: str, entries: tuple[str, ...] = ("plain", "wave"), seeds: int = 8) -> list[Record]:
    values = {name: 0.5 + 0.05 * place for place, name in enumerate(entries)}
    return [
        make_record(entry, s, suite=name, value=values[entry] + 0.001 * (s % 3) * (1 + len(entry) % 2))
        for name in names
        for entry in entries
        for s in range(seeds)
    ]


def shown(cell: Cell) -> str:
    return cell.text.replace("\u00a0", " ")


def test_nothing_that_is_compared_has_no_grid() -> None:
    assert glance([make_record("wave", s, reference=None) for s in range(2)]) is None


def test_every_pair_stands_once_for_each_suite_that_compared_it() -> None:
    table = glance(suites("a") + suites("b", entries=("plain", "wave", "ring")))
    assert table is not None
    assert [c.heading for c in table.columns] == ["Suite", "Against plain"]
    (a, b) = table.rows
    assert a[0].text.endswith("(a)")
    assert shown(a[1]) == "+ wave +4.91 points"
    assert a[1].value == pytest.approx(0.049125)
    assert shown(b[1]) == "+ ring +9.91 · + wave +4.91 points", "the best first"
    assert table.links == ("suite-a.html", "suite-b.html")
    told = sorted((row["suite"], row["treatment"].split(":")[0]) for row in table.raw)
    assert told == [("a", "wave"), ("b", "ring"), ("b", "wave")]
    assert all(row["t_low"] < row["difference"] < row["t_high"] for row in table.raw)


def test_a_suite_that_varies_is_one_row_and_its_points_none() -> None:
    table = glance(varied_records(LAWS, seeds=2) + suites("single"))
    assert table is not None
    assert [row[0].text.split(" (")[0] for row in table.rows] == [
        "Digits over share of training data",
        "Digits",
    ]
    assert {row["varied"] for row in table.raw} == {"task.fraction", ""}


def test_what_is_refused_or_has_one_seed_says_so() -> None:
    other = [make_record("wave", s, suite="b", data_hash="f" * 64) for s in range(3)]
    table = glance(suites("a", seeds=1) + [make_record("plain", s, suite="b") for s in range(3)] + other)
    assert table is not None
    assert shown(table.rows[1][1]).startswith("wave refused")
    assert shown(table.rows[0][1]).startswith("? wave ")


def test_each_baseline_has_a_column_the_most_compared_first() -> None:
    records = suites("a", entries=("plain", "wave", "ring"))
    table = glance(records, "wave,ring", "wave,plain", "ring,plain")
    assert table is not None
    assert [c.heading for c in table.columns] == ["Suite", "Against plain", "Against ring"]
    assert shown(table.rows[0][2]) == "− wave −5.00 points"


@pytest.mark.usefixtures("undrawn")
def test_it_stands_after_the_answers_in_page_and_markdown(save: Save, tmp_path: Path) -> None:
    page = build_report(save(suites("a", "b")), tmp_path / "report", formats=("html", "md", "latex"))
    for path in (page, page.parent / "report.md"):
        text = path.read_text().replace("\u00a0", " ")
        assert (
            0
            < text.index("Against plain, wave is ahead on digits (+4.91 points)")
            < text.rindex("Suite by suite")  # the heading; the contents above name it too
        )
    with (page.parent / "tables" / "answers.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2
    assert (page.parent / "tables" / "answers.tex").is_file()


def test_one_comparison_alone_brings_its_own_caveats_to_the_front(save: Save, tmp_path: Path) -> None:
    said: list[str] = []
    build_report(save(suites("a", seeds=2)), tmp_path / "page", tell=said.append)
    few = "oo few seeds for a verdict: 2 paired seeds cannot reach"
    assert f"; t{few}" in said[1]
    assert few in (tmp_path / "page" / "report.md").read_text(encoding="utf-8").split("## ")[1]


def test_whom_nothing_is_known_of_is_not_called_unclear(save: Save, tmp_path: Path) -> None:
    lost = [make_record("ring", s, suite="a", status="failed", reason="it broke") for s in range(8)]
    said: list[str] = []
    build_report(save(suites("a") + lost), tmp_path / "page", tell=said.append)
    assert "ring is not compared (ring has no finished cell" in said[0], said[0]
    assert "no clear verdict" not in said[0]


def test_every_page_is_written_as_markdown_too(save: Save, tmp_path: Path) -> None:
    results = save(suites("a"))
    build_report(results, tmp_path / "page", formats=("md", "html"))
    assert "95 % interval" in (tmp_path / "page" / "suite-a.md").read_text(encoding="utf-8")
    build_report(results, tmp_path / "alone", formats=("md", "html"), pages_only=True)
    assert not (tmp_path / "alone" / "suite-a.md").exists()


def test_a_page_of_somebody_elses_is_not_written_over(save: Save, tmp_path: Path) -> None:
    theirs = tmp_path / "index.html"
    theirs.write_text("my own page")
    with pytest.raises(UserError, match=r"index\.html: is there already and no report of ours"):
        build_report(save(suites("a")), tmp_path)
    assert theirs.read_text() == "my own page"
    build_report(save(suites("a")), tmp_path, formats=("md",))
    assert theirs.read_text() == "my own page"
    build_report(save(suites("a")), tmp_path, formats=("md",))
    notes = tmp_path / "elsewhere" / "report.md"
    notes.parent.mkdir()
    notes.write_text("# My own report")
    with pytest.raises(UserError, match=r"report\.md: is there already and no report of ours"):
        build_report(save(suites("a")), notes.parent, pages_only=True)
    assert notes.read_text() == "# My own report"

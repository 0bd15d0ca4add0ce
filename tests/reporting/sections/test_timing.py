"""Timing records become sections of their own: ratios, growth with N, ceilings, peaks, and no mechanism to compare."""

from __future__ import annotations

import pytest
from synthetic_records import make_record
from timing_records import CONTENDERS, SIZES, timing_record

from oscbench.analysis.costs.timing import timing_groups
from oscbench.records import Store
from oscbench.reporting import build_report
from oscbench.reporting.page.blocks import Plan, tables_of
from oscbench.reporting.sections.timing import group_blocks


@pytest.fixture
def records():
    return [timing_record(tokens) for tokens in SIZES]


def test_growth_ratio_and_ceiling_are_those_of_the_records(records):
    (group,) = timing_groups(records)
    blocks = group_blocks(group)
    ratios, peaks = tables_of(blocks)
    rows = {row[0].text: [cell.text for cell in row[1:]] for row in ratios.rows}
    assert list(rows) == list(CONTENDERS)
    assert group.answer == "a forward pass at N 1024, over the time of plain:fused: ring:blocked 32.00×."
    assert rows["plain:fused"][:4] == ["1.00×"] * 4
    assert rows["plain:fused"][4].startswith("N^1.00 [1.00, 1.00]")
    assert rows["plain:reference"][3] == "n/a"
    assert rows["plain:reference"][4].startswith("N^2.00")
    assert rows["plain:reference"][5] == "42 % of matmul at N 512"
    assert rows["ring:blocked"][4].startswith("N^1.50")
    assert {row[-1].text.split()[0] for row in peaks.rows} == {"N^1.00"}
    assert any("left out" in str(row["reason"]) for row in ratios.raw)
    assert [block.draw().kind for block in blocks if isinstance(block, Plan)] == [
        "forward time",
        "backward peak memory",
    ]


def test_page_of_timings_alone_names_no_mechanism_as_compared(records, tmp_path):
    store = Store(tmp_path / "results")
    for record in records:
        store.write(record)
    page = build_report(tmp_path / "results", tmp_path / "page", compare=["plain,ring"])
    index, html = (
        page.with_name(name).read_text(encoding="utf-8") for name in (page.name, "suite-timing-toy.html")
    )
    assert "timing_toy: D64, batch 1, on cpu" in html
    assert "Nothing was trained here" in index
    for text in (index, html, page.with_name("report.md").read_text(encoding="utf-8")):
        assert "over the time of plain:fused: ring:blocked 32.00×." in text
    assert "entries" not in html.split("<main>")[0]
    assert (tmp_path / "page" / "figures" / "timing-toy-cpu-d64-b1-forward-time.svg").is_file()
    assert "42 % of matmul" in html


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("load", [1.0, 6.0])
def test_times_of_a_busy_machine_carry_a_caveat_on_both_pages(records, tmp_path, load):
    store = Store(tmp_path / "results")
    for record in records:
        around = record.environment | {"load_average": load, "cores": 2}
        store.write(record.model_copy(update={"environment": around}))
    page = build_report(tmp_path / "results", tmp_path / "page")
    for name in (page.name, "suite-timing-toy.html"):
        said = page.with_name(name).read_text(encoding="utf-8")
        assert ("do not read these as costs" in said) == (load > 2)


@pytest.mark.usefixtures("undrawn")
def test_trained_and_timed_records_share_a_page(records, tmp_path):
    store = Store(tmp_path / "results")
    for record in [*records, *(make_record(name, seed) for name in ("plain", "wave") for seed in range(3))]:
        store.write(record)
    page = build_report(tmp_path / "results", tmp_path / "page", compare=["wave,plain"])
    html = page.read_text(encoding="utf-8")
    assert "Against plain" in html
    assert "suite-timing-toy.html" in html

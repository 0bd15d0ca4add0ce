"""The page as a reader gets it: complete, self-contained, accessible, and made from records alone."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from synthetic_records import make_record, toy_suite

import oscbench.reporting.sections
from oscbench import catalog
from oscbench.reporting import ReportError, build_report
from oscbench.reporting.page.style import PALETTE
from oscbench.reporting.render import markdown
from oscbench.reporting.render.markdown import cell
from oscbench.reporting.report import pages_of, study_of

ROOT = Path(__file__).parents[2]
Save = Callable[..., Path]
VOID = {"meta", "img", "br", "link", "hr", "input", "wbr"}


class Reader(HTMLParser):
    """Collects what matters and checks that every tag is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.drawings: list[dict[str, str]] = []
        self.pointers: list[str] = []
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.anchors: list[str] = []
        self.headings: list[int] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {key: value or "" for key, value in attrs}
        if tag not in VOID:
            self.open.append(tag)
        if found.get("role") == "img":
            self.drawings.append(found)
        if tag == "use":
            self.pointers.append(found["href"].removeprefix("#"))
        if tag in ("img", "script", "iframe", "link", "source"):
            self.loads += [found[key] for key in ("src", "href") if key in found]
        if "id" in found:
            self.ids.append(found["id"])
        if found.get("href", "").startswith("#"):
            self.anchors.append(found["href"][1:])
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text.append(data)


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from oscbench.records import Store

    folder = tmp_path_factory.mktemp("built")
    store = Store(folder / "results")
    for record in toy_suite():
        store.write(record)
    store.write(make_record("plain", 0, later=-30, epochs=3, identity="older"))
    (folder / "results" / "toy" / "torn.json").write_text('{"schema_version": 1')
    page = build_report(folder / "results", folder / "report", formats=("html", "md", "latex"))
    assert page == folder / "report" / "index.html"
    return folder / "report"


PAGES = ("index.html", "suite-toy.html", "records.html")


@pytest.mark.parametrize("name", PAGES)
def test_html_is_well_formed_and_loads_nothing(built: Path, name: str) -> None:
    html = (built / name).read_text()
    reader = read(html)
    assert all(address.startswith("data:") for address in reader.loads)
    assert not re.search(r"""(src|href)=["']?(https?:)?//|url\((?!#)|@import""", html)
    assert "default-src 'none'" in html
    assert len(reader.ids) == len(set(reader.ids))
    assert set(reader.anchors) <= set(reader.ids)


def test_every_picture_has_words_and_follows_light_and_dark(built: Path) -> None:
    for name, count in (("index.html", 1), ("suite-toy.html", 10)):
        _every_picture_of(built / name, count)


def _every_picture_of(page: Path, count: int) -> None:
    html = page.read_text()
    reader = read(html)
    assert len(reader.drawings) == count
    assert all(len(drawing["aria-label"]) > 40 for drawing in reader.drawings)
    assert reader.pointers
    assert set(reader.pointers) <= set(reader.ids)
    drawn = "".join(re.findall(r"<svg.*?</svg>", html, re.DOTALL))
    assert not [hexa for hexa, _ in PALETTE if hexa in drawn]
    used = set(re.findall(r"var\((--figure-[a-z0-9]+)\)", drawn))
    assert used
    for name in used:
        light, dark = re.findall(rf"{name}:(#[0-9a-f]{{6}})", html)
        assert light != dark
    assert "<image" not in drawn or "data:image" in drawn


def test_every_point_says_its_seed_and_value(built: Path) -> None:
    html = (built / "suite-toy.html").read_text()
    said = re.findall(r"<title>([^<]*)</title></use>", html)
    with (built / "tables" / "cells.csv").open() as file:
        cells = [row for row in csv.DictReader(file) if row["mechanism"] == "wave"]
    assert len(cells) == 6
    for row in cells:
        (value,) = {
            text.rpartition(": ")[2] for text in said if text.startswith(f"wave, seed {row['seed']}:")
        }
        assert value == f"{100 * float(row['accuracy']):.1f} %"


@pytest.mark.parametrize("name", PAGES)
def test_headings_do_not_skip_a_level(built: Path, name: str) -> None:
    headings = read((built / name).read_text()).headings
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(headings))


def words_of(page: Path) -> str:
    return " ".join("".join(read(page.read_text()).text).split())


def test_the_answer_comes_first_and_everything_has_its_place(built: Path) -> None:
    index, text = words_of(built / "index.html"), words_of(built / "suite-toy.html")
    for said, order in (
        (index, ["The answer", "Suite by suite", "Ranks", "Files and environment"]),
        (
            text,
            [
                "The answer",
                "What was equal",
                "Results",
                "Every seed",
                "Learning curves",
                "Quality against cost",
                "What it took to reach a target",
                "Energy",
                "Health of each mechanism",
                "Failures",
            ],
        ),
    ):
        page = built / ("index.html" if said is index else "suite-toy.html")
        headings = re.findall(r'<h2 id="[^"]*">([^<]+)', page.read_text())
        assert [heading for heading in headings if heading in order] == order
    for words in (
        "Damaged files",
        "torn.json",
        "1 other record of these cells: older, or not",
        "Environments",
        "6 paired seeds cannot reach",
    ):
        assert words in index
    for words in (
        "wave \u2212 plain",
        "4 healthy, 1 flagged",
        "mixing is the identity (6/6)",
        "loss is not finite at step 12",
    ):
        assert words in text
    assert "ghost has no finished cell (unsupported)" in text
    assert "with too few seeds for a test, wave leads by 1.98 points" in index


def test_markdown_says_the_same_in_two_screens(built: Path) -> None:
    text = (built / "report.md").read_text()
    assert text.startswith("# Digits\n")
    assert "wave leads by 1.98 points" in text
    assert "? wave +1.98 · " in text
    assert "**For all of these:** Too few seeds for a verdict" in text
    assert "torn.json" in text
    assert len(text.splitlines()) < 60
    assert [line for line in text.splitlines() if line.startswith("| wave | 92.0 % ± ")]


def test_tables_and_figures_lie_beside_the_page(built: Path) -> None:
    names = {path.stem for path in (built / "figures").glob("*.png")}
    assert names == {path.stem for path in (built / "figures").glob("*.svg")}
    assert "toy-digits-seeds" in names
    for path in (built / "figures").glob("*.svg"):
        ElementTree.parse(path)
    with (built / "tables" / "toy-digits-results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["mechanism"] for row in rows} == {"plain", "wave", "ring", "lock", "ghost"}
    assert float(rows[0]["mean"]) > float(rows[1]["mean"])
    assert next(row for row in rows if row["mechanism"] == "ghost").get("mean") == ""
    tex = (built / "tables" / "toy-digits-results.tex").read_text()
    assert tex.count("\\begin{tabular}") == 1
    assert "$\\pm$" in tex
    for name in PAGES:
        for address in re.findall(r'href="((?:tables|figures|suite)[^"#]+)"', (built / name).read_text()):
            assert (built / address).is_file(), address


def test_same_records_same_bytes(save: Save, tmp_path: Path) -> None:
    results = save([make_record(m, s) for m in ("plain", "wave") for s in range(2)])
    first, second = (build_report(results, tmp_path / name) for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
    for path in first.parent.rglob("*.*g"):
        assert path.read_bytes() == (second.parent / path.relative_to(first.parent)).read_bytes(), path


def test_text_from_records_cannot_break_the_page(save: Save, tmp_path: Path) -> None:
    reason = "<script>alert(1)</script> | a\nb"
    results = save(
        [make_record(), make_record(seed=1, status="failed", reason=reason, suite_description="<b>&")]
    )
    page = build_report(results, tmp_path / "report")
    for name in PAGES:
        html = page.with_name(name).read_text()
        assert "<script>alert" not in html
        read(html)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.with_name("suite-toy.html").read_text()
    assert cell(reason) == "&lt;script>alert(1)&lt;/script> \\| a b"


def test_one_seed_without_anything_optional(save: Save, tmp_path: Path) -> None:
    bare = [
        make_record(m, 0, curves={}, health=(), matching=None, environment={}, commit=None, dirty=None)
        for m in ("plain", "wave")
    ]
    page = build_report(save(bare), tmp_path / "report", compare=["wave,plain"])
    html = page.with_name("suite-toy.html").read_text()
    text = "".join(read(html).text)
    assert "One paired seed gives no interval and no test" in text
    assert "(one seed)" in text
    row = next(
        line
        for line in html.splitlines()
        if line.startswith('<tr><th scope="row">') and "wave − plain" in line
    )
    assert row.count("one seed: none") == 2, "neither an interval nor a probability"
    assert "1.00" not in row.replace("1.00×", "")
    with (tmp_path / "report" / "tables" / "toy-digits-comparisons.csv").open(encoding="utf-8") as file:
        (raw,) = csv.DictReader(file)
    assert raw["probability_of_improvement"] == raw["t_low"] == ""


def test_nothing_finished_is_still_a_report(save: Save, tmp_path: Path) -> None:
    records = [make_record(m, 0, status="failed", reason="boom") for m in ("plain", "wave")]
    page = build_report(save(records), tmp_path / "report", compare=["wave,plain"])
    text = page.with_name("suite-toy.html").read_text()
    assert "wave has no finished cell (failed); plain has no finished cell (failed)" in text
    assert "boom" in text


def test_equal_values_do_not_break_a_figure(save: Save, tmp_path: Path) -> None:
    records = [make_record(m, s, value=1.0) for m in ("plain", "wave", "ring") for s in range(11)]
    text = build_report(save(records), tmp_path / "report").with_name("suite-toy.html").read_text()
    assert "BCa 95\u00a0%" in text


def test_bad_input_is_one_line(save: Save, tmp_path: Path) -> None:
    results = save([make_record(m) for m in ("plain", "wave")])
    (tmp_path / "file").write_text("")
    cases = [
        ({"results": tmp_path / "nowhere"}, "no such results folder"),
        ({"suites": ["tooy"]}, 'did you mean "toy"'),
        ({"compare": ["wvae,plain"]}, 'did you mean "wave"'),
        ({"formats": ["htm"]}, 'did you mean "html"'),
        ({"output": tmp_path / "file"}, "cannot be written"),
        ({"output": tmp_path / "file" / "below"}, "cannot be written"),
    ]
    for changes, message in cases:
        with pytest.raises(ReportError, match=message) as caught:
            build_report(**({"results": results, "output": tmp_path / "report"} | changes))  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)


def test_a_large_report_leaves_out_figures_and_says_so(
    save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import oscbench.reporting.report as room

    monkeypatch.setattr(room, "MAX_FIGURES", 3)
    tasks = [f"task{i}" for i in range(5)]
    records = [
        make_record(m, s, task=t) for m in ("plain", "wave", "ring", "lock") for s in range(2) for t in tasks
    ]
    page = build_report(save(records), tmp_path / "report")
    text = "".join(read(page.read_text()).text)
    assert "less important figures are left out" in text
    assert sorted(path.name for path in (page.parent / "figures").glob("*.png")) == [
        "forest-plain-fraction-forest.png",
        "toy-task0-seeds.png",
        "toy-task1-seeds.png",
    ]


def test_reporting_loads_no_torch_and_no_other_room() -> None:
    code = """
import sys
import oscbench.reporting, oscbench.reporting.render.html, oscbench.reporting.sections.curves
rooms = {name.split(".")[1] for name in sys.modules if name.startswith("oscbench.")}
assert "torch" not in sys.modules
upper = {"api", "cli", "instruments", "machine", "measures", "mechanisms", "models", "nn", "ops", "runner", "tasks"}
assert not rooms & upper, rooms
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_export_need_not_wait_for_the_drawing_libraries() -> None:
    code = "import sys, oscbench.reporting; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_number_leads_to_a_record_that_is_there(built: Path) -> None:
    page, records = (built / "suite-toy.html").read_text(), (built / "records.html").read_text()
    targets = set(re.findall(r'href="records.html#([^"]+)"', page))
    assert targets
    assert targets <= set(read(records).ids)
    files = re.findall(r'href="([^"#]+\.json)">', records)
    assert len(files) == len(toy_suite())
    assert all((built / address).resolve().is_file() for address in files)
    results = page[page.index("<caption><span>Accuracy over seeds") :].split("</table>")[0]
    numbers = re.findall(r"<td[^>]*data-value=[^>]*>(?:<svg.*?</svg>)?(.{9})", results)
    assert numbers
    assert set(numbers) == {"<a class="}


@pytest.mark.usefixtures("undrawn")
def test_records_of_one_name_in_two_folders_lead_nowhere(save: Save, tmp_path: Path) -> None:
    results = save([make_record()])
    (file,) = results.rglob("*.json")
    twin = results / "copy" / file.name
    twin.parent.mkdir()
    twin.write_bytes(file.read_bytes())
    build_report(results, tmp_path / "report")
    assert ".json" not in (tmp_path / "report" / "records.html").read_text()


@pytest.mark.usefixtures("undrawn")
def test_a_large_report_links_rows_instead_of_numbers(
    save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import oscbench.reporting.render.html as room

    monkeypatch.setattr(room, "LINKED_CELLS", 3)
    index = build_report(save([make_record(m) for m in ("plain", "wave")]), tmp_path / "report")
    page = index.with_name("suite-toy.html").read_text()
    assert '<th scope="row"><a class="record"' in page
    assert not re.search(r"<td[^>]*><a class=.record", page)


SECTION = '''"""A section that a test adds."""

from oscbench.reporting.page.blocks import Folded, Prose
from oscbench.reporting.page.table import Reads, Table


class Throwaway:
    """Counts the experiments."""

    title = "Thrown away"
    rank = 12
    page = "{page}"

    def blocks(self, study):
        """A sentence and a table."""
        columns = [Reads("Experiment", lambda e: e.slug, "left")]
        table = Table.of("throwaway-{page}", "Every one", columns, study.experiments, lambda e: {{"slug": e.slug}})
        return [Prose((f"{{len(study.experiments)}} experiments stand here",)), table]


section = Throwaway
'''


def test_a_section_is_one_new_file(save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by its folder, it stands on the page, in the Markdown and in LaTeX, at its rank."""
    folder = tmp_path / "sections"
    shutil.copytree(Path(oscbench.reporting.sections.__file__).parent, folder)
    for page in ("front", "suite"):
        (folder / f"throwaway_{page}.py").write_text(SECTION.format(page=page))
    monkeypatch.setattr(oscbench.reporting.sections, "__path__", [str(folder)])
    own = catalog._folder
    monkeypatch.setattr(catalog, "_folder", lambda kind: folder if kind == "sections" else own(kind))
    index = build_report(
        save([make_record(m, s) for m in ("plain", "wave") for s in range(2)]),
        tmp_path / "out",
        formats=("html", "md", "latex"),
    )
    html, text = index.read_text(), index.with_name("report.md").read_text()
    for said in (html, text):
        assert said.index("The answer") < said.index("Thrown away") < said.index("Suite by suite")
        assert "1 experiments stand here" in said
    assert 'id="thrown-away"' in index.with_name("suite-toy.html").read_text()
    for page in ("front", "suite"):
        assert "toy-digits" in (index.parent / "tables" / f"throwaway-{page}.csv").read_text()
        assert "toy-digits" in (index.parent / "tables" / f"throwaway-{page}.tex").read_text()


def test_pages_alone_need_nothing_beside_them(save: Save, tmp_path: Path) -> None:
    results = save([make_record(m, s) for m in ("plain", "wave") for s in range(2)])
    index = build_report(results, tmp_path / "out", pages_only=True)
    assert sorted(path.name for path in index.parent.iterdir()) == [
        "index.html",
        "report.md",
        "suite-toy.html",
    ]
    for path in index.parent.glob("*.html"):
        html = path.read_text()
        assert html.count('role="img"') >= 1
        for address in re.findall(r'href="([^"#]+)"', html):
            assert (index.parent / address).is_file(), address


@pytest.mark.usefixtures("undrawn")
def test_a_run_that_is_not_finished_says_so(
    save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "toy.yaml").write_text(
        "name: toy\ntask: digits\nseeds: 6\nmechanisms: [plain, wave]\nmodel: {width: 8}\ntrain: {epochs: 1}\n"
    )
    some = [make_record(m, s) for m in ("plain", "wave") for s in range(2)]
    index = build_report(save(some), tmp_path / "out")
    assert "Not finished: toy: 4 of 12 cells" in words_of(index)
    assert "4 of 12 cells" in words_of(index.with_name("suite-toy.html"))
    assert "4 of 12 cells" in index.with_name("report.md").read_text()
    rest = [make_record(m, s) for m in ("plain", "wave") for s in range(2, 6)]
    assert "Not finished" not in words_of(build_report(save(rest), tmp_path / "out"))


def test_the_sample_says_what_the_records_say() -> None:
    sample = ROOT / "reports" / "sample"
    suites = [page.stem.removeprefix("suite-").replace("-", "_") for page in sample.glob("suite-*.html")]
    pages, lost = pages_of(study_of(ROOT / "results" / "reference", suites, ()))
    said = (sample / "report.md").read_text(encoding="utf-8")
    undrawn = re.sub(r"^\d+ less important figures are left out .*\n", "", said, flags=re.MULTILINE)
    assert lost == []
    assert undrawn == markdown.render(pages[0]), "stale: CONTRIBUTING.md has the command that draws it"


def test_the_sample_is_its_pages_and_nothing_else() -> None:
    sample = ROOT / "reports" / "sample"
    files = sorted(path.name for path in sample.iterdir())
    assert {"index.html", "report.md"} <= set(files)
    assert all(re.fullmatch(r"index\.html|report\.md|suite-[a-z0-9-]+\.html", name) for name in files)
    assert sum(path.stat().st_size for path in sample.iterdir()) < 3_000_000
    for path in sample.glob("*.html"):
        read(path.read_text(encoding="utf-8"))

"""A section that breaks is lost alone, and so are roles that no report can read: the pages and the terminal say whose and why."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from synthetic_records import make_record

import oscbench.reporting.sections
from oscbench import catalog, roles
from oscbench.reporting import build_report
from oscbench.reporting.page.blocks import page_of

Save = Callable[..., Path]
SECTION = """
from oscbench.reporting.page.blocks import SUITE, Heading, Prose
from oscbench.reporting.page.figure import Plan
from oscbench.reporting.page.table import Reads, Table

class Motto:
    title, rank, page = "Motto of a stranger", 50, SUITE

    def blocks(self, study):
        return [Prose(("Said.",))]

    {more}

section = Motto
"""
SAID, FILE = "Motto of a stranger", "oscbench/reporting/sections/motto.py"
BLOCKS = "def blocks(self, study): "


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str, str], None]]:
    """Write a file of a kind beside those of the package."""
    usual = catalog._folder

    def write(kind: str, name: str, text: str) -> None:
        folder = tmp_path / kind
        folder.mkdir()
        for path in usual(kind).glob("*.py"):
            (folder / path.name).symlink_to(path)
        (folder / f"{name}.py").write_text(text)
        monkeypatch.setattr(catalog, "_folder", lambda asked: folder if asked == kind else usual(asked))
        if kind == "sections":
            paths = [*oscbench.reporting.sections.__path__, str(folder)]
            monkeypatch.setattr(oscbench.reporting.sections, "__path__", paths)

    roles._declared.cache_clear()
    yield write
    roles._declared.cache_clear()
    sys.modules.pop("oscbench.reporting.sections.motto", None)


def reported(save: Save, tmp_path: Path) -> tuple[str, str, list[str]]:
    """The first page, the suite's, and the lines on the terminal."""
    told: list[str] = []
    results = save([make_record(name) for name in ("plain", "wave")])
    index = build_report(results, tmp_path / "report", tell=told.append)
    page = index.with_name(page_of("toy")).read_text()
    assert page.count("<h2") > 5, "all others are there"
    assert (tmp_path / "report" / "tables" / "cells.csv").is_file()
    return index.read_text(), page, told


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("more", "why"),
    [
        ("def broken(:", "which cannot be imported as one of the sections: SyntaxError"),
        (
            "raise RuntimeError('first')",
            "which cannot be imported as one of the sections: RuntimeError: first",
        ),
        ("def __init__(self): raise RuntimeError('unmade')", "RuntimeError: unmade"),
        ("title = None", "title: missing; wanted: a text, its heading"),
        ("title = ' '", "title: got ' '; wanted: a text, its heading"),
        ("rank = None", "rank: missing; wanted: a number, its place on the page"),
        ("rank = 'high'", "rank: got 'high'; wanted: a number, its place on the page"),
        ("page = None", "page: missing; allowed: front, suite"),
        ("page = 'suites'", "page: got 'suites'; allowed: front, suite; did you mean \"suite\"?"),
        (BLOCKS + "raise RuntimeError('boom')", "blocks: RuntimeError: boom"),
        (BLOCKS + "return None", "blocks: gave None; wanted: a list of blocks, as in [Prose((text,))]"),
        (BLOCKS + "return ['hello']", "blocks: gave a str as a block; wanted: Prose, Table,"),
        (
            BLOCKS + "return [Prose('hello')]",
            "blocks: Prose: gave a text; wanted: texts, as in Prose((text,))",
        ),
        (BLOCKS + "return [Heading(3)]", "blocks: an int where a text is wanted"),
        (
            BLOCKS + "return [Table.of('t', 'T', [Reads('What', lambda r: r.nothing)], [1])]",
            "blocks: AttributeError: 'int' object has no attribute 'nothing'",
        ),
        (
            BLOCKS + "return [Table.of('t', 'T', [Reads('What', lambda r: r)], [1])]",
            "blocks: table 't': an int where a text is wanted",
        ),
    ],
)
def test_a_broken_section_is_lost_alone(
    save: Save, tmp_path: Path, place: Callable[..., None], more: str, why: str
) -> None:
    place("sections", "motto", SECTION.format(more=more))
    front, page, told = reported(save, tmp_path)
    (line,) = [line for line in told if line.startswith("left out: ")]
    assert line.startswith(f"left out: {FILE}: ")
    assert why in line
    assert f"<strong>Left out:</strong> {FILE}: " in front
    assert FILE in (tmp_path / "report" / "report.md").read_text()
    assert SAID not in page


def test_a_section_whose_figure_breaks_is_lost_alone(
    save: Save, tmp_path: Path, place: Callable[..., None]
) -> None:
    more = "def blocks(self, study): return [Prose(('Said.',)), Plan(0, lambda: 1 / 0)]"
    place("sections", "motto", SECTION.format(more=more))
    front, page, told = reported(save, tmp_path)
    assert told[2:] == [f"left out: {FILE}: a figure: ZeroDivisionError: division by zero"]
    assert f"{FILE}: a figure" in front
    assert f"{FILE}: a figure" in page
    assert SAID not in page


@pytest.mark.usefixtures("undrawn")
def test_a_section_does_not_write_over_the_table_of_another(
    save: Save, tmp_path: Path, place: Callable[..., None]
) -> None:
    more = "rank = 1000\n\n    def blocks(self, study): return [Table.of('toy-digits-results', 'Mine', [Reads('A', str)], [1])]"
    place("sections", "motto", SECTION.format(more=more))
    _, page, told = reported(save, tmp_path)
    (line,) = told[2:]
    assert (
        "blocks: table 'toy-digits-results' is there already, by oscbench/reporting/sections/results.py"
        in line
    )
    assert SAID not in page


@pytest.mark.usefixtures("undrawn")
def test_a_whole_section_is_there_and_nothing_is_left_out(
    save: Save, tmp_path: Path, place: Callable[..., None]
) -> None:
    place("sections", "motto", SECTION.format(more=""))
    front, page, told = reported(save, tmp_path)
    assert SAID in page
    assert "Left out" not in front + page
    assert len(told) == 2


MEASURE = "raise RuntimeError('imported')\nclass Waste:\n    roles = {roles}\n\nmeasure = Waste\n"


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("given", "why"),
    [
        ('{"waste": {"costs": "W"}}', "roles['waste']: unknown key \"costs\"; allowed: rank, cost, "),
        ('{"waste": {"rank": "three"}}', "roles['waste']: rank: got 'three'; wanted: a number"),
        ('{"waste": {"basis": "size"}}', "roles['waste']: basis: needs the key cost beside it"),
        ('{"waste": {"basis": "depth"}}', "roles['waste']: basis: got 'depth'; wanted: size or compute"),
        ('{"waste": {"energy": 3}}', "roles['waste']: energy: got 3; wanted: a number and a heading"),
        ('{"waste": {"exact": 1}}', "roles['waste']: exact: got 1; wanted: True or False"),
        ('{"waste": {"cost": 1}}', "roles['waste']: cost: got 1; wanted: a text"),
        ('{"waste": 3}', "roles['waste']: got an int; wanted: a mapping with any of rank, cost"),
        ("[1]", "roles: got a list; wanted: a role by the name of each quantity"),
        ('{"waste": {"rank": 1 + 2, "cost": "Waste"}}', "roles: not plain literals"),
    ],
)
def test_roles_that_cannot_be_read_are_left_out_and_told(
    save: Save, tmp_path: Path, place: Callable[..., None], given: str, why: str
) -> None:
    place("measures", "waste", MEASURE.format(roles=given))
    front, _, told = reported(save, tmp_path)
    (line,) = told[2:]
    assert line.startswith(f"left out: oscbench/measures/waste.py: {why}")
    assert line.endswith("; its roles are left out")
    assert "oscbench/measures/waste.py" in front

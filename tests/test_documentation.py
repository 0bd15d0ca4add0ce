"""What people are shown runs as it stands: the README's Python, the notebook, and every command in the pages."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path

import pytest
import typer.main

from oscbench.cli import app
from oscbench.records import Store, suite_name
from oscbench.suite import suite_names

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])


def blocks(page: Path, language: str) -> list[str]:
    """Fenced code of a page."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def told() -> dict[str, str]:
    """What the README says came out, and what the page of answers does: written by hand, each number to stand in a generated page."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    answers = (ROOT / "docs" / "answers.md").read_text(encoding="utf-8")
    came_out = readme.split("## What came out so far")[1].split("\n## ")[0]
    return {
        name: re.sub(r"\]\([^)]*\)", "]", text) for name, text in (("README", came_out), ("answers", answers))
    }


def generated() -> str:
    """All pages that are made from the records."""
    return " ".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "results").glob("*.md"))


@pytest.mark.parametrize(("page", "least"), [("README", 6), ("answers", 90)])
def test_numbers_stand_in_generated_pages(page: str, least: int) -> None:
    pages = generated()
    numbers = re.findall(r"[+\u2212]?\d+\.\d+", told()[page])
    assert len(numbers) >= least
    assert [number for number in numbers if number not in pages] == []


def test_claims_are_counted_as_the_ledger_does() -> None:
    """In the README's table and in a sentence of the answers."""
    ledger = (ROOT / "docs" / "results" / "claims.md").read_text(encoding="utf-8").split("\nOf ")[1]
    counts = re.findall(r"\d+", ledger.split(".")[0])
    sentence = told()["answers"].split("**Of ")[1].split("([ledger]")[0]
    number, more = sentence.split(
        " claims, one of them ours and one a summary that nobody measured,** none holds in full yet "
    )
    assert [number, *re.findall(r"\d+", more)] == counts
    (row,) = re.findall(r"^\| (\d+(?: \| \d+){5}) \|$", told()["README"], re.MULTILINE)
    asked = (
        "Of",
        "holds?",
        "holds? in part",
        "(?:do|does) not hold",
        "(?:is|are) undecided",
        "(?:is|are) not tested",
    )
    assert row.split(" | ") == [
        _counted(asked[0], f"Of {ledger}"),
        *(_counted(one, ledger) for one in asked[1:]),
    ]


def _counted(what: str, ledger: str) -> str:
    """How many claims the ledger's first sentence says that of; it leaves out what none comes to."""
    pattern = rf"{what} (\d+)" if what == "Of" else rf"(\d+) {what}(?: here)?(?:,| and|\.| \()"
    found = re.findall(pattern, ledger.split("\n")[0].split(" Every verdict")[0])
    return found[0] if found else "0"


def test_the_readmes_python_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results").symlink_to(ROOT / "results")
    monkeypatch.chdir(tmp_path)
    (code,) = blocks(ROOT / "README.md", "python")
    assert len(code.splitlines()) <= 15
    exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "forest.svg").stat().st_size > 1000
    assert "torch.Size([2, 17, 64])" in capsys.readouterr().out


def test_the_notebook_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    cells = json.loads((ROOT / "docs" / "tour.ipynb").read_text(encoding="utf-8"))["cells"]
    names: dict[str, object] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [], "kept without outputs, which go stale"
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    assert "differences" in names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_suites_exist(page: Path) -> None:
    commands = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    text = "\n".join(blocks(page, "bash"))
    for command in re.findall(r"\boscbench (?!-)([a-z]+)", text):
        assert command in commands, command
    for suite in re.findall(r"\boscbench (?:run|validate|export) ([a-z][a-z0-9_]+)\b(?!/)", text):
        assert suite in suite_names(), suite


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)|(?:src|srcset)=\"([^\"]+)\"", text)
    for target in (first or second for first, second in targets):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), target


MINUS = "\u2212"
NUMBER = rf"[+{MINUS}]?\d+(?:\.\d+)?"


def mirrored(triple: str) -> str:
    """A loss for a gain: `44.70 [40.72, 48.68]` is `−44.70 [−48.68, −40.72]` the other way round."""
    mean, low, high = re.findall(NUMBER, triple)

    def other(number: str) -> str:
        return "+" + number[1:] if number[0] == MINUS else MINUS + number.lstrip("+")

    return f"{other(mean)} [{other(high)}, {other(low)}]"


@pytest.mark.parametrize(("page", "least"), [("README", 3), ("answers", 31)])
def test_differences_stand_in_generated_pages_with_their_intervals(page: str, least: int) -> None:
    pages = re.sub(r" (?:points|bits/character|%)(?= \[)", "", generated())
    text = told()[page].replace("**", "")
    triples = re.findall(rf"{NUMBER} \[{NUMBER}, {NUMBER}\]", text)
    assert len(triples) >= least
    assert [one for one in triples if one not in pages and mirrored(one) not in pages] == []


def test_hours_of_suites_that_ran_are_those_of_their_records() -> None:
    """`some 5` is an estimate of the whole, of which a part ran."""
    seconds: dict[str, float] = defaultdict(float)
    for record in Store(ROOT / "results" / "reference").read_all()[0]:
        seconds[suite_name(record.suite)] += record.seconds
    table = (ROOT / "docs" / "suites.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| .* \| ([\d.]+)(?: a seed)? \| .* \|$", table, re.MULTILINE)
    told = {name: (float(hours), seconds[name] / 3600) for name, hours in rows if seconds[name]}
    assert len(told) > 30
    assert {name: both for name, both in told.items() if round(both[1], 1) != both[0]} == {}

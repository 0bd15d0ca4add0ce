"""What people are shown runs as it stands: the README's Python, the notebook, and every command in the pages."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer.main

from oscbench.cli import app
from oscbench.suite import suite_names

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])


def blocks(page: Path, language: str) -> list[str]:
    """Fenced code of a page."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def results_of_the_readme() -> str:
    """What the README says came out."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return text.split("## What came out so far")[1].split("\n## ")[0]


def test_the_readmes_numbers_stand_in_generated_pages() -> None:
    pages = " ".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "results").glob("*.md"))
    numbers = re.findall(r"[+\u2212]?\d+\.\d+", re.sub(r"\]\([^)]*\)", "]", results_of_the_readme()))
    assert len(numbers) > 10
    assert [number for number in numbers if number not in pages] == []


def test_the_readme_counts_claims_as_the_ledger_does() -> None:
    ledger = (ROOT / "docs" / "results" / "claims.md").read_text(encoding="utf-8").split("\nOf ")[1]
    readme = results_of_the_readme().split("**Of ")[1].split("([ledger]")[0]
    number, told = readme.split(
        " claims, one of them ours and one a summary that nobody measured,** none holds in full yet "
    )
    assert re.findall(r"\d+", ledger.split(".")[0]) == [number, *re.findall(r"\d+", told)]


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


def test_the_readmes_differences_stand_in_generated_pages_with_their_intervals() -> None:
    readme = (
        (ROOT / "README.md").read_text(encoding="utf-8").split("## What came out so far")[1].split("\n## ")[0]
    )
    pages = " ".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "results").glob("*.md"))
    pages = re.sub(r" (?:points|bits/character|%)(?= \[)", "", pages)
    triples = re.findall(rf"{NUMBER} \[{NUMBER}, {NUMBER}\]", re.sub(r"\]\([^)]*\)", "]", readme))
    assert len(triples) > 30
    assert [one for one in triples if one not in pages and mirrored(one) not in pages] == []

"""The pages of docs/results are what the committed records say: a stale one fails here."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_records import make_record

from oscbench.analysis.frame import Loaded, load
from oscbench.reporting.documents import Document, contents, make, names, table, write

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def reference() -> Loaded:
    return load(ROOT / "results" / "reference")


@pytest.fixture(scope="module")
def made(reference: Loaded) -> dict[str, Document]:
    return {name: make(name, reference) for name in names()}


@pytest.mark.parametrize("name", names())
def test_page_says_what_the_records_say(name: str, made: dict[str, Document]) -> None:
    committed = (ROOT / "docs" / "results" / f"{name}.md").read_text(encoding="utf-8")
    assert committed == made[name].text, "stale: python -m oscbench.reporting.documents writes it anew"


@pytest.mark.parametrize("name", names())
def test_pictures_are_there_in_light_and_dark(name: str, made: dict[str, Document]) -> None:
    for file in made[name].pictures:
        assert file in made[name].text
        assert (ROOT / "docs" / "results" / file).is_file()
        assert {f"{file.rpartition('-')[0]}-{look}.svg" for look in ("light", "dark")} <= set(
            made[name].pictures
        )


def test_a_number_that_changes_makes_a_page_stale(reference: Loaded, made: dict[str, Document]) -> None:
    changed = []
    for record in reference.records:
        if (record.suite, record.mechanism) == ("agreement", "softmax"):
            own = record.measures[record.metric]
            worse = own.model_copy(update={"value": float(own.value or 0) - 0.01})
            record = record.model_copy(update={"measures": record.measures | {record.metric: worse}})
        changed.append(record)
    other = make("claims", Loaded(tuple(changed), (), ()))
    assert other.text != made["claims"].text


def test_a_page_shows_a_suite_from_three_seeds_on() -> None:
    def shown(seeds: int) -> bool:
        made = [make_record(name, seed) for name in ("softmax", "kope") for seed in range(seeds)]
        made.append(make_record("softmax", 9))  # one that began beside the others
        records = [r.model_copy(update={"suite": "recall"}) for r in made]
        return "(recall)" in make("recall_and_keywords", Loaded(tuple(records), (), ())).text

    assert (shown(2), shown(3)) == (False, True)


def test_one_command_writes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: Loaded) -> None:
    monkeypatch.setattr("oscbench.reporting.documents.load", lambda results: reference)
    monkeypatch.setattr("oscbench.reporting.documents.names", lambda: ["claims"])
    written = write(Path("nowhere"), tmp_path / "docs")
    assert written == [tmp_path / "docs" / "claims.md", tmp_path / "docs" / "README.md"]


def test_the_folder_leads_to_every_page(made: dict[str, Document]) -> None:
    committed = (ROOT / "docs" / "results" / "README.md").read_text(encoding="utf-8")
    assert committed == contents(made).text, "stale: python -m oscbench.reporting.documents writes it anew"
    assert all(f"]({name}.md)" in committed for name in names())


def test_tables_escape_what_would_end_a_cell() -> None:
    assert table(("a", "b"), [("x|y", "1")], numbers=1).splitlines()[2] == "| x\\|y |   1 |"

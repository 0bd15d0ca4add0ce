"""Reference records answer what their suites ask today: whoever runs a suite over them computes nothing again.

Left out are suites that search, whose cells follow from what a search finds, and floors, which follow from a suite's cells.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from oscbench.errors import UserError
from oscbench.records import Store, suite_name
from oscbench.records.ledger import is_trial
from oscbench.runner.session import make_plan
from oscbench.suite.load import load_points

ROOT = Path(__file__).resolve().parents[2]
OLDER = {
    "captions": "its suite searches its rate now, and draws images anew for each seed; its page says so",
    "spoken_digits": "a new version of its task shows health digits of every kind; scores are the same",
}
"""Suites that would run again, and why they have not."""
PARTLY: dict[str, str] = {
    "scene_panoptic_rates": "three of eight seeds",
    "self_supervised": "three entries at four of eight seeds",
    "sudoku_satnet": "one seed, and not yet KoPE whose phases never move",
}
"""Suites of which whole seeds have not run yet, and what has."""
MISSING = ("oscbench data add", "espeak-ng")
"""Where data are missing, these tell how to get them."""
SUITES = {path.stem: path for path in (ROOT / "suites").rglob("*.yaml")}
RAN = sorted(
    {path.name.removesuffix(".jsonl.gz") for path in (ROOT / "results" / "reference").rglob("*.jsonl.gz")}
)


@pytest.fixture(scope="module")
def committed() -> dict[str, set[str]]:
    """Identities of each suite's cells; a search's follow from what it finds, and floors from the cells."""
    found: dict[str, set[str]] = {}
    for record in Store(ROOT / "results" / "reference").read_all()[0]:
        if not (is_trial(record.suite) or record.spec["kind"] == "floor" or "tune" in record.spec):
            found.setdefault(suite_name(record.suite), set()).add(record.identity)
    return found


@pytest.mark.parametrize("suite", RAN)
def test_no_cell_would_run_again(suite: str, committed: dict[str, set[str]]) -> None:
    if suite not in committed:
        pytest.skip("its cells follow from a search")
    points = load_points(str(SUITES[suite]))
    try:
        planned = {cell.identity for point in points for cell in make_plan(point, only=[], device="cpu")}
    except UserError as error:
        if not any(remedy in str(error) for remedy in MISSING):
            raise
        pytest.skip(str(error))
    assert bool(committed[suite] - planned) == (suite in OLDER), "run it again, or say in OLDER why not"
    assert suite in OLDER or bool(planned - committed[suite]) == (suite in PARTLY), "run the rest"


def test_the_list_of_suites_says_of_each_whether_it_ran() -> None:
    """A row a suite, and `no` where there are no records of it."""
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in (ROOT / "docs" / "suites.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| `")
    ]
    assert sorted(row[0].strip("`") for row in rows) == sorted(SUITES)
    told = {row[0].strip("`"): row[3].partition(":")[0] != "no" for row in rows}
    assert {name for name, ran in told.items() if ran} == set(RAN)

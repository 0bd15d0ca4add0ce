"""Ranks over tasks: from two tasks on, for entries matched alike that finished in all of them."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from synthetic_records import make_record

from oscbench.analysis.frame import Loaded
from oscbench.analysis.study import assemble
from oscbench.records import Matching, Record, protocol
from oscbench.reporting import build_report
from oscbench.reporting.page.table import Table
from oscbench.reporting.sections.ranks import leaderboards


def tables(records: list[Record]) -> list[Table]:
    ordered = sorted(records, key=lambda record: (record.suite, record.task))  # as a folder is read
    return leaderboards(assemble(Loaded(tuple(ordered), (), ()), ()))


def only(records: list[Record]) -> Table:
    (table,) = tables(records)
    return table


def cells(task: str, mechanism: str, *values: float, **changes: object) -> list[Record]:
    return [make_record(mechanism, s, task=task, value=v, **changes) for s, v in enumerate(values)]  # type: ignore[arg-type]


def shown(table: Table) -> dict[str, list[str]]:
    return {row[0].text: [cell.text for cell in row[1:-2]] for row in table.rows}


def test_floors_are_not_ranked() -> None:
    """Neither beside mechanisms nor among themselves, where they alone are not matched."""
    made = [one for task in "ab" for one in cells(task, "plain", 0.5, 0.6) + cells(task, "wave", 0.7, 0.8)]
    floors = [one for task in "ab" for name in ("bag", "chance") for one in cells(task, name, 0.3)]
    table = only(made + [one.model_copy(update={"spec": one.spec | {"kind": "floor"}}) for one in floors])
    assert list(shown(table)) == ["wave", "plain"]
    assert "bag" not in table.caption


def test_one_task_has_no_leaderboard() -> None:
    assert tables(cells("a", "plain", 0.5, 0.6) + cells("a", "wave", 0.7, 0.8)) == []


def test_clear_ranks_are_certain_and_ties_shared() -> None:
    records = []
    for task in ("a", "b"):
        records += cells(task, "wave", 0.9, 0.91, 0.92) + cells(task, "plain", 0.5, 0.51, 0.52)
        records += cells(task, "ring", 0.5, 0.51, 0.52)
    table = only(records)
    assert shown(table)["wave"] == ["1 [1, 1]", "1.00", "1 [1, 1]", "1 [1, 1]"]
    assert shown(table)["plain"][0] == shown(table)["ring"][0] == "2.5 [2.5, 2.5]"
    assert "with 3 seeds such intervals are too narrow" in table.caption


def test_overlapping_seeds_leave_ranks_open() -> None:
    records = []
    for task in ("a", "b"):
        records += cells(task, "wave", 0.9, 0.5, 0.7) + cells(task, "plain", 0.6, 0.8, 0.68)
    table = only(records)
    for row in table.raw:
        assert row["low"] < row["high"]


def test_mechanisms_of_some_tasks_alone_are_named_and_not_ranked() -> None:
    records = [r for task in ("a", "b") for m in ("plain", "wave") for r in cells(task, m, 0.5, 0.6)]
    table = only(records + cells("a", "ring", 0.9, 0.9))
    assert {row[0].text for row in table.rows} == {"plain", "wave"}
    assert "not ranked: ring" in table.caption


def test_a_missing_seed_is_no_zero() -> None:
    records = [
        r for task in ("a", "b") for r in cells(task, "wave", 0.9, 0.9, 0.9) + cells(task, "plain", 0.5, 0.5)
    ]
    table = only(records)
    low = [row for row in table.raw if row["mechanism"] == "wave"]
    assert all(row["high"] == 1.0 for row in low)
    flipped = [
        r for task in ("a", "b") for r in cells(task, "wave", 0.9, 0.9) + cells(task, "plain", 0.5, 0.5, 0.5)
    ]
    table = only(flipped)
    assert all(row["high"] == 1.0 for row in table.raw if row["mechanism"] == "wave")


def test_one_seed_has_neither_an_interval_nor_a_chance() -> None:
    table = only([r for t in ("a", "b") for r in cells(t, "wave", 0.9) + cells(t, "plain", 0.5)])
    assert shown(table) == {"wave": ["1", "1", "1"], "plain": ["2", "2", "2"]}
    assert [c.heading for c in table.columns[:3]] == ["Mechanism", "Mean rank", "A (toy)"]
    assert all(row["low"] is row["high"] is None for row in table.raw)
    assert "One seed (plain in A (toy), wave in A (toy), plain in B (toy) and others)" in table.caption
    assert "bootstrap" not in table.caption


def test_one_seed_in_one_task_leaves_the_other_its_intervals() -> None:
    records = cells("a", "wave", 0.9) + cells("a", "plain", 0.5, 0.5)
    table = only(records + cells("b", "wave", 0.9, 0.9) + cells("b", "plain", 0.5, 0.5))
    assert shown(table)["wave"] == ["1", "1", "1 [1, 1]"]
    assert "One seed (wave in A (toy)), so" in table.caption


def test_unlike_matchings_are_ranked_apart() -> None:
    by_params = [r for t in ("a", "b") for m in ("plain", "wave") for r in cells(t, m, 0.5, 0.6)]
    values = {"plain": 0.7, "wave": 0.4}
    by_time = [
        r for t in "ab" for m, v in values.items() for r in cells(t, m, v, v, suite="timed", by="time")
    ]
    found = {t.name: t for t in tables(by_params + by_time)}
    assert set(found) == {"leaderboard-params", "leaderboard-time"}
    assert "models matched by time" in found["leaderboard-time"].caption
    assert shown(found["leaderboard-time"])["plain"] == ["1 [1, 1]", "1.00", "1 [1, 1]", "1 [1, 1]"]
    assert shown(found["leaderboard-params"])["plain"][0] == "1.5 [1.5, 1.5]"
    one_each = [r for r in by_params + by_time if (r.task == "a") == (r.suite == "timed")]
    assert tables(one_each) == [], "one task by params and one by time are no two tasks"


@pytest.mark.parametrize("by", ["flops", "params"])
def test_a_control_is_named_and_not_ranked(by: str) -> None:
    records = [r for t in ("a", "b") for m in ("plain", "wave") for r in cells(t, m, 0.5, 0.6)]
    control = Matching(by=by, reference="wave", target=1, value=1, residual=0, hidden=9, control=True)
    for task in ("a", "b"):
        for r in cells(task, "plain", 0.9, 0.9, variant="control"):
            spec = r.spec | {"match": {"by": "params", "reference": {"name": "plain"}}}
            records.append(r.model_copy(update={"matching": control, "spec": spec}))
    table = only(records)
    words = {"flops": "FLOPs", "params": "parameters"}[by]
    assert set(shown(table)) == {"plain", "wave"}
    assert f"Matched otherwise, so not ranked here: plain at equal {words}" in table.caption


def point(mechanism: str, share: float, seed: int, value: float) -> Record:
    made = make_record(mechanism, seed, suite=f"data[task.fraction={share}]", value=value)
    spec = made.spec | {"task": {"name": "digits", "fraction": share}}
    return made.model_copy(update={"spec": spec, "protocol": protocol(spec)})


def varied(mechanism: str, *by_seed: tuple[float, float]) -> list[Record]:
    """Values of each seed at the fractions 0.5 and 1."""
    return [
        point(mechanism, share, seed, value)
        for seed, values in enumerate(by_seed)
        for share, value in zip((0.5, 1.0), values, strict=True)
    ]


def test_a_varied_suite_is_one_column_of_means_over_its_values() -> None:
    records = cells("b", "wave", 0.5, 0.5) + cells("b", "plain", 0.6, 0.6)
    # plain is better at the full fraction, wave on the mean of both.
    records += varied("wave", (0.7, 0.8), (0.7, 0.8)) + varied("plain", (0.5, 0.9), (0.5, 0.9))
    table = only(records)
    assert [c.heading for c in table.columns[3:-2]] == [
        "B (toy)",
        "Digits (data, mean over share of training data)",
    ]
    assert shown(table)["wave"][2:] == ["2 [2, 2]", "1 [1, 1]"]


def test_only_entries_and_seeds_with_all_values_enter() -> None:
    records = [r for m in ("wave", "plain", "ring") for r in cells("b", m, 0.5, 0.5)]
    # The third seed of wave lacks its second value; with it wave would be worse.
    records += [*varied("wave", (0.7, 0.7), (0.7, 0.7)), point("wave", 0.5, 2, 0.0)]
    records += varied("plain", (0.6, 0.6), (0.6, 0.6))
    records += [point("ring", 0.5, s, 0.9) for s in range(2)]
    table = only(records)
    assert {name: row[-1] for name, row in shown(table).items()} == {"wave": "1 [1, 1]", "plain": "2 [2, 2]"}
    assert "not ranked: ring" in table.caption


def test_suites_of_one_task_share_its_weight() -> None:
    suites = ("one", "two", "three")
    records = [r for s in suites for r in cells("a", "wave", 0.9, 0.9, suite=s)]
    records += [r for s in suites for r in cells("a", "plain", 0.5, 0.5, suite=s)]
    assert tables(records) == [], "three suites of one task are one task"
    table = only(records + cells("b", "wave", 0.5, 0.5) + cells("b", "plain", 0.9, 0.9))
    assert shown(table)["wave"][0] == shown(table)["plain"][0] == "1.5 [1.5, 1.5]"
    assert "each task weighs once" in table.caption


def test_suites_of_one_task_are_drawn_together() -> None:
    values = {"wave": (0.9, 0.5, 0.7, 0.8), "plain": (0.6, 0.8, 0.68, 0.7)}
    alone = [r for m, v in values.items() for r in cells("a", m, *v, suite="one")]
    again = [r for m, v in values.items() for r in cells("a", m, *v, suite="two")]
    other = [r for m in values for r in cells("b", m, 0.5, 0.5)]
    once, twice = only(alone + other), only(alone + again + other)
    assert shown(once)["wave"][:2] == shown(twice)["wave"][:2], "the same seeds twice are no more evidence"
    assert shown(once)["wave"][1] not in ("0.00", "1.00")


def test_tasks_that_share_no_entries_are_ranked_apart_and_the_rest_named() -> None:
    records = [r for t in ("a", "b", "c") for m in ("plain", "wave", "ring") for r in cells(t, m, 0.5, 0.6)]
    # A task with two of them alone must not thin out the ranking of three.
    records += [r for m in ("plain", "wave") for r in cells("d", m, 0.5, 0.6)]
    records += [r for t in ("e", "f") for m in ("lock", "ghost") for r in cells(t, m, 0.5, 0.6)]
    first, second = tables(records)
    assert [c.heading for c in first.columns[3:-2]] == ["A (toy)", "B (toy)", "C (toy)"]
    assert set(shown(first)) == {"plain", "wave", "ring"}
    assert (second.name, set(shown(second))) == ("leaderboard-params-2", {"lock", "ghost"})
    assert "In no ranking" not in first.caption
    assert second.caption.endswith("and a better side: D (toy)")


def test_cells_that_did_not_finish_are_named() -> None:
    records = [r for t in ("a", "b") for m in ("plain", "wave") for r in cells(t, m, 0.5, 0.6)]
    records += [make_record("wave", 2, task="a", status="diverged", reason="nan")]
    records += [make_record("ring", 0, task="b", status="diverged", reason="nan")]
    caption = only(records).caption
    assert "which may favour their entry: wave 1 of 3 in A (toy), ring 1 of 1 in B (toy)" in caption
    assert "so not ranked: ring" in caption


@pytest.mark.usefixtures("undrawn")
def test_the_page_holds_a_leaderboard_for_each_matching(save: Callable[..., Path], tmp_path: Path) -> None:
    settings = [(by, t, m) for by in ("params", "time") for t in ("a", "b") for m in ("plain", "wave")]
    records = [make_record(m, s, task=t, by=by, suite=by) for by, t, m in settings for s in range(2)]
    page = build_report(save(records), tmp_path / "page")
    for text in (page.read_text(), page.with_name("report.md").read_text()):
        assert len(re.findall(r"## Ranks|<h2 id=.ranks-heading", text)) == 1
        assert all(f"Ranks over 2 tasks of models matched by {by}" in text for by in ("params", "time"))
    for by in ("params", "time"):
        with (tmp_path / "page" / "tables" / f"leaderboard-{by}.csv").open(encoding="utf-8") as file:
            assert {row["matching"] for row in csv.DictReader(file)} == {by}


def test_entries_on_other_data_than_most_are_named_and_not_ranked() -> None:
    records = [r for t in ("a", "b") for m in ("plain", "wave") for r in cells(t, m, 0.5, 0.6)]
    records += cells("a", "ring", 0.9, 0.9) + cells("b", "ring", 0.9, 0.9, data_hash="f" * 64)
    table = only(records)
    assert set(shown(table)) == {"plain", "wave"}
    assert "Not on the data, device and protocol of most, so not ranked: ring in B (toy)" in table.caption


def test_two_halves_on_unlike_data_rank_nobody() -> None:
    entries = ("plain", "wave", "ring", "lock")
    records = [r for m in entries for r in cells("a", m, 0.5, 0.6)]
    records += [r for m in entries[:2] for r in cells("b", m, 0.5, 0.6)]
    records += [r for m in entries[2:] for r in cells("b", m, 0.5, 0.6, data_hash="f" * 64)]
    assert tables(records) == []


def test_costs_stand_beside_the_ranks_over_the_cheapest() -> None:
    records = [r for t in ("a", "b") for m in ("plain", "ring") for r in cells(t, m, 0.5, 0.6)]
    table = only(records)
    assert [c.heading for c in table.columns[-2:]] == ["Training step", "FLOPs"]
    found = {row[0].text: row[-1].text for row in table.rows}
    assert found == {"plain": "1.00×", "ring": "1.90×"}

"""Ranks over tasks: from two tasks on, for mechanisms that finished in all of them, with what the seeds leave open."""

from __future__ import annotations

from synthetic_records import make_record

from oscbench.records import Record
from oscbench.reporting.assembly import assemble
from oscbench.reporting.frame import Loaded
from oscbench.reporting.leaderboard import leaderboard_table
from oscbench.reporting.sections import Section


def sections(records: list[Record]) -> tuple[Section, ...]:
    ordered = sorted(records, key=lambda record: record.task)  # as a folder is read
    return assemble(Loaded(tuple(ordered), (), ()), ()).sections


def cells(task: str, mechanism: str, *values: float) -> list[Record]:
    return [make_record(mechanism, s, task=task, value=v) for s, v in enumerate(values)]


def test_one_task_has_no_leaderboard() -> None:
    assert leaderboard_table(sections(cells("a", "plain", 0.5, 0.6) + cells("a", "wave", 0.7, 0.8))) is None


def test_clear_ranks_are_certain_and_ties_shared() -> None:
    records = []
    for task in ("a", "b"):
        records += cells(task, "wave", 0.9, 0.91, 0.92) + cells(task, "plain", 0.5, 0.51, 0.52)
        records += cells(task, "ring", 0.5, 0.51, 0.52)
    table = leaderboard_table(sections(records))
    assert table is not None
    shown = {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}
    assert shown["wave"] == ["1 [1, 1]", "1.00", "1 [1, 1]", "1 [1, 1]"]
    assert shown["plain"][0] == shown["ring"][0] == "2.5 [2.5, 2.5]"
    assert "with 3 seeds such intervals are too narrow" in table.caption


def test_overlapping_seeds_leave_ranks_open() -> None:
    records = []
    for task in ("a", "b"):
        records += cells(task, "wave", 0.9, 0.5, 0.7) + cells(task, "plain", 0.6, 0.8, 0.68)
    table = leaderboard_table(sections(records))
    assert table is not None
    for row in table.raw:
        assert row["low"] < row["high"]


def test_mechanisms_of_some_tasks_alone_are_named_and_not_ranked() -> None:
    records = [r for task in ("a", "b") for m in ("plain", "wave") for r in cells(task, m, 0.5, 0.6)]
    table = leaderboard_table(sections(records + cells("a", "ring", 0.9, 0.9)))
    assert table is not None
    assert {row[0].text for row in table.rows} == {"plain", "wave"}
    assert "not ranked: ring" in table.caption


def test_a_missing_seed_is_no_zero() -> None:
    records = [
        r for task in ("a", "b") for r in cells(task, "wave", 0.9, 0.9, 0.9) + cells(task, "plain", 0.5, 0.5)
    ]
    table = leaderboard_table(sections(records))
    assert table is not None
    low = [row for row in table.raw if row["mechanism"] == "wave"]
    assert all(row["high"] == 1.0 for row in low)
    flipped = [
        r for task in ("a", "b") for r in cells(task, "wave", 0.9, 0.9) + cells(task, "plain", 0.5, 0.5, 0.5)
    ]
    table = leaderboard_table(sections(flipped))
    assert table is not None
    assert all(row["high"] == 1.0 for row in table.raw if row["mechanism"] == "wave")

"""A varied suite runs all its points at once, goes on where it stopped, and ends as badly as its worst point."""

from __future__ import annotations

import pytest

from oscbench.records import Store
from oscbench.runner import session
from oscbench.suite import load_points

SHARES = "{task.fraction: [0.2, 1.0]}"


def test_both_points_run_once_and_are_reported_together(tiny, oscbench, tmp_path):
    path, results = tiny(mechanisms="[softmax, rope]", seeds="2", vary=SHARES), tmp_path / "results"
    ended = oscbench("run", path, "--results", results, "--jobs", 2)
    assert ended.code == 0, ended.err
    assert "tiny: 2 points at once, tiny[task.fraction=0.2] the first of them" in ended.err
    assert "/8] tiny[task.fraction=0.2] softmax seed 0: accuracy " in ended.err
    assert "tiny[task.fraction=1.0]: 4 ok" in ended.err
    found, _ = Store(results).read_all()
    assert {(r.suite, r.spec["task"]["fraction"], r.status) for r in found} == {
        ("tiny[task.fraction=0.2]", 0.2, "ok"),
        ("tiny[task.fraction=1.0]", 1.0, "ok"),
    }
    assert len(found) == 8
    files = {file: file.stat().st_mtime_ns for file in results.rglob("*.json")}

    again = oscbench("run", path, "--results", results)
    assert again.code == 0
    assert {file: file.stat().st_mtime_ns for file in results.rglob("*.json")} == files
    dry = oscbench("run", path, "--results", results, "--dry-run")
    assert "0 of 8 cells at 2 points to run" in dry.out
    assert "tiny[task.fraction=0.2]" in dry.out

    told = oscbench("report", "tiny", "--results", results, "--output", tmp_path / "page")
    assert told.code == 0, told.err
    text = (tmp_path / "page" / "report.md").read_text()
    assert "over share of training data" in text
    assert "a scaling law; at least 5 are needed" in (tmp_path / "page" / "suite-tiny.html").read_text()


def test_a_mistake_in_the_last_point_is_found_before_the_first_runs(tiny, oscbench, tmp_path):
    path = tiny(vary="{model.width: [16, 17]}")
    ended = oscbench("run", path, "--results", tmp_path / "results")
    assert ended.code == 2
    assert "(in tiny[model.width=17])" in ended.err
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(("codes", "worst"), [((1, 0), 1), ((0, 1), 1), ((0, 0), 0)])
def test_a_run_ends_as_its_worst_point(tiny, tmp_path, monkeypatch, codes, worst):
    left = iter(codes)
    monkeypatch.setattr(session.Pool, "run", lambda pool, flows: None)
    monkeypatch.setattr(session, "tell_summary", lambda *given: next(left))
    path = str(tiny(vary=SHARES))
    assert session.run_suite(path, results=tmp_path / "r", only=[], overrides=[]) == worst
    assert next(left, "all were told") == "all were told"


def test_one_point_alone_is_the_same_cells(tiny):
    path = str(tiny(vary=SHARES))
    (alone,) = session._planned(path, ["task.fraction=0.2"], [], None)
    together = session._planned(path, [], [], None)
    assert [cell.identity for cell in alone[1]] == [cell.identity for cell in together[0][1]]
    assert alone[0] == load_points(path)[0]

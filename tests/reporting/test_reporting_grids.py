"""Values of one setting side by side: the best one is found, and one value for all tasks only where there is one."""

from __future__ import annotations

import pytest
from synthetic_records import make_record

from oscbench.reporting import build_report
from oscbench.reporting.assembly import assemble
from oscbench.reporting.frame import Loaded, newest
from oscbench.reporting.grids import grids, in_words, over_tasks, values_table

NOISE = (0.004, -0.002, 0.003, -0.005, 0.001, -0.001, 0.002, -0.002)


def records(results, task="digits", seeds=8, **changes):
    """`results` maps a value of gain to a mean; a reference stands beside it."""
    found = [
        make_record(
            "wave", s, suite=f"grid_{task}", task=task, variant=f"gain={v}", value=mean + NOISE[s], **changes
        )
        for v, mean in results.items()
        for s in range(seeds)
    ]
    return found + [
        make_record("plain", s, suite=f"grid_{task}", task=task, value=0.8, **changes) for s in range(seeds)
    ]


def grids_of(found):
    return grids(assemble(Loaded(newest(found)[0], (), ()), ()).sections)


def bumpy(means):
    """Noise of its own at each value, so that a difference has a spread."""
    return [
        r.model_copy(
            update={
                "measures": r.measures
                | {
                    r.metric: r.measures[r.metric].model_copy(
                        update={"value": r.measures[r.metric].value + 3 * NOISE[(r.seed * 3 + i) % 8]}
                    )
                }
            }
        )
        for i, (_, group) in enumerate(means.items())
        for r in group
    ]


def test_the_best_value_and_those_clearly_worse():
    (grid,) = grids_of(records({0.0: 0.80, 0.05: 0.90, 0.1: 0.895, 0.2: 0.85}))
    assert (grid.mechanism, grid.key, grid.values) == ("wave", "gain", [0.0, 0.05, 0.1, 0.2])
    assert grid.best == 0.05
    assert grid.worse == [0.0, 0.1, 0.2], "the noise is shared, so every difference is the same at each seed"
    assert grid.loss[0.2] == pytest.approx(0.05)
    told = in_words(grid)
    assert told.verdict == "Matters"
    assert told.text.startswith("best at gain 0.05 (90.0 %); clearly worse: 0 (−10.00 points)")
    assert "picked on the numbers" in told.caveats[0]


def test_values_that_cannot_be_told_apart():
    groups = {v: records({v: 0.9})[:8] for v in (0.0, 0.05, 0.1)}
    (grid,) = grids_of(bumpy(groups))
    assert grid.worse == []
    assert in_words(grid).verdict == "No clear difference"
    assert "not told apart from it" in in_words(grid).text


def test_few_seeds_tell_nothing_and_say_so():
    (grid,) = grids_of(records({0.0: 0.80, 0.05: 0.90, 0.1: 0.85}, seeds=4))
    assert grid.worse == []
    assert "nothing could have been told of 0 and 0.1 with so few seeds" in in_words(grid).caveats


def test_one_value_for_all_tasks_only_where_there_is_one():
    apart = grids_of(
        records({0.0: 0.80, 0.05: 0.90, 0.1: 0.85}) + records({0.0: 0.80, 0.05: 0.85, 0.1: 0.90}, "scenes")
    )
    told = over_tasks(apart)
    assert told.verdict == "Needs tuning"
    assert "0.05 on digits; 0.1 on scenes" in told.text
    assert "best compromise is 0.05, at most 5.00 points from the best on any" in told.text
    alike = grids_of(
        records({0.0: 0.80, 0.05: 0.90, 0.1: 0.85}) + records({0.0: 0.80, 0.05: 0.86, 0.1: 0.81}, "scenes")
    )
    told = over_tasks(alike)
    assert told.verdict == "One value serves all"
    assert "gain 0.05 is on none of 2 tasks clearly worse" in told.text


@pytest.mark.parametrize("results", [{0.0: 0.8, 0.1: 0.9}, {"a": 0.8, "b": 0.8, "c": 0.9}])
def test_two_values_or_words_are_no_grid(results):
    assert grids_of(records(results)) == []


def test_numbers_of_the_table_are_those_of_the_records_and_the_page_holds_it(save, tmp_path):
    found = records({0.0: 0.80, 0.05: 0.90, 0.1: 0.85}) + records(
        {0.0: 0.80, 0.05: 0.85, 0.1: 0.90}, "scenes"
    )
    table = values_table("x", grids_of(found))
    raw = {(row["task"], row["value"]): row for row in table.raw}
    assert raw["scenes", 0.1]["mean"] == pytest.approx(0.90, abs=1e-3)
    assert raw["digits", 0.1]["minus_best"] == pytest.approx(-0.05)
    assert raw["digits", 0.1]["p_holm"] == pytest.approx(2 * 2 / 2**8)
    build_report(save(found), tmp_path / "page")
    html, text = ((tmp_path / "page" / name).read_text() for name in ("index.html", "report.md"))
    assert "wave: one gain for all tasks?" in text
    assert "Needs tuning" in html
    assert (
        tmp_path / "page" / "figures" / "wave-gain-grid-digits-grid-scenes-grid-digits-digits-grid.svg"
    ).exists()

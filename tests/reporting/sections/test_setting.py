"""Values of one setting side by side: the best one is found, and one value for all tasks only where that was seen."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_records import make_record

from oscbench.analysis.frame import Loaded, newest
from oscbench.analysis.statistics.seeds import within_seeds_p
from oscbench.analysis.study import assemble
from oscbench.analysis.sweeps.setting import grids
from oscbench.reporting import build_report
from oscbench.reporting.sections.setting import in_words, over_tasks, values_table


def records(results, task="digits", seeds=8, spread=0.003, variant="gain={}", **changes):
    """`results` maps a value of gain to a mean, with noise of its own at each; a reference stands beside it."""
    rng = np.random.default_rng(11)
    found = []
    for value, mean in results.items():
        for seed in range(seeds):
            noisy = mean + spread * rng.standard_normal()
            found.append(
                make_record(
                    "wave",
                    seed,
                    suite=f"grid_{task}",
                    task=task,
                    variant=variant.format(value),
                    value=noisy,
                    **changes,
                )
            )
    return found + [
        make_record("plain", s, suite=f"grid_{task}", task=task, value=0.8, **changes) for s in range(seeds)
    ]


def grids_of(found):
    return grids(assemble(Loaded(newest(found)[0], (), ()), ()).experiments)


FOUR = {0.0: 0.80, 0.05: 0.90, 0.1: 0.899, 0.2: 0.85}


def test_the_best_value_and_those_clearly_worse():
    (grid,) = grids_of(records(FOUR))
    assert (grid.name, grid.key, [value for value, _ in grid.points]) == (
        "wave",
        "gain",
        [0.0, 0.05, 0.1, 0.2],
    )
    assert grid.best in (0.05, 0.1)
    assert grid.worse == [0.0, 0.2]
    assert grid.p < 0.001
    told = in_words(grid)
    assert told.verdict == "Matters"
    assert "clearly worse: 0 (−" in told.text
    assert "not told apart from it: 0." in told.text
    assert "picked on the numbers" in told.caveats[-1]
    assert [standing.name for standing in grid.others] == ["plain"]


def test_a_value_is_worse_only_where_every_set_with_it_and_the_best_says_so():
    """Three of four values are equal. Holm over differences from the best, which was picked, would call one of its equals worse."""
    rng = np.random.default_rng(20)
    means = {0.0: 0.9, 0.05: 0.9, 0.1: 0.9, 0.4: 0.5}
    drawn = {value: [mean + 0.003 * rng.standard_normal() for _ in range(8)] for value, mean in means.items()}
    (grid,) = grids_of(
        [
            make_record("wave", seed, suite="grid_digits", variant=f"gain={value}", value=one)
            for value, some in drawn.items()
            for seed, one in enumerate(some)
        ]
    )
    assert grid.best == 0.0
    assert grid.worse == [0.4]
    assert grid.against_best[0.05].paired.p == pytest.approx(4 / 2**8)

    def p(*values):
        return within_seeds_p(np.transpose([drawn[value] for value in values]), np.random.default_rng(0))

    sets = [p(0.0, 0.05), p(0.0, 0.05, 0.1), p(0.0, 0.05, 0.4), p(0.0, 0.05, 0.1, 0.4)]
    assert grid.against_best[0.05].p_holm == max(sets) == sets[1] > 0.3


def test_values_that_cannot_be_told_apart():
    (grid,) = grids_of(records({0.0: 0.9, 0.05: 0.9, 0.1: 0.9}))
    assert grid.p > 0.05
    assert grid.worse == []
    assert in_words(grid).verdict == "No clear difference"


def test_few_seeds_may_see_that_it_matters_but_not_which_is_worse():
    (grid,) = grids_of(records({0.0: 0.80, 0.05: 0.90, 0.1: 0.85}, seeds=4))
    assert grid.p <= 0.05, "permuting within four seeds can reach it"
    assert grid.worse == []
    assert grid.undecided == [0.0, 0.1], "a pair with four seeds cannot"
    assert "undecided: 0 and 0.1" in in_words(grid).text
    (alone,) = grids_of(records({0.0: 0.80, 0.05: 0.90, 0.1: 0.85}, seeds=1))
    assert in_words(alone).verdict == "Undecided: too few seeds"


def test_a_value_that_lost_seeds_is_no_candidate_and_says_why():
    found = records(FOUR)
    dead = [
        r
        if r.variant != "gain=0.1" or r.seed == 0
        else make_record("wave", r.seed, suite=r.suite, variant=r.variant, status="diverged", reason="nan")
        for r in found
    ]
    (grid,) = grids_of(dead)
    assert grid.best == 0.05
    assert grid.lost == [0.1]
    told = in_words(grid)
    assert told.caveats[0] == "Gain 0.1 lost seeds that others finished, so cannot be the best"
    assert any("diverged at seed 1" in note for note in (*told.caveats, *told.more))
    never = [r for r in dead if r.variant != "gain=0.1" or r.seed]
    (grid,) = grids_of(never)
    assert grid.lost == [0.1]
    row = next(row for row in values_table("x", [grid]).rows if row[1].text == "0.1")
    assert row[-1].text == "diverged"


SCENES = {0.0: 0.80, 0.05: 0.85, 0.1: 0.90}


def test_one_value_for_all_tasks_only_where_it_was_seen():
    apart = grids_of(records({0.0: 0.80, 0.05: 0.90, 0.1: 0.85}) + records(SCENES, "scenes"))
    (told,) = over_tasks(apart)
    assert told.verdict == "Needs tuning"
    assert "0.05 on digits (grid_digits); 0.1 on scenes (grid_scenes)" in told.text
    alike = grids_of(records({0.0: 0.80, 0.05: 0.85, 0.1: 0.90, 0.4: 0.7}) + records(SCENES, "scenes"))
    (told,) = over_tasks(alike)
    assert told.verdict == "No need of tuning seen"
    assert "gain 0.1 is on none of 2 tasks clearly worse" in told.text
    assert "0.1 for all of them loses at most 0.00 points on any" in told.text
    few = grids_of(records({0.0: 0.80, 0.05: 0.90, 0.1: 0.85}, seeds=4) + records(SCENES, "scenes", seeds=4))
    (told,) = over_tasks(few)
    assert told.verdict == "Undecided: too few seeds", "what nobody could see is no evidence"
    assert over_tasks(apart[:1]) == []


@pytest.mark.parametrize(
    ("results", "variant"),
    [
        ({0.0: 0.8, 0.1: 0.9}, "gain={}"),
        ({"a": 0.8, "b": 0.8, "c": 0.9}, "gain={}"),
        ({"1.2.3": 0.8, "1.2.4": 0.8, "1.2.5": 0.9}, "v={}"),
    ],
)
def test_two_values_or_words_are_no_grid(results, variant):
    assert grids_of(records(results, variant=variant)) == []


def test_what_all_variants_share_names_the_grid():
    (grid,) = grids_of(records(SCENES, variant="a=1+gain={}"))
    assert (grid.name, grid.key) == ("wave:a=1", "gain")


def test_numbers_of_the_table_are_those_of_the_records_and_the_page_holds_it(save, tmp_path):
    found = records({0.0: 0.80, 0.05: 0.90, 0.1: 0.85}) + records(SCENES, "scenes")
    table = values_table("x", grids_of(found))
    raw = {(row["task"], row["value"]): row for row in table.raw}
    means = {
        value: np.mean(
            [r.measures[r.metric].value for r in found if r.variant == f"gain={value}" and r.task == "scenes"]
        )
        for value in SCENES
    }
    for value, mean in means.items():
        assert raw["scenes", value]["mean"] == pytest.approx(mean)
    assert raw["scenes", 0.0]["minus_best"] == pytest.approx(means[0.0] - means[0.1])
    assert raw["digits", 0.1]["p_closed"] == pytest.approx(2 / 2**8), "of the pair and of all three"
    build_report(save(found), tmp_path / "page")
    html, text = ((tmp_path / "page" / name).read_text() for name in ("index.html", "report.md"))
    assert "wave: one gain for all tasks?" in text
    assert "Needs tuning" in html
    assert len(list((tmp_path / "page" / "figures").glob("wave-gain-*-grid.svg"))) == 2

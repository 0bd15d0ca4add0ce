"""Sections on longer thinking, rules on grids, and captions: they show what records hold, and nothing where records hold none of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_records import make_record

from oscbench.analysis.study import Study
from oscbench.records import Measurement, Record
from oscbench.reporting.page.blocks import Block, walk
from oscbench.reporting.page.figure import Picture, Plan
from oscbench.reporting.page.table import Table
from oscbench.reporting.report import study_of
from oscbench.reporting.sections import loops, nearest_scenes, solved_grids, subsets

Save = Callable[..., Path]
RULE = {
    "rule": "reflect left-right, then gravity down",
    "demonstrations": [["10/00", "00/01"], ["20/00", "00/02"], ["30/00", "00/03"]],
    "hidden": "012/000",
    "truth": "000/210",
    "answer": "000/210",
}
SCENE = {"caption": "a three above a seven", "image": "0f/f0", "own": True}


def told(record: Record, details: dict[str, Any], **parts: float) -> Record:
    """The record with more scores of its metric, and with details of its headline."""
    head = record.measures[record.metric]
    measures = {
        f"{record.metric}_{name}": Measurement(
            value=value, unit="fraction", label=name, direction="higher", n=100
        )
        for name, value in parts.items()
    }
    own = {record.metric: head.model_copy(update={"details": details})}
    return record.model_copy(update={"measures": record.measures | measures | own})


def study(save: Save, records: list[Record]) -> Study:
    return study_of(save(records), (), ())


def tables(blocks: list[Block]) -> dict[str, Table]:
    return {block.name: block for block in walk(blocks) if isinstance(block, Table)}


def pictures(blocks: list[Block]) -> Iterator[Picture]:
    return (block.draw() for block in walk(blocks) if isinstance(block, Plan))


@pytest.fixture
def thinkers(save: Save) -> Study:
    """Two entries over three seeds, the second of which gains by more loops, and a floor."""
    records = []
    for seed in range(3):
        parts = {"hard_loops_4": 0.1, "hard_loops_8": 0.2, "easy_loops_4": 0.5, "easy_loops_8": 0.6}
        parts |= {"vote_random": 0.2, "vote_any": 0.5, "vote_majority": 0.3}
        records.append(told(make_record("plain", seed), {}, **parts, naked_singles=0.4))
        parts |= {"hard_loops_8": 0.4 + 0.01 * seed, "vote_starts_energy": 0.1}
        parts |= {"vote_starts_random": 0.1, "vote_starts_any": 0.3}
        records.append(told(make_record("wave", seed), {}, **parts, naked_singles=0.4))
    floor = told(make_record("chance", value=0.01), {}, hard_loops_1=0.0, hard_loops_2=0.0)
    records.append(
        floor.model_copy(update={"card": floor.card.model_copy(update={"traits": {"floor": True}})})
    )
    return study(save, records)


def test_scores_after_more_loops_stand_in_a_table_a_figure_each_and_votes_between_their_bounds(
    thinkers: Study,
) -> None:
    blocks = loops.section().blocks(thinkers)
    found = tables(blocks)
    hard = next(table for name, table in found.items() if name.endswith("loops-hard"))
    assert [column.heading for column in hard.columns] == ["Mechanism", "4 loops", "8 loops"], (
        "a floor thinks no longer"
    )
    rows = {row[0].text: row for row in hard.rows}
    assert set(rows) == {"plain", "wave"}
    assert rows["wave"][2].value == pytest.approx(0.41)
    assert "±" in rows["wave"][2].text
    assert {row["measure"] for row in hard.raw} == {"accuracy_hard_loops_4", "accuracy_hard_loops_8"}
    votes = next(table for name, table in found.items() if name.endswith("votes"))
    headings = [column.heading for column in votes.columns]
    views, starts = headings[1:4], headings[4:]
    assert views == ["one view at random", "by majority", "some view right"]
    assert starts == ["one start at random", "starts by energy", "some start right"]
    assert {row[0].text: row[5].text for row in votes.rows}["plain"] == "n/a"
    drawn = list(pictures(blocks))
    assert [picture.kind for picture in drawn] == ["loops-hard", "loops-easy"]
    assert "wave 10.0 %, 41.0 %" in drawn[0].alt


def test_what_the_section_on_thinking_shows_is_not_in_the_table_of_parts_too(thinkers: Study) -> None:
    (parts,) = tables(subsets.section().blocks(thinkers)).values()
    assert [column.heading for column in parts.columns] == [
        "Mechanism",
        "All (n 540)",
        "Naked singles (n 100)",
    ]


def test_rules_are_shown_with_the_answer_of_every_entry(save: Save) -> None:
    wrong = RULE | {"answer": None}
    records = [told(make_record("plain"), {"grids": [RULE]}), told(make_record("wave"), {"grids": [wrong]})]
    (experiment,) = study(save, records).experiments
    ((rule, tiles),) = solved_grids.rules_of(experiment).items()
    assert rule == RULE["rule"]
    assert [tile.text for tile in tiles[:6]] == ["shown", "becomes", "shown", "becomes", "asked", "truth"]
    assert {tile.text: tile.grid for tile in tiles[6:]} == {"plain ✓": "000/210", "wave ✗": None}
    picture = solved_grids.rule_picture(experiment, rule, tiles)
    assert "plain ✓" in picture.alt
    assert picture.svg.count("<path") > 30
    assert np.array_equal(solved_grids.read("012/340"), [[0, 1, 2], [3, 4, 0]])


def test_captions_are_shown_with_their_nearest_scenes(save: Save) -> None:
    records = [
        told(make_record("plain", seed), {"scenes": [SCENE, SCENE | {"own": False}]}) for seed in range(2)
    ]
    blocks = nearest_scenes.section().blocks(study(save, records))
    (picture,) = pictures(blocks)
    assert "A three above a seven: right; a three above a seven: wrong" in picture.alt
    assert np.array_equal(nearest_scenes.read("0f/f0"), [[0, 15], [15, 0]])


@pytest.mark.parametrize("section", [loops, solved_grids, nearest_scenes])
def test_a_section_without_its_records_is_empty(save: Save, section: Any) -> None:
    assert section.section().blocks(study(save, [make_record("plain"), make_record("wave")])) == []


@pytest.mark.parametrize(
    "details",
    [
        {"grids": 1, "scenes": {}},
        {"grids": [1, {}], "scenes": ["a", {}]},
        {"grids": [RULE | {"truth": "01/2"}], "scenes": [SCENE | {"image": "0x/f0"}]},
        {"grids": [RULE | {"demonstrations": []}], "scenes": [SCENE | {"image": "0f/f"}]},
        {"grids": [RULE | {"demonstrations": [["1"]]}], "scenes": [SCENE | {"image": ""}]},
        {"grids": [RULE | {"answer": "1²"}], "scenes": [SCENE | {"own": 1}]},
        {"grids": [RULE | {"rule": None}], "scenes": [SCENE | {"caption": 2}]},
    ],
)
def test_examples_that_no_task_writes_are_left_out(save: Save, details: dict[str, Any]) -> None:
    found = study(save, [told(make_record("plain"), details)])
    assert solved_grids.section().blocks(found) == []
    assert nearest_scenes.section().blocks(found) == []


def test_examples_that_differ_between_entries_are_not_set_side_by_side(save: Save) -> None:
    other = RULE | {"hidden": "000/012"}
    records = [told(make_record("plain"), {"grids": [RULE]}), told(make_record("wave"), {"grids": [other]})]
    (experiment,) = study(save, records).experiments
    experiment = replace(experiment, standings=tuple(sorted(experiment.standings, key=lambda s: s.name)))
    (tiles,) = solved_grids.rules_of(experiment).values()
    assert [tile.text for tile in tiles[6:]] == ["plain ✓"]

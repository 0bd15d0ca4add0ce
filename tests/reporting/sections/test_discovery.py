"""What is shown of training without labels: scores beside floors, and the same scenes with everybody's clusters."""

from __future__ import annotations

import base64
import zlib

import numpy as np
import pytest
from synthetic_records import make_record, replaced

from oscbench.analysis.experiment import Experiment
from oscbench.analysis.frame import Loaded
from oscbench.analysis.study import Study, assemble
from oscbench.records import Measurement, Record
from oscbench.reporting.page.blocks import Prose
from oscbench.reporting.page.figure import Plan
from oscbench.reporting.page.table import Table
from oscbench.reporting.sections.discovery import Discovery, matched, scenes_picture, scores_table

IMAGES = np.arange(2 * 1 * 8 * 8, dtype=np.uint8).reshape(2, 1, 8, 8)
OBJECTS = np.ones((2, 8, 8), dtype=np.uint8)
OBJECTS[:, :4, :4], OBJECTS[:, 4:, 4:], OBJECTS[0, 0, 7] = 2, 3, 0


def packed(values: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(values.tobytes())).decode()


def fraction(value: float, label: str, **details: object) -> Measurement:
    return Measurement(value=value, unit="fraction", label=label, direction="higher", details=details)


def cell(mechanism: str, seed: int, value: float, clusters: np.ndarray = OBJECTS) -> Record:
    kept = {
        "shape": [2, 1, 8, 8],
        "images": packed(IMAGES),
        "objects": packed(OBJECTS),
        "clusters": packed(clusters),
    }
    made = make_record(mechanism, seed, suite="blocks").model_copy(update={"metric": "fg_ari"})
    return replaced(
        made,
        {
            "fg_ari": fraction(value, "test FG-ARI", scenes=kept),
            "mbo": fraction(value / 2, "test MBO"),
            "ari": fraction(value / 4, "test ARI with background"),
        },
    )


def study(records: list[Record]) -> Study:
    return assemble(Loaded(tuple(records), (), ()), ())


def only(records: list[Record]) -> Experiment:
    (one,) = study(records).experiments
    return one


@pytest.fixture
def found() -> list[Record]:
    return [cell("plain", s, 0.4 + 0.1 * s, np.zeros((2, 8, 8), np.uint8)) for s in range(2)] + [
        cell("wave", s, 0.8) for s in range(2)
    ]


def test_all_scores_stand_beside_one_another_best_first(found: list[Record]) -> None:
    table = scores_table(only(found))
    assert table is not None
    assert [column.heading for column in table.columns] == [
        "Clusters of",
        "cells",
        "FG-ARI",
        "MBO",
        "ARI with background",
    ]
    assert [[one.text for one in row] for row in table.rows] == [
        ["wave", "2", "80.0 %", "40.0 %", "20.0 %"],
        ["plain", "2", "45.0 %", "22.5 %", "11.2 %"],
    ]
    assert len(table.raw) == 6


def test_clusters_have_the_colours_of_what_they_overlap_most() -> None:
    truth = OBJECTS[1]
    other_names = np.array([9, 7, 5, 6], dtype=np.uint8)[truth]
    assert np.array_equal(matched(other_names, truth), truth)
    # Two clusters in one object: the larger has its colour, the other one of its own.
    split = truth.copy()
    split[0, :4] = 9
    again = matched(split, truth)
    assert np.array_equal(again[1:], truth[1:])
    assert set(again[0, :4].tolist()) == {4}
    # One cluster for all has the colour of the ground, which is the largest.
    assert set(matched(np.zeros_like(truth), truth).ravel().tolist()) == {1}


def test_pictures_show_the_same_scenes_to_all(found: list[Record]) -> None:
    picture = scenes_picture(only(found))
    assert "wave 80.0 %; plain 45.0 %" in picture.alt
    assert picture.png.startswith(b"\x89PNG")
    # Scene, objects and two entries, two scenes each.
    assert picture.svg.count("<image") == 8


def test_the_section_is_for_what_saw_no_label_alone(found: list[Record]) -> None:
    assert [type(block) for block in Discovery().blocks(study(found))] == [Prose, Table, Plan]
    assert Discovery().blocks(study([make_record("plain")])) == []
    probed = [
        replaced(
            make_record("wave", seed).model_copy(update={"metric": "knn_accuracy"}),
            {"knn_accuracy": fraction(0.5, "test k-NN accuracy"), "linear_accuracy": fraction(0.6, "probe")},
        )
        for seed in range(2)
    ]
    (table,) = Discovery().blocks(study(probed))
    assert isinstance(table, Table)
    assert [c.heading for c in table.columns] == [
        "Features of",
        "cells",
        "k-NN accuracy",
        "accuracy of a linear probe",
    ]

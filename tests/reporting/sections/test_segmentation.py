"""Segmentation and binding in a report: classes by entry, pictures of the same images, and phases held against coordinates."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np
import pytest
from synthetic_records import make_record, replaced

from oscbench.analysis.experiment import Experiment
from oscbench.analysis.frame import Loaded
from oscbench.analysis.study import Study, assemble
from oscbench.records import Curve, Measurement, Record
from oscbench.reporting.documents import make
from oscbench.reporting.page.blocks import Folded, Prose
from oscbench.reporting.page.dynamics import _columns
from oscbench.reporting.page.figure import Plan
from oscbench.reporting.page.images import GROWN, painted, parted
from oscbench.reporting.page.table import Table
from oscbench.reporting.sections.binding import (
    Binding,
    attention_told,
    binding_picture,
    binding_table,
    over_training_picture,
    phases_told,
)
from oscbench.reporting.sections.segmentation import (
    Segmentation,
    classes_table,
    examples_picture,
    never_seen,
    part_of,
)

IMAGES = np.arange(2 * 3 * 6 * 8, dtype=np.uint8).reshape(2, 3, 6, 8)
TRUTH = np.zeros((2, 6, 8), dtype=np.uint8)
TRUTH[:, 2:4], TRUTH[0, 5] = 1, 255


def packed(values: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(values.tobytes())).decode()


def fraction(value: float, label: str = "test IoU of wall", **details: Any) -> Measurement:
    return Measurement(value=value, unit="fraction", label=label, direction="higher", details=details)


def cell(mechanism: str, seed: int, wall: float, found: np.ndarray | None = None) -> Record:
    kept = {
        "shape": [2, 3, 6, 8],
        "classes": ["rest", "wall"],
        "background": 0,
        "images": packed(IMAGES),
        "truth": packed(TRUTH),
        "answers": packed(TRUTH if found is None else found),
    }
    made = make_record(mechanism, seed, suite="scenes").model_copy(update={"metric": "miou"})
    details = {"never_seen": ["door"]} if seed else {}
    return replaced(
        made,
        {
            "miou": fraction(wall / 2, "test mIoU", **details),
            "pixel_accuracy": fraction(0.9, "test pixels right", examples=kept),
            "iou_wall": fraction(wall),
        },
    )


def study(records: list[Record]) -> Study:
    return assemble(Loaded(tuple(records), (), ()), ())


def only(records: list[Record]) -> Experiment:
    (one,) = study(records).experiments
    return one


@pytest.fixture
def segmented() -> list[Record]:
    wrong = TRUTH.copy()
    wrong[:, :2] = 1
    return [cell("plain", s, 0.4 + 0.1 * s, wrong) for s in range(2)] + [
        cell("wave", s, 0.8) for s in range(2)
    ]


def test_classes_are_rows_and_entries_columns(segmented: list[Record]) -> None:
    table = classes_table(only(segmented))
    assert table is not None
    shown = {row[0].text: [one.text for one in row[1:]] for row in table.rows}
    assert [column.heading for column in table.columns[1:]] == ["wave", "plain"]
    assert shown == {
        "MIoU": ["40.0 %", "22.5 %"],
        "Pixels right": ["90.0 %", "90.0 %"],
        "IoU of wall": ["80.0 %", "45.0 %"],
    }
    assert {row["cells"] for row in table.raw} == {2}
    assert never_seen(only(segmented)) == ["door"]


def test_pictures_show_the_same_images_to_all(segmented: list[Record]) -> None:
    picture = examples_picture(only(segmented))
    assert "wave 100.0 %" in picture.alt
    assert "plain 63.6 %" in picture.alt  # of 88 labelled pixels 32 are wrong
    assert picture.png.startswith(b"\x89PNG")
    # Image, truth and two entries, two images each.
    assert picture.svg.count("<image") == 8
    assert "data:image/png;base64" in picture.inline("x")


def test_segments_of_panoptic_answers_are_parted_by_lines(segmented: list[Record]) -> None:
    kept = dict(segmented[0].measures["pixel_accuracy"].details["examples"])
    numbers = np.arange(TRUTH.size, dtype=np.uint8).reshape(TRUTH.shape)
    kept |= {"truth_segments": packed(numbers), "answers_segments": packed(np.zeros_like(TRUTH))}
    measures = {"pq": fraction(0.5, "test PQ", examples=kept), "sq": fraction(0.8, "test SQ")}
    cells = [
        replaced(make_record(name, 0, suite="scenes").model_copy(update={"metric": "pq"}), measures)
        for name in ("plain", "wave")
    ]
    picture = examples_picture(only(cells))
    assert "dark lines between segments" in picture.alt
    assert picture.svg.count("<image") == 8
    table = classes_table(only(cells))
    assert table is not None
    assert [row[0].text for row in table.rows] == ["PQ", "SQ"]
    assert table.caption.startswith("Panoptic quality")
    # Two segments of one colour: a line where they meet, and none elsewhere.
    lined = parted(np.ones((1, 2, 3)), np.array([[1, 2]], dtype=np.uint8))
    dark = (lined < 0.5).all(-1)
    assert (dark.sum(), dark[:, GROWN].all()) == (GROWN, True)


def test_what_is_packed_comes_back_and_colours_part_classes(segmented: list[Record]) -> None:
    kept = segmented[0].measures["pixel_accuracy"].details["examples"]
    assert np.array_equal(part_of(kept, "images"), IMAGES)
    assert np.array_equal(part_of(kept, "truth"), TRUTH)
    for classes, background in ((11, 0), (11, None), (150, None)):
        labels = np.array([[*range(classes), 255]], dtype=np.uint8)
        colours = painted(labels, classes, background)[0]
        assert len(np.unique(colours.round(6), axis=0)) == classes + 1


def test_the_section_is_for_segmentation_alone(segmented: list[Record]) -> None:
    blocks = Segmentation().blocks(study(segmented))
    assert [type(block) for block in blocks] == [Plan, Prose, Folded]
    assert Segmentation().blocks(study([make_record("plain")])) == []


def phases(mechanism: str, seed: int, value: float) -> Record:
    def one(end: list[float], floors: dict[str, list[float]], **more: Any) -> Measurement:
        details = {"start": [0.5, 0.5], "end": end, "floors": floors, **more}
        return Measurement(value=end[-1], unit="1", label="made up", direction="higher", details=details)

    attention = {"even_attention": [0.07], "other_image": [0.1, 0.2]}
    found = {"binding_attention": one([0.1, 0.2 + 0.001 * seed], attention)}
    if mechanism == "wave":
        floors = {"start_phases": [0.55], "random_walk": [0.55, 0.45], "coordinates": [0.5]}
        found["binding_fg_ari"] = one([0.55, value + 0.01 * seed], floors, ceiling=0.9)
    return replaced(make_record(mechanism, seed), found)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (0.6, "FG-ARI 0.610 (0.500 coordinates: +0.110 [+0.0852, +0.135], more)"),
        (0.3, "FG-ARI 0.310 (0.500 coordinates: −0.190 [−0.215, −0.165], less)"),
        (0.49, "no clear difference"),
    ],
)
def test_phases_are_held_against_coordinates(value: float, told: str) -> None:
    cells = [phases(name, seed, value) for name in ("plain", "wave") for seed in range(3)]
    (found,) = phases_told(only(cells))
    assert found.startswith("wave: clusters of its last phases find objects with FG-ARI")
    assert told in found
    assert len(attention_told(only(cells))) == 2


def test_phases_are_held_against_brightness_where_records_have_it() -> None:
    """It groups more than coordinates do; a floor that one record lacks stands beside none."""
    cells = [phases(name, seed, 0.6) for name in ("plain", "wave") for seed in range(3)]
    for record in cells[3:]:
        record.measures["binding_fg_ari"].details["floors"]["bright_places"] = [0.58]
    (told,) = phases_told(only(cells))
    assert "FG-ARI 0.610 (0.580 coordinates of bright patches: +0.0300" in told
    assert "coordinates of bright patches" in binding_picture(only(cells), "fg_ari").svg, (
        "the strongest floor"
    )
    del cells[3].measures["binding_fg_ari"].details["floors"]["bright_places"]
    (told,) = phases_told(only(cells))
    assert "(0.500 coordinates: +0.110" in told


def test_binding_is_drawn_over_training_where_it_was_followed() -> None:
    made = []
    for record in (phases(name, seed, 0.6) for name in ("plain", "wave") for seed in range(2)):
        curves = {
            f"binding/attention/{layer}": Curve(label="a", unit="1", layer=layer, x=(0.0, 10.0), y=(0.1, 0.2))
            for layer in range(2)
        }
        made.append(record.model_copy(update={"curves": curves}))
    picture = over_training_picture(only(made))
    assert picture.alt == (
        "Lines over training steps, layer by layer: Attention inside the asking patch's object. Of wave and plain."
    )
    assert [type(block) for block in Binding().blocks(study(made))].count(Plan) == 3


def test_a_page_tells_where_binding_began_and_ended_and_when_it_was_half_way() -> None:
    made = []
    for seed in range(3):
        curves = {
            f"binding/attention/{layer}": Curve(
                label="a", unit="1", layer=layer, x=(0.0, 1.0, 4.0), y=(0.1, 0.1, 0.3 + layer)
            )
            for layer in range(2)
        }
        record = phases("wave", seed, 0.6).model_copy(update={"curves": curves, "suite": "scene_panoptic"})
        made.append(record)
    page = make("segmentation", Loaded(tuple(made), (), ()))
    (row,) = [line for line in page.text.splitlines() if line.startswith("| Attention inside")]
    assert [cell.strip() for cell in row.split("|")[2:-1]] == ["wave", "0.100", "1.30", "2 (3 of 3 seeds)"]
    assert "segmentation_scene_panoptic-light.svg" in page.text
    assert "segmentation_scene_panoptic-dark.svg" in page.pictures


def test_a_legend_has_as_many_columns_as_its_names_leave_room_for() -> None:
    assert _columns(["KoPE", "KoPE (frozen)", "RoPE (values)", "softmax"]) == 4
    many = [
        "RoPE (values)",
        "RoPE (values) at equal FLOPs",
        "RoPE (learned)",
        "KoPE",
        "KoPE (frozen)",
        "softmax",
    ]
    assert _columns(many) == 2
    assert _columns(["a" * 70, "b" * 70]) == 1


def test_binding_by_layer_stands_beside_its_floors() -> None:
    cells = [phases(name, seed, 0.6) for name in ("plain", "wave") for seed in range(3)]
    table = binding_table(only(cells))
    assert isinstance(table, Table)
    (row,) = [row for row in table.rows if row[0].text == "FG-ARI"]
    assert [one.text for one in row] == [
        "FG-ARI",
        "wave",
        "0.500",
        "0.550 → 0.610",
        "0.550",
        "0.450",
        "",
        "0.500",
        "",  # bright places, which these records lack
        "",
        "0.900",
    ]
    assert [row[1].text for row in table.rows if row[0].text == "attention"] == ["wave", "plain"]
    for quantity in ("fg_ari", "attention"):
        assert "In the last layer: wave" in binding_picture(only(cells), quantity).alt
    (single,) = phases_told(only(cells[3:4]))
    assert "too few cells for an interval" in single
    assert Binding().blocks(study([make_record("plain")])) == []
    kinds = [type(block) for block in Binding().blocks(study(cells))]
    assert kinds == [Prose, Prose, Plan, Plan, Folded]

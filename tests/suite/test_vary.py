"""A suite that varies is several suites: each point is what `--set` would make of it, label and identities included."""

from __future__ import annotations

import pytest

from oscbench.runner.plan import make_plan
from oscbench.suite import SuiteError, load_points, load_suite

SHARES = "{task.fraction: [0.05, 1.0]}"


def labels(path, *overrides):
    return [point.label for point in load_points(str(path), list(overrides))]


def mistake(path, *overrides):
    with pytest.raises(SuiteError) as caught:
        load_points(str(path), list(overrides))
    text = str(caught.value)
    assert "\n" not in text
    assert "tiny.yaml" in text
    return text


def test_a_point_is_the_suite_with_its_value_set(tiny):
    varied = load_points(str(tiny(vary=SHARES)))
    plain = tiny()
    for point, value in zip(varied, (0.05, 1.0), strict=True):
        by_hand = load_suite(str(plain), [f"task.fraction={value}"])
        assert (point.label, point.suite) == (by_hand.label, by_hand.suite)
        assert point.label == f"tiny[task.fraction={value}]"
        cells, others = (make_plan(one, only=[], device="cpu") for one in (point, by_hand))
        assert [cell.identity for cell in cells] == [cell.identity for cell in others]
        assert [cell.protocol for cell in cells] == [cell.protocol for cell in others]
        assert not any("vary" in cell.spec for cell in cells)


def test_points_have_protocols_of_their_own(tiny):
    points = load_points(str(tiny(vary=SHARES)))
    protocols = [{c.protocol for c in make_plan(p, only=[], device="cpu")} for p in points]
    assert all(len(found) == 1 for found in protocols)
    assert protocols[0] != protocols[1]


def test_several_keys_are_a_product(tiny):
    path = tiny(vary="{model.width: [16, 32], task.fraction: [0.5, 1.0]}")
    assert labels(path) == [
        f"tiny[model.width={width},task.fraction={share}]" for width in (16, 32) for share in (0.5, 1.0)
    ]


def test_the_label_holds_a_value_even_where_it_is_the_suites_own(tiny):
    """Width 16 is the tiny suite's, and a report must still find the point."""
    assert labels(tiny(vary="{model.width: [16, 32]}")) == ["tiny[model.width=16]", "tiny[model.width=32]"]


def test_set_joins_the_points_or_picks_one(tiny):
    path = tiny(vary=SHARES)
    assert labels(path, "train.epochs=2") == [
        "tiny[task.fraction=0.05,train.epochs=2]",
        "tiny[task.fraction=1.0,train.epochs=2]",
    ]
    assert labels(path, "train.epochs=1") == labels(path), "the suite's own epochs have no place in a label"
    assert labels(path, "task.fraction=0.05") == labels(path)[:1]
    assert labels(path, "task.fraction=0.3") == ["tiny[task.fraction=0.3]"]


def test_what_varies_can_be_set_and_is_not_in_the_label(tiny):
    assert labels(tiny(vary=SHARES), "vary={train.epochs: [1, 2]}") == [
        "tiny[train.epochs=1]",
        "tiny[train.epochs=2]",
    ]
    assert labels(tiny(vary=SHARES), "vary={}") == ["tiny"]
    assert labels(tiny()) == ["tiny"]
    with pytest.raises(SuiteError, match=r"--set vary.task.fraction=1: write all that varies"):
        load_points(str(tiny(vary=SHARES)), ["vary.task.fraction=1"])


def test_whole_tasks_vary_too(tiny):
    path = tiny(task="{name: digits, shift: 0}", vary="{task.fraction: [0.5], task: [digits]}")
    (point,) = load_points(str(path))
    assert (
        point.label
        == load_suite(str(tiny(task="{name: digits, shift: 0}")), ["task=digits", "task.fraction=0.5"]).label
    )
    assert point.suite.task.settings() == {"fraction": 0.5}, "a key lies below the task that was put in"


def test_timing_suites_vary_nothing():
    (only,) = load_points("timing_ops")
    assert only == load_suite("timing_ops")


@pytest.mark.parametrize(
    ("vary", "expected"),
    [
        ("{task.fraction: []}", "vary: got {'task.fraction': []}; \"task.fraction\" has no values"),
        ("{task.fraction: [0.5, 1.0, 0.5]}", '"task.fraction" has the value 0.5 twice'),
        ("{train.epochs: [1, 1.0]}", '"train.epochs" has the value 1.0 twice'),
        ("{train.epochs: 3}", "vary.train.epochs: got 3;"),
        ("{seeds: [1, 2]}", '"seeds" is not varied; allowed: task, model, match, train'),
        ("{mechanisms: [[kope]]}", "entries vary by their grid"),
        ("{mechanisms.0.name: [kope]}", "entries vary by their grid"),
        ("{vary: [1]}", '"vary" is not varied; allowed: task,'),
        ("{trainn.epochs: [1]}", 'did you mean "train"?'),
        ("{task..fraction: [1]}", '"task..fraction" is no path'),
        (
            "{train.epohcs: [1]}",
            'vary: at train.epohcs=1: train.epohcs: unknown key "epohcs"; did you mean "epochs"?',
        ),
        ("{train.epochs: [1, 0]}", "vary: at train.epochs=0: train.epochs: got 0;"),
        ("{train.epochs.more: [1]}", 'vary: at train.epochs.more=1: "train.epochs" in'),
        ("[task.fraction]", "vary: got ['task.fraction'];"),
    ],
)
def test_mistakes_are_one_line_with_the_place(tiny, vary, expected):
    assert expected in mistake(tiny(vary=vary))


def test_far_too_many_points_are_refused(tiny):
    many = list(range(1, 102))
    assert "101 × 101 points; at most 1000" in mistake(
        tiny(vary=f"{{train.epochs: {many}, train.batch_size: {many}}}")
    )


@pytest.mark.parametrize(
    ("vary", "expected"),
    [
        ("{task.fractoin: [0.5]}", 'unknown key "fractoin"; did you mean "fraction"?'),
        ("{model.width: [16, 17]}", "(in tiny[model.width=17])"),
        ("{task.fraction: [1.0, 2.0]}", "(in tiny[task.fraction=2.0])"),
    ],
)
def test_validate_finds_mistakes_of_every_point(tiny, oscbench, vary, expected):
    told = oscbench("validate", tiny(vary=vary))
    assert told.code == 2
    assert expected in told.err
    assert told.err.count("\n") == 1


def test_validate_counts_cells_and_points(tiny, oscbench):
    told = oscbench("validate", tiny(vary=SHARES))
    assert told.code == 0
    assert told.out.endswith("4 cells at 2 points, no mistakes\n")

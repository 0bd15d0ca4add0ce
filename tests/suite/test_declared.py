"""What a suite declares beforehand: comparisons, a margin, fresh seeds. It travels with every record and is no part of a cell."""

from __future__ import annotations

import pytest

from oscbench.runner.plan import make_plan
from oscbench.suite import SuiteError, expand, load_suite

MECHANISMS = "[softmax, kope, {name: rope, variant: values, settings: {rotate_values: true}}]"


def planned(tiny, **changes):
    return make_plan(load_suite(str(tiny(**({"mechanisms": MECHANISMS} | changes)))), only=[], device="cpu")


def test_declared_pairs_and_margin_stand_in_every_record_and_change_no_cell(tiny):
    plain = planned(tiny)
    cells = planned(
        tiny, compare='[kope − softmax, "rope:values - kope:default", [rope, softmax]]', margin="0.5 points"
    )
    assert [cell.identity for cell in cells] == [cell.identity for cell in plain]
    for cell in cells:
        assert cell.given["compare"] == [
            ["kope:default", "softmax:default"],
            ["rope:values", "kope:default"],
            ["rope:values", "softmax:default"],
        ], "in full: what the suite gains later under a bare name is not what was declared"
        assert cell.given["margin"] == "0.5 points"
    assert not {"compare", "margin", "positions"} & plain[0].given.keys()


def test_a_name_of_several_entries_stays_one_that_validation_chooses_among(tiny):
    twice = "[softmax, {name: rope, variant: a}, {name: rope, variant: b, settings: {rotate_values: true}}]"
    (pair,) = planned(tiny, mechanisms=twice, compare="[rope - softmax]")[0].given["compare"]
    assert pair == ["rope", "softmax:default"]


def test_fresh_seeds_are_a_count_from_a_number(tiny):
    cells = planned(tiny, mechanisms="[softmax]", seeds="{from: 100, count: 3}")
    assert [cell.spec["seed"] for cell in cells] == [100, 101, 102]
    listed = planned(tiny, mechanisms="[softmax]", seeds="[100, 101, 102]")
    assert [cell.identity for cell in listed] == [cell.identity for cell in cells]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"compare": "[kope - sofmax]"}, 'compare[0]: no entry of this suite is called "sofmax"; did you'),
        ({"compare": '["kope - rope:valuez"]'}, 'called "rope:valuez"; did you mean "rope:values"?'),
        ({"compare": "[kope]"}, 'compare[0]: got "kope"; a comparison is two entries'),
        ({"compare": "[kope - kope]"}, "kope is not compared with itself"),
        ({"compare": "[a - b - c]"}, "a comparison is two entries"),
        ({"compare": "kope - softmax"}, 'compare: got "kope - softmax"'),
        ({"margin": "0.5"}, "margin: got 0.5; a margin has a unit, as in 0.5 points"),
        ({"margin": '"0.5"'}, "margin: got '0.5'; allowed: a number above 0 with its unit"),
        ({"margin": "0.5 pints"}, "margin: got '0.5 pints'; allowed: a number above 0 with its unit"),
        ({"margin": "0.5 bits"}, "margin: got '0.5 bits'; allowed: a number of `points` for test accuracy"),
        (
            {"margin": "0.5 points", "task": "word_lm", "model": "{width: 32, heads: 2, layers: 1}"},
            "margin: got '0.5 points'; allowed: none, since test perplexity, words of",
        ),
        ({"seeds": "{from: 100}"}, "seeds: got {'from': 100}; seeds are how many"),
        ({"seeds": "{from: 100, count: 0}"}, "at least one seed is needed"),
        ({"seeds": "{from: -1, count: 2}"}, "seeds are 0 or more"),
        ({"seeds": "{from: a, count: 2}"}, "seeds are how many"),
    ],
)
def test_mistakes_are_one_line(changes, expected, tiny):
    with pytest.raises(SuiteError) as caught:
        planned(tiny, **changes)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_positions_crossed_with_an_unknown_mechanism_are_refused_with_the_place(tiny):
    """Whoever expands a suite that nobody has planned, as a report counting what is unfinished, is told so as well."""
    loaded = load_suite(str(tiny(mechanisms="[softmax, oftmax]", positions="[learned]")))
    with pytest.raises(
        SuiteError, match=r'tiny.yaml: mechanisms\[1\]: got "oftmax"; did you mean "softmax"\?'
    ):
        expand(loaded.suite, loaded.source)


def test_a_suite_says_before_it_runs_where_no_verdict_can_come_of_it(tiny, oscbench):
    eight = {"mechanisms": MECHANISMS, "compare": "[kope - softmax]", "seeds": 8}
    few = oscbench("validate", tiny(**eight | {"seeds": 7}))
    assert "estimates only: 7 paired seeds, and a verdict takes at least 8" in few.err
    own = "[{name: softmax, seeds: 3}, kope, {name: rope, variant: values, settings: {rotate_values: true}}]"
    assert "3 paired seeds" in oscbench("validate", tiny(**eight | {"mechanisms": own})).err
    for enough in (
        eight | {"mechanisms": own, "compare": "[kope - rope]"},
        eight,
        eight | {"compare": "", "seeds": 2},
    ):
        assert "estimates only" not in oscbench("validate", tiny(**enough)).err
    names = [
        "kope - softmax",
        "kope - rope",
        "rope - softmax",
        "softmax - rope",
        "softmax - kope",
        "rope - kope",
    ]
    many = oscbench("validate", tiny(**eight | {"compare": str(names)}))
    assert many.code == 0
    assert "6 comparisons are declared, and a verdict takes at most 5" in many.err

"""A search whose choice stands at an end goes beyond it by itself, twice at most, six trials at most, and says so."""

from __future__ import annotations

import math

import pytest
from trial_records import record_of

from oscbench.records import Store
from oscbench.records.identity import protocol
from oscbench.records.ledger import ledger_path, read_ledger, write_ledger
from oscbench.runner.flows import extended
from oscbench.runner.plan import make_plan
from oscbench.runner.training.search import ledger_of, search, searches, with_choices
from oscbench.runner.training.space import beyond, widened
from oscbench.runner.training.specs import recipe
from oscbench.suite import load_suite
from oscbench.suite.tune import Axis


def ranged(low, high, log=False):
    return Axis(low=low, high=high, log=log)


@pytest.mark.parametrize(
    ("axis", "end", "expected"),
    [
        (ranged(1e-4, 1e-2, log=True), "high", [0.02, 0.04]),
        (ranged(1e-4, 1e-2, log=True), "low", [5e-5, 2.5e-5]),
        (ranged(0.25, 1.0), "high", [1.38, 1.75]),
        (ranged(2, 8), "high", [9, 10]),
        (ranged(2, 8, log=True), "high", [16, 32]),
        (Axis(choices=[2, 4, 8]), "high", [16, 32]),
        (Axis(choices=[8, 2, 4]), "low", [1, 0.5]),
        (Axis(choices=[0.0, 0.02, 0.05, 0.1, 0.2]), "high", [0.4, 0.8]),
        (Axis(choices=[1, 2, 3]), "high", [4, 5]),
    ],
)
def test_values_beyond_an_end_go_on_as_the_axis_does(axis, end, expected):
    assert beyond(axis, end) == pytest.approx(expected)
    wide = widened(axis, expected)
    if axis.choices is None:
        assert set(wide.ends()) == {axis.low if end == "high" else axis.high, beyond(axis, end)[-1]}
    else:
        assert wide.choices == [*axis.choices, *expected]


def begun(tiny, best, space="{train.learning_rate: {low: 1e-4, high: 1e-2, log: true}}", extend=""):
    """Searches of a suite in which the learning rate `best` is best, and who scores their trials."""
    loaded = load_suite(
        str(tiny(mechanisms="[softmax, kope]", tune=f"{{trials: 5, seeds: 1, {extend} space: {space}}}"))
    )
    cells = make_plan(loaded, only=[], device="cpu")

    def run(asked):
        found = []
        for cell in asked:
            chosen = recipe(cell.spec)["learning_rate"]
            score = 1.0 - 0.1 * abs(math.log(chosen / best)) - cell.spec["mechanism"].get("gamma", 0.0)
            record = record_of(cell)
            metric = record.measures["validation_accuracy"].model_copy(update={"value": score})
            found.append(
                record.model_copy(update={"measures": {**record.measures, "validation_accuracy": metric}})
            )
        return found

    return searches(loaded.suite, loaded.source, cells), run, cells


def test_choice_at_the_end_is_followed_beyond_it_and_the_better_value_is_chosen(tiny):
    found, run, cells = begun(tiny, best=0.018, space="{train.learning_rate: {choices: [1e-3, 3e-3, 9e-3]}}")
    search(found, run)
    for one in found:
        rates = [row.values["train.learning_rate"] for row in one.rows]
        assert [row.extension for row in one.rows] == [0] * 5 + [1, 1]
        assert rates[5:] == pytest.approx([0.027, 0.081])
        assert one.best().values["train.learning_rate"] == pytest.approx(0.027)
        assert one.finished
        (extension,) = one.entry().extensions
        assert (extension.place, extension.end, extension.chosen) == ("train.learning_rate", "high", 9e-3)
        assert one.entry().reached["train.learning_rate"]["choices"] == [1e-3, 3e-3, 9e-3, 0.027, 0.081]
        assert "learning_rate 0.009 is at the high end of its range; going on to 0.027, 0.081" in extended(
            one, extension
        )
    tuned = with_choices(cells, found)
    assert {recipe(cell.spec)["learning_rate"] for cell in tuned} == {0.027}
    assert len({protocol(cell.spec) for cell in tuned}) == 1


def test_it_goes_beyond_twice_at_most(tiny):
    found, run, _ = begun(tiny, best=1e3, space="{train.learning_rate: {choices: [1e-3, 2e-3, 4e-3]}}")
    search(found, run)
    for one in found:
        assert [row.extension for row in one.rows] == [0] * 5 + [1, 1, 2, 2]
        assert one.best().values["train.learning_rate"] == pytest.approx(0.064)


def test_several_ends_share_six_trials_nearest_first(tiny):
    space = "{train.learning_rate: {choices: [1e-3, 2e-3, 4e-3]}, train.weight_decay: {choices: [0.01, 0.1, 1.0]}}"
    found, run, _ = begun(tiny, best=1e3, space=space)
    one = found[0]

    def scored(asked):
        made = []
        for cell, record in zip(asked, run(asked), strict=True):
            metric = record.measures["validation_accuracy"]
            value = metric.value + recipe(cell.spec)["weight_decay"]
            measured = {**record.measures, "validation_accuracy": metric.model_copy(update={"value": value})}
            made.append(record.model_copy(update={"measures": measured}))
        return made

    one.tune = one.tune.model_copy(update={"trials": 9})
    search([one], scored)
    further = [row for row in one.rows if row.extension]
    assert len(one.rows) == 9 + 6
    assert [row.extension for row in further] == [1] * 4 + [2] * 2
    assert [round(row.values["train.learning_rate"], 4) for row in further[:4]] == [
        0.008,
        0.004,
        0.016,
        0.004,
    ]


def test_choice_inside_stays_and_every_entry_has_as_many_trials(tiny):
    found, run, _ = begun(tiny, best=2e-3, space="{train.learning_rate: {choices: [1e-3, 2e-3, 4e-3]}}")
    search(found, run)
    assert [[row.extension for row in one.rows] for one in found] == [[0] * 5] * 2
    assert all(one.entry().extensions == () for one in found)


def test_what_a_mechanism_does_not_allow_is_not_tried(tiny):
    space = "{settings.gamma: {choices: [0.0, 0.02, 0.1]}}"
    found, run, _ = begun(tiny, best=1e-3, space=space)
    kope = found[1]
    search([kope], run)
    assert kope.best().values["settings.gamma"] == 0.0
    assert kope.entry().extensions == (), "γ below 0 is refused by the mechanism"
    assert len(kope.rows) == 5


def test_extension_can_be_turned_off_and_then_the_spec_is_as_it_was(tiny):
    space = "{train.learning_rate: {choices: [1e-3, 2e-3, 4e-3]}}"
    off, run, cells = begun(tiny, best=1e3, space=space, extend="extend: 0,")
    search(off, run)
    assert [len(one.rows) for one in off] == [5, 5]
    assert "extend" not in cells[0].spec["tune"]
    _, _, cells = begun(tiny, best=1e3, space=space)
    assert cells[0].spec["tune"]["extend"] == 2


def test_stopped_extension_goes_on_with_the_same_trials_and_its_ledger_says_it_is_not_done(tiny, tmp_path):
    space = "{train.learning_rate: {choices: [1e-3, 2e-3, 4e-3]}}"
    whole, run, _ = begun(tiny, best=1e3, space=space)
    search(whole, run)
    stopped, run, _ = begun(tiny, best=1e3, space=space)
    kept = {}

    def six_rounds(asked):
        if len(kept) < 8:  # three choices of each, and the first trial beyond
            kept.update({record.identity: record for record in run(asked)})
        return [kept[cell.identity] for cell in asked if cell.identity in kept]

    search(stopped, six_rounds)
    assert [one.num_further for one in stopped] == [1, 1]
    assert not any(one.finished for one in stopped)
    store = Store(tmp_path / "results")
    write_ledger(store, ledger_of(stopped))
    (ledger,) = [read_ledger(ledger_path(store, "tiny"))]
    assert [entry.finished for entry in ledger.entries] == [False, False]
    search(stopped, run)
    assert [[row.values for row in one.rows] for one in stopped] == [
        [row.values for row in one.rows] for one in whole
    ]


def test_trials_may_be_shorter_than_what_is_reported(tiny):
    space = "{train.learning_rate: {choices: [1e-3, 2e-3, 4e-3]}}"
    found, run, cells = begun(tiny, best=2e-3, space=space, extend="steps: 7,")
    (trial,) = found[0].ask()
    assert trial.spec["train"]["steps"] == 7
    assert "epochs" not in trial.spec["train"]
    assert cells[0].spec["train"]["epochs"] == 1
    search(found, run)
    tuned = with_choices(cells, found)
    assert all("steps" not in recipe(cell.spec) for cell in tuned)
    cell_of_a_long_search = begun(tiny, best=2e-3, space=space)[2][0]
    assert cell_of_a_long_search.protocol != cells[0].protocol

"""What somebody's task, measure or mechanism gives and may not: its cell says in a line whose it is, what came and what is wanted."""

from __future__ import annotations

import re

import pytest

from oscbench.errors import PartError
from oscbench.runner.cell import run_cell
from oscbench.runner.floors import floor_cells
from oscbench.runner.plan import make_plan
from oscbench.suite import load_suite
from oscbench.tasks import Metric


@pytest.fixture
def cell_of(tiny):
    """The record of the one cell of a tiny suite."""

    def run(**changes):
        small = {"train": "{epochs: 1, batch_size: 16}", "mechanisms": "[softmax]"}
        task = {"task": "'throwaway_parts:Stripes'"}
        loaded = load_suite(str(tiny(**(task | small | changes))))
        (cell,) = [cell for cell in make_plan(loaded, only=[], device="cpu") if cell.spec["kind"] == "train"]
        return run_cell(cell, lambda done, total: None)

    return run


def part(name):
    return f"'throwaway_parts:{name}'"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("EmptyTest", "task throwaway_parts: split test is empty"),
        ("NoValidation", "task throwaway_parts: split validation is missing; there are: train, test"),
        ("Unequal", "task throwaway_parts: split train has 31 inputs and 32 targets"),
        ("NotFinite", "task throwaway_parts: split train has inputs that are not finite"),
        ("EmptyStream", "task throwaway_parts: split validation is empty"),
        ("ThirdClass", "task throwaway_parts: split train has the class 2; its inputs say 0 to 1"),
        (
            "FloatClass",
            "task throwaway_parts: split train has targets in torch.float32; wanted: a class each, in torch.int64",
        ),
        ("NoHeadline", "task throwaway_parts: its validation split gave no accuracy, which is its headline"),
    ],
)
def test_a_task_that_nothing_can_be_tested_on_is_no_success(cell_of, name, reason):
    record = cell_of(task=part(name))
    assert (record.status, record.reason) == ("failed", reason)


def test_a_token_beyond_the_vocabulary_is_told_before_an_embedding_stumbles(cell_of):
    record = cell_of(task=part("UnknownToken"), model="{width: 8, heads: 2, layers: 1}")
    reason = "task throwaway_parts: split train has the token 4; its inputs say 0 to 3"
    assert (record.status, record.reason) == ("failed", reason)


def test_a_metric_has_a_direction():
    with pytest.raises(PartError, match="Metric accuracy: direction: got 'up'; allowed: higher, lower"):
        Metric("accuracy", "test accuracy", "fraction", "up")


def test_a_headline_that_is_no_number_is_no_success(cell_of):
    record = cell_of(task=part("NanHeadline"))
    assert record.status == "diverged"
    assert record.reason == "the loss stayed a number, but the test accuracy is nan"


@pytest.mark.parametrize(
    "task",
    ["digits", "{name: object_discovery, blocks: 2, train_scenes: 64, validation_scenes: 4, test_scenes: 4}"],
)
def test_a_model_that_says_no_number_has_diverged_whatever_its_score(cell_of, task):
    """The last step breaks the weights: no loss is taken of them, the argmax of nothing is class 0, and of features there are no clusters."""
    record = cell_of(
        task=task, train="{steps: 1, batch_size: 32, learning_rate: 1e30, warmup: 0, validate_every: 1}"
    )
    assert (record.status, record.reason) == (
        "diverged",
        "the loss stayed a number, but what the model says after its last step is none",
    )


@pytest.mark.parametrize("wrong", ["EmptyTest", "NoHeadline", "NanHeadline"])
def test_a_floor_without_a_result_is_no_success(tiny, wrong):
    loaded = load_suite(str(tiny(task=part(wrong), mechanisms="[softmax]", floors="true")))
    floor, *_ = floor_cells(loaded, make_plan(loaded, only=[], device="cpu"))
    record = run_cell(floor, lambda done, total: None)
    assert record.status == "failed"
    assert record.reason.startswith("task throwaway_parts: ")


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["Headline"], '{0}: gives "accuracy", which task throwaway_parts:Stripes gives already'),
        (["Early"], 'task throwaway_parts:Stripes: gives "accuracy", which {0} gives already'),
        (["OwnTwice", "Gives"], '{1}: gives "three", which {0} gives already'),
        (["Loss"], '{0}: gives curve "train_loss", which training gives already'),
    ],
)
def test_no_measure_writes_over_what_another_gave(cell_of, names, reason):
    record = cell_of(measures=f"[{', '.join(map(part, names))}]")
    owners = [f"measure throwaway_parts:{name}" for name in names]
    assert (record.status, record.reason) == ("failed", f"{reason.format(*owners)}; name it otherwise")


def test_a_measure_may_give_its_own_quantity_again(cell_of):
    record = cell_of(measures=f"[{part('OwnTwice')}]")
    assert (record.status, record.measures["three"].value) == ("ok", 3.0)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("NothingGiven", "after gave None; wanted: Findings"),
        ("DictGiven", "after gave a dict; wanted: Findings"),
        ("FloatGiven", "after gave a float as 'three'; wanted: Measurement"),
        ("FlagGiven", "after gave a str in flags; wanted: a list of str"),
    ],
)
def test_a_measure_that_gives_the_wrong_thing_is_told_so(cell_of, name, reason):
    record = cell_of(measures=f"[{part(name)}]")
    assert (record.status, record.reason) == ("failed", f"measure throwaway_parts:{name}: {reason}")


def test_a_value_that_is_no_number_is_null_with_a_reason(cell_of):
    found = cell_of(measures=f"[{part('NanGiven')}]").measures["three"]
    assert (found.value, found.reason) == (None, "not finite")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "MixesTensor",
            "MixesTensor.mix: layer 0: gave a Tensor; wanted: Mixed, as in `return Mixed(update)`",
        ),
        ("MixesNothing", "MixesNothing.mix: layer 0: gave None; wanted: Mixed, as in `return Mixed(update)`"),
        ("CountsInt", "CountsInt.operations: gave an int; wanted: Operations"),
    ],
)
def test_a_mechanism_that_gives_the_wrong_thing_is_told_so(cell_of, name, reason):
    record = cell_of(mechanisms=f"[{part(name)}]", measures="[flops]")
    assert (record.status, record.reason) == ("failed", reason)


def test_weights_of_another_shape_are_not_taken_for_attention(cell_of):
    record = cell_of(mechanisms=f"[{part('TellsOfOneExample')}]", measures="[health]")
    told = r"TellsOfOneExample\.mix: layer 0: the diagnostic attention must be \((\d+), (\d+), (\d+), \3\), got \(\2, \3, \3\)"
    assert record.status == "failed"
    assert re.fullmatch(told, record.reason), record.reason


def test_a_reason_says_where_it_broke(cell_of):
    record = cell_of(mechanisms=f"[{part('Shapes')}]")
    assert record.status == "failed"
    assert re.fullmatch(r"RuntimeError: .*shape.* \(throwaway_parts\.py:\d+\)", record.reason)


def test_a_reason_of_settings_that_were_refused_names_field_and_message(cell_of):
    record = cell_of(measures=f"[{part('Down')}]")
    assert record.reason.startswith("ValidationError: Measurement.direction: Input should be 'higher'")
    assert re.search(r", got 'down' \(throwaway_parts\.py:\d+\)$", record.reason)

"""Every mistake in a suite is one line that names the place, what was found and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, ValidationError

from oscbench.suite import SuiteError, expand, load_suite, select
from oscbench.suite.errors import explain

LINES = {
    "task": "digits",
    "train": "{epochs: 1}",
    "mechanisms": "[softmax, kope]",
    "seeds": "1",
}


@pytest.fixture
def suite(tmp_path):
    def write(text=None, **changes):
        path = tmp_path / "mine.yaml"
        lines = [f"{key}: {value}" for key, value in (LINES | changes).items() if value is not None]
        path.write_text("\n".join(lines) if text is None else text)
        return str(path)

    return write


def mistake(path, *overrides):
    with pytest.raises(SuiteError) as caught:
        load_suite(path, list(overrides))
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"trainn": "{epochs: 1}"}, 'trainn: unknown key "trainn"; did you mean "train"?'),
        ({"trainn": "{epochs: 1}", "train": None}, 'trainn: unknown key "trainn"; did you mean "train"?'),
        ({"train": "{epohcs: 1}"}, 'train.epohcs: unknown key "epohcs"; did you mean "epochs"?'),
        ({"train": "{}"}, "train: got {}; give either epochs or steps"),
        (
            {"train": "{epochs: 1, steps: 5}"},
            "give either epochs or steps; to leave one out with --set, make it null: --set train.epochs=null",
        ),
        ({"train": None}, "train: missing"),
        ({"train": "{epochs: 0}"}, "train.epochs: got 0;"),
        ({"train": "{epochs: many}"}, 'train.epochs: got "many";'),
        ({"train": "{epochs: 1.5}"}, "train.epochs: got 1.5;"),
        ({"train": "{epochs: true}"}, "train.epochs: got True;"),
        (
            {"train": "{epochs: 1, learning_rate: .inf}"},
            "train.learning_rate: got inf; a number must be finite",
        ),
        (
            {"train": "{epochs: 1, learning_rate: .nan}"},
            "train.learning_rate: got nan; a number must be finite",
        ),
        ({"train": "[epochs, 1]"}, "train: got"),
        ({"mechanisms": "[]"}, "mechanisms: got []"),
        ({"mechanisms": "softmax"}, 'mechanisms: got "softmax"; this is a list, as in [a, b]'),
        ({"mechanisms": "[3]"}, "mechanisms[0]: got 3; this is a mapping, as in {key: value}"),
        ({"train": "3"}, "train: got 3; this is a mapping, as in {key: value}"),
        ({"floors": "3"}, "floors: got 3; allowed: true, false"),
        (
            {"mechanisms": "[{name: kope, gamma: 0.2}]"},
            "what the mechanism itself takes stands under settings, as in settings: {gamma: 0.2}",
        ),
        ({"mechanisms": "[{namee: kope}]"}, 'mechanisms[0].namee: unknown key "namee"; did you mean "name"?'),
        ({"mechanisms": "[{name: kope, variant: ''}]"}, 'mechanisms[0].variant: got ""'),
        ({"mechanisms": "[{name: kope, variant: 'a,b'}]"}, 'mechanisms[0].variant: got "a,b"'),
        ({"mechanisms": "[{name: kope, grid: {gamma: []}}]"}, "grid over gamma has no values"),
        ({"mechanisms": "[{name: kope, grid: {gamma: 1}}]"}, "mechanisms[0].grid.gamma: got 1"),
        (
            {"match": "{by: param}"},
            'match.by: got "param"; allowed: params, flops, time, none; did you mean "params"?',
        ),
        ({"match": "{tolerance: 2}"}, "match.tolerance: got 2;"),
        ({"seeds": "0"}, "seeds: got 0; at least one seed is needed"),
        ({"seeds": "[1, 1]"}, "seeds: got [1, 1]; a seed is named twice"),
        (
            {"measures": "[params, {name: latency}, latency]"},
            "measures[2].name: latency stands there twice",
        ),
        ({"seeds": "[-1]"}, "seeds: got [-1]; seeds are 0 or more"),
        ({"seeds": "yes"}, "seeds: got True;"),
        ({"device": "gpu"}, 'device: got "gpu"; allowed: auto, cpu, cuda'),
        ({"threads": "0"}, "threads: got 0;"),
        ({"name": "../elsewhere"}, 'name: got "../elsewhere"'),
        ({"name": ".."}, 'name: got ".."'),
        ({"description": "!!binary aGk="}, "description: got b'hi'"),
        ({"3": "4"}, "got 3; keys should be strings"),
        ({"seeds": '"two\\nlines"'}, 'seeds: got "two\\nlines"'),
    ],
)
def test_mistake_names_file_place_value_and_what_is_allowed(suite, changes, expected):
    path = suite(**changes)
    text = mistake(path)
    assert text.startswith(f"{path}: ")
    assert expected in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is empty"),
        ("# only a comment\n", "is empty"),
        ("- a\n- b\n", "holds a list"),
        ("just words", "holds a text"),
        ("a: [1,\nb: 2", "line 2: not readable as YAML"),
        ("a: 1\nb: 2\na: 3\n", 'line 3: not readable as YAML: key "a" is named twice'),
        ("train: {epochs: 1, epochs: 2}", 'key "epochs" is named twice'),
        ("a: 2020-13-45", "not readable as YAML"),
        ("a: !!int words", "not readable as YAML"),
        ("? [a, b]\n: 1", "not readable as YAML"),
        ("a: " + "[" * 5000, "not readable as YAML"),
        ("a: &a [*a]", "holds itself"),
        (
            "\n".join(["a0: &a0 [x, x]", *(f"a{i + 1}: &a{i + 1} [*a{i}, *a{i}]" for i in range(30))]),
            "too large",
        ),
    ],
)
def test_file_that_is_no_suite_is_one_line(suite, text, expected):
    path = suite(text)
    said = mistake(path)
    assert said.startswith(f"{path}: ")
    assert expected in said


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system", "!!python/object/new:os.system", "!python/name:os.system"]
)
def test_python_tags_are_never_executed(suite, tmp_path, tag):
    victim = tmp_path / "executed"
    assert "not readable as YAML" in mistake(suite(f'a: {tag} ["touch {victim}"]'))
    assert "not readable as YAML" in mistake(suite(), f'description={tag} ["touch {victim}"]')
    assert not victim.exists()


def test_bytes_that_are_no_text_are_one_line(suite, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xff\xfe\x00\x01: 1")
    assert mistake(str(path)).endswith("mine.yaml: line 1: is no text in UTF-8; save the file as UTF-8")


def test_a_file_whose_name_cannot_be_a_suites_says_so_and_a_name_of_its_own_is_taken(suite, tmp_path):
    text = Path(suite()).read_text(encoding="utf-8")
    path = tmp_path / "größter Versuch.yaml"
    path.write_text(text, encoding="utf-8")
    assert "name: missing, and the file's own is none for records; allowed: letters" in mistake(str(path))
    path.write_text(f"name: mine\n{text}", encoding="utf-8")
    assert load_suite(str(path)).suite.name == "mine"


def test_a_folder_is_no_suite_whatever_its_name(tmp_path):
    assert mistake(str(tmp_path)) == f"{tmp_path}: is a folder; a suite is a YAML file"


def test_a_place_as_messages_write_it_is_told_as_set_takes_it(suite):
    told = mistake(suite(), "mechanisms[0].name=kope")
    assert told.endswith("a number between dots, as in mechanisms.0.name=kope")


def test_where_one_of_two_types_would_do_the_place_is_the_settings():
    class Either(BaseModel):
        draw: Literal["fixed", "per_seed"] | int = 0

    with pytest.raises(ValidationError) as caught:
        Either.model_validate({"draw": "per_sed"})
    told = explain(caught.value, Either, ("task",))
    assert told == 'task.draw: got "per_sed"; allowed: fixed, per_seed; did you mean "per_seed"?'


def test_missing_file_names_the_nearest_suite(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert mistake("smokee") == 'no suite "smokee"; did you mean "smoke"?'
    assert mistake("elsewhere/smoke.yaml") == 'elsewhere/smoke.yaml: no such file; did you mean "smoke"?'
    assert "no such file" in mistake(str(tmp_path / "suites" / "smoke.yaml"))
    assert mistake("").startswith('no suite ""')
    assert "no such file" in mistake(str(tmp_path / "nothing" / "x"))


def test_suites_are_found_by_name_and_by_their_usual_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_suite("smoke").suite == load_suite("suites/smoke.yaml").suite
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "smoke.yaml").write_text("\n".join(f"{k}: {v}" for k, v in LINES.items()))
    assert load_suite("smoke").suite.train.epochs == 1, "the working folder's own suite comes first"


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "1.e-3", "0.001", "1.0e-3", "+1e-3"])
def test_numbers_are_numbers_however_they_are_written(suite, text):
    assert load_suite(suite(train=f"{{epochs: 1, learning_rate: {text}}}")).suite.train.learning_rate == 1e-3
    assert load_suite(suite(), [f"train.learning_rate={text}"]).suite.train.learning_rate == 1e-3


def test_seeds_are_a_list_or_how_many(suite):
    assert load_suite(suite(seeds="3")).suite.seeds == [0, 1, 2]
    assert load_suite(suite(seeds="[7, 3]")).suite.seeds == [7, 3]


def test_an_entry_may_run_the_first_seeds_alone(suite):
    path = suite(mechanisms="[softmax, {name: kope, seeds: 2}]", seeds="[5, 3, 9]")
    assert [(cell.mechanism, cell.seed) for cell in cells(path)] == [
        ("softmax", 5),
        ("kope", 5),
        ("softmax", 3),
        ("kope", 3),
        ("softmax", 9),
    ]


def test_an_entry_has_no_more_seeds_than_the_suite(suite):
    path = suite(mechanisms="[softmax, {name: kope, seeds: 2}]", seeds="1")
    assert "mechanisms[1].seeds: 2 are more than the suite's 1" in mistake(path)


def test_bare_names_are_names_without_settings(suite):
    assert load_suite(suite(task="{name: digits}")).suite == load_suite(suite()).suite
    assert load_suite(suite(mechanisms="[{name: softmax}, {name: kope}]")).suite == load_suite(suite()).suite


def test_merge_keys_and_anchors_stay_apart_when_one_place_is_set(suite):
    path = suite(
        mechanisms="[{name: kope, variant: a, settings: &s {gamma: 1.0}}, {name: kope, variant: b, settings: *s}]"
    )
    loaded = load_suite(path, ["mechanisms.0.settings.gamma=2.0"]).suite
    assert [entry.settings["gamma"] for entry in loaded.mechanisms] == [2.0, 1.0]
    merged = suite(mechanisms="[&a {name: kope, variant: a}, {<<: *a, variant: b}]")
    assert [entry.variant for entry in load_suite(merged).suite.mechanisms] == ["a", "b"]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train.epochs", "write it as key.path=value"),
        ("=3", "write it as key.path=value"),
        ("train.epohcs=3", 'train.epohcs: unknown key "epohcs"; did you mean "epochs"?'),
        ("trainn.epochs=3", 'trainn: unknown key "trainn"; did you mean "train"?'),
        ("train.epochs=none", 'train.epochs: got "none"'),
        ("train.epochs=[1", "the value is not readable as YAML"),
        ("train.epochs={a: 1, a: 2}", 'the value is not readable as YAML: key "a" is named twice'),
        ("train.epochs=.inf", "must be finite"),
        ("train.epochs.deeper=1", "holds no keys"),
        ("train.epochs.deeper.still=1", "nothing lies below"),
        ("mechanisms.2.name=kope", '"2" is no place in a list of 2'),
        ("mechanisms.kope.name=kope", '"kope" is no place in a list of 2'),
        ("mechanisms.².name=kope", '"²" is no place in a list of 2'),
        ("mechanisms.-1=kope", '"-1" is no place in a list of 2'),
    ],
)
def test_bad_override_is_one_line(suite, override, expected):
    assert expected in mistake(suite(), override)


@pytest.mark.parametrize(
    ("overrides", "label"),
    [
        ([], "mine"),
        (["train.epochs=3"], "mine[train.epochs=3]"),
        (["train.epochs=1"], "mine"),
        (["train.batch_size=64"], "mine"),
        (["train.epochs=3", "train.batch_size=64"], "mine[train.epochs=3]"),
        (["train.epochs=3", "train.epochs=4"], "mine[train.epochs=4]"),
        (["train.epochs=3", "train.epochs=1"], "mine"),
        (["train.learning_rate=2e-3"], "mine[train.learning_rate=0.002]"),
        (["train.learning_rate=0.0020"], "mine[train.learning_rate=0.002]"),
        (["seeds=2", "match.by=flops"], "mine[match.by=flops,seeds=2]"),
        (["match.by=flops", "seeds=2"], "mine[match.by=flops,seeds=2]"),
        (["task.shift=0"], "mine[task.shift=0]"),
        (["task=digits"], "mine"),
        (["mechanisms.1=rope"], "mine[mechanisms.1=rope]"),
        (["mechanisms.1.settings={gamma: 2.0}"], 'mine[mechanisms.1.settings={"gamma":2.0}]'),
    ],
)
def test_label_says_what_was_changed_and_nothing_else(suite, overrides, label):
    assert load_suite(suite(), overrides).label == label


def cells(path, *overrides):
    loaded = load_suite(path, list(overrides))
    return expand(loaded.suite, loaded.source)


def test_grid_makes_every_combination_a_variant_of_its_own(suite):
    path = suite(
        mechanisms="[softmax, {name: kope, settings: {mlp: x}, grid: {gamma: [0.5, 1], mix: [true, null]}}]",
        seeds="2",
    )
    found = cells(path)
    names = {(cell.mechanism, cell.variant, cell.seed) for cell in found}
    assert len(names) == len(found) == 2 * (1 + 4)
    assert {cell.variant for cell in found if cell.mechanism == "kope"} == {
        "mlp=x+gamma=0.5+mix=true",
        "mlp=x+gamma=0.5+mix=null",
        "mlp=x+gamma=1+mix=true",
        "mlp=x+gamma=1+mix=null",
    }
    assert [cell.seed for cell in found] == sorted(cell.seed for cell in found), (
        "whole comparisons come first"
    )


def test_no_variant_holds_a_comma(suite):
    found = cells(suite(mechanisms="[{name: kope, grid: {axes: [[1, 2], [1, 3]]}}]"))
    assert [cell.variant for cell in found] == ["axes=[1;2]", "axes=[1;3]"]


def test_one_variant_twice_is_a_mistake(suite):
    with pytest.raises(
        SuiteError, match=r'mechanisms\[1\]: kope has a variant "default" already \(mechanisms\[0\]\)'
    ):
        cells(suite(mechanisms="[kope, kope]"))


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        ("mechanism", "write it as key=value,value"),
        ("mechanismm=kope", 'unknown key "mechanismm"; did you mean "mechanism"?'),
        ("mechanism=kopee", 'no cell has mechanism "kopee"; did you mean "kope"?'),
        ("mechanism=", 'no cell has mechanism ""'),
        ("seed=5", 'no cell has seed "5"'),
        ("variant=x", 'no cell has variant "x"'),
    ],
)
def test_bad_choice_is_one_line(suite, only, expected):
    with pytest.raises(SuiteError) as caught:
        select(cells(suite()), [only])
    assert expected in str(caught.value)


def test_choices_pick_and_add_up(suite):
    found = cells(suite(seeds="3"))
    assert len(select(found, ["mechanism=kope,softmax"])) == 6
    assert len(select(found, ["mechanism=kope", "seed=0,2"])) == 2
    with pytest.raises(SuiteError, match="leaves no cell beside the choices before it, which all must hold"):
        select(found, ["mechanism=kope", "mechanism=softmax"])


def test_a_mistake_of_a_change_by_hand_is_told_of_it_and_not_of_the_file_alone(suite):
    path = suite()
    with pytest.raises(
        SuiteError, match=r"^--set train\.epoch=3: .*yaml: train\.epoch: unknown key .*did you mean"
    ):
        load_suite(str(path), ["train.epoch=3"])
    with pytest.raises(SuiteError, match=r'^--set train\.epochs=three: .*yaml: train\.epochs: got "three"'):
        load_suite(str(path), ["seeds=1", "train.epochs=three"])


def test_a_file_that_is_not_there_is_near_those_beside_it(suite):
    beside = Path(suite())
    with pytest.raises(SuiteError, match=rf'no such file; did you mean "{beside.name}"'):
        load_suite(str(beside.with_suffix(".yml")))

"""What is far too large, never ends, or cannot be written is refused in a line, at once and without filling memory."""

from __future__ import annotations

import os
import time
import tracemalloc

import pytest

from oscbench.suite import SuiteError, load_points, load_suite

BASE = {"task": "digits", "train": "{epochs: 1}", "mechanisms": "[softmax]", "seeds": "1"}
LONG = ", ".join(map(str, range(10_000)))
SECONDS, BYTES = 2.0, 300_000_000


def written(tmp_path, file="mine", **changes):
    path = tmp_path / f"{file}.yaml"
    lines = [f"{key}: {value}" for key, value in (BASE | changes).items() if value is not None]
    path.write_text("\n".join(lines))
    return path


def doubled(what):
    """`a40`, which holds two of `a39`, which hold two of `a38`, …"""
    first = f"seeds: 1\na0: &a0 {what.format('1', '2')}\n"
    return first + "".join(f"a{i}: &a{i} {what.format(f'*a{i - 1}', f'*a{i - 1}')}\n" for i in range(1, 41))


def chained(length):
    """Each mapping merges the one before it, and has one key more."""
    return "a0: &a0 {k0: 0}\n" + "".join(
        f"a{i}: &a{i} {{<<: *a{i - 1}, k{i}: 0}}\n" for i in range(1, length)
    )


BOMBS = {
    "seeds": ({"seeds": "10000000000"}, "seeds: got 10000000000; at most 10,000 seeds are allowed"),
    "seeds as a float": ({"seeds": "1e10"}, "seeds: got 10000000000.0; seeds are how many"),
    "a seed": ({"seeds": f"[{2**64}]"}, "seeds[0]: got 1.84e+19; no number may be beyond"),
    "a seed that torch takes and numpy does not": ({"seeds": f"[{2**32}]"}, "seeds are at most 4,294,967,295"),
    "a size": ({"model": f"{{layers: {10**30}}}"}, "model.layers: got 1.00e+30; no number may be beyond"),
    "digits": ({"seeds": "9" * 5000}, "not a whole number that a suite may hold"),
    "hexadecimals": ({"seeds": "0x" + "f" * 900_000}, "not a whole number that a suite may hold"),
    "sexagesimals": ({"seeds": ":".join(["59"] * 300_000)}, "seeds are how many"),
    "tagged sexagesimals": ({"seeds": "!!int " + ":".join(["59"] * 300_000)}, "not a whole number"),
    "pairs": ({"seeds": doubled("!!pairs [{{x: {}}}, {{y: {}}}]")[7:]}, "numbers, texts, lists and mappings"),
    "sets": ({"model": "!!set {a, b}"}, "model: a suite holds numbers, texts, lists and mappings alone"),
    "merges": ({"seeds": "1\n" + chained(3000)}, "merges make more than 50,000 values"),
    "a grid": (
        {"mechanisms": f"[{{name: softmax, grid: {{a: [{LONG}], b: [{LONG}]}}}}]"},
        "100,000,000 variants and 1 seeds; at most 1,000 variants",
    ),
    "cells": ({"mechanisms": f"[{{name: kope, grid: {{gamma: [{LONG[:300]}]}}}}]", "seeds": "9000"}, "cells"),
    "a search": ({"tune": f"{{trials: {10**9}, space: {{train.clip: {{choices: [1.0]}}}}}}"}, "tune.trials"),
    "threads": ({"threads": "1000000000"}, "threads: got 1000000000; input should be less than or equal to"),
    "points": (
        {"vary": f"{{train.epochs: {list(range(1, 900))}}}", "seeds": "10000"},
        "cells; at most 100,000 cells are allowed",
    ),
    "a file": ({"seeds": f"[{', '.join([LONG] * 200)}]"}, "is larger than 1,000,000 bytes"),
    "a list": ({"seeds": f"[{'1,' * 400_000}]"}, "far too large for a suite"),
    "brackets": ({"seeds": "[" * 900 + "]" * 900}, "nested too deep"),
    "dashes": ({"seeds": "\n" + "- " * 300_000}, "nested too deep"),
    "one text often": ({"description": f"&x '{'x' * 500_000}'\na: [{'*x, ' * 9000}]"}, "more text than 1,000,000"),
    "one text often as a key": ({"model": f"&m {{? '{'x' * 90_000}' : 1}}\na: [{'*m, ' * 90}]"}, "more text than 1,000,000"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "expected"), BOMBS.values(), ids=BOMBS)
def test_what_is_far_too_large_is_refused_at_once(tmp_path, changes, expected):
    path = written(tmp_path, **changes)
    tracemalloc.start()
    started = time.process_time()
    try:
        with pytest.raises(SuiteError) as caught:
            load_points(str(path))
        spent, (_, peak) = time.process_time() - started, tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert spent < 5 * SECONDS, "counting allocations takes five times as long"
    assert peak < BYTES


def test_layers_of_a_thousand_million_are_refused_before_one_is_built(tmp_path, oscbench):
    ended = oscbench("validate", written(tmp_path, model="{layers: 1000000000}"))
    assert (ended.code, ended.out) == (2, "")
    assert "model.layers: got 1000000000; input should be less than or equal to 1000" in ended.err


@pytest.mark.parametrize(
    "text", [r'"\uD800"', r'"\x01"', r'"\e[31mred"', r'"\uFFFE"', r'"\0"', r'"\x7f"', r'"\U0001FFFF"']
)
@pytest.mark.parametrize("place", ["description", "name", "mechanisms", "task", "key"])
def test_characters_that_nothing_can_hold_are_refused_wherever_they_stand(tmp_path, text, place):
    changes = {
        "mechanisms": f"[{{name: softmax, variant: {text}}}]",
        "task": f"{{name: digits, path: {text}}}",
        "key": f"{{{text}: 1}}",
    }
    path = written(tmp_path, **{"model" if place == "key" else place: changes.get(place, text)})
    with pytest.raises(SuiteError) as caught:
        load_suite(str(path))
    assert "\n" not in str(caught.value)
    str(caught.value).encode()
    with pytest.raises(SuiteError):
        load_suite(str(written(tmp_path, file="plain")), [f"description={text}"])


def test_text_of_every_script_is_welcome(tmp_path):
    told = "Ω и 注意 \U0001f600, second line\n\tindented"
    path = written(tmp_path, description='"Ω и 注意 \U0001f600, second line\\n\\tindented"')
    assert load_suite(str(path)).suite.description == told


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("published", "is a folder of its own among results"),
        ("Reference", "is a folder of its own among results"),
        ("nul", "is no name for a folder on every system"),
        ("com1.results", "is no name for a folder on every system"),
        ("x" * 101, "at most 100 characters"),
        ("..", "allowed: letters a to z, digits"),
        (".hidden", "allowed: letters a to z, digits"),
        ("a/b", "allowed: letters a to z, digits"),
        ("a b", "allowed: letters a to z, digits"),
    ],
)
@pytest.mark.parametrize("kind", ["train", "timing"])
def test_a_name_that_records_would_be_lost_under_is_refused(tmp_path, name, expected, kind):
    timing = {
        "kind": "timing",
        "family": "ops",
        "settings": "{cpu: [{tokens: 8}]}",
        "task": None,
        "train": None,
        "mechanisms": None,
        "seeds": None,
    }
    path = written(tmp_path, **(timing if kind == "timing" else {}) | {"name": f"'{name}'"})
    with pytest.raises(SuiteError) as caught:
        load_suite(str(path))
    assert "name: got" in str(caught.value)
    assert expected in str(caught.value)


def test_a_file_gives_its_suite_no_name_that_is_refused(tmp_path):
    with pytest.raises(SuiteError, match="folder of its own among results"):
        load_suite(str(written(tmp_path, file="reference")))


def test_what_is_no_regular_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    for name, told in {"pipe": "is no regular file", "folder": "is a folder"}.items():
        with pytest.raises(SuiteError, match=told):
            load_suite(str(tmp_path / f"{name}.yaml"))
    with pytest.raises(SuiteError, match="no such file"):
        load_suite("/dev/zero")


def test_names_longer_than_a_file_system_takes_are_one_line(tmp_path):
    for name in ("x" * 300, f"{'x' * 300}.yaml", "x\0y", f"{tmp_path}/{'y' * 5000}.yaml"):
        with pytest.raises(SuiteError) as caught:
            load_suite(name)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 500


def test_a_file_whose_name_is_no_text_leads_to_a_source_that_can_be_written(tmp_path):
    path = os.fsencode(tmp_path) + b"/\xff.yaml"
    with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123 - a Path holds no bytes
        file.write("\n".join(f"{key}: {value}" for key, value in (BASE | {"name": "mine"}).items()))
    source = load_suite(os.fsdecode(path)).source
    assert source.endswith(r"\xff.yaml")
    source.encode()


def test_a_mistake_at_a_long_value_of_what_varies_stays_short(tmp_path):
    path = written(tmp_path, vary=f"{{train.epochs: [{{a: {'x' * 9000}}}]}}")
    with pytest.raises(SuiteError) as caught:
        load_points(str(path))
    assert "vary: at train.epochs=" in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_message_that_quotes_a_long_value_stays_short(tmp_path):
    tune = f"{{trials: 2, space: {{model.position: {{choices: [{{a: {'x' * 9000}}}, none]}}}}}}"
    with pytest.raises(SuiteError) as caught:
        load_suite(str(written(tmp_path, tune=tune)))
    said = str(caught.value)
    assert len(said) < 1300
    assert "tune.space: got" in said
    assert "is no position; there are:" in said

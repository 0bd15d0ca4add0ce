"""The "did you mean" of every error that names what was not found."""

from __future__ import annotations

import time

import pytest

from oscbench.errors import kind_and_line, kind_of, nearest

MANY = [f"suite_{number:02d}" for number in range(40)]


@pytest.mark.parametrize(
    ("name", "known", "said"),
    [
        ("kopee", ["kope", "rope", "softmax"], 'did you mean "kope"?'),
        ("k1", ["T1", "S1", "K1"], 'did you mean "K1"?'),
        ("zzz", ["rope", "kope"], "there are: kope, rope"),
        ("zzz", ["kope", "kope"], "there are: kope"),
        ("zzz", [], "there are none"),
        ("03!", MANY, "the nearest of 40 are: suite_03, "),
    ],
)
def test_nearest_match_or_what_there_is(name, known, said):
    assert nearest(name, known).startswith(said)


def test_of_many_names_the_nearest_five_are_listed():
    assert nearest("!", MANY).count(",") == 4


def test_a_giant_name_is_answered_at_once():
    started = time.monotonic()
    nearest("suite_" * 1_000_000, MANY)
    assert time.monotonic() - started < 2.0


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("width 3\nand more"), "ValueError: width 3"),
        (KeyError("width"), "KeyError: 'width'"),
        (RuntimeError(), "RuntimeError"),
        (RuntimeError("  \n"), "RuntimeError"),
    ],
)
def test_an_error_in_a_line_says_its_kind_once(error, said):
    assert kind_and_line(error) == said


@pytest.mark.parametrize(
    ("found", "said"), [(None, "None"), (3, "an int"), ({}, "a dict"), (ValueError, "the class ValueError")]
)
def test_what_something_is_in_a_message(found, said):
    assert kind_of(found) == said

"""Files of parts that are broken: a suite that names one is refused in a line, and lists show it among the others."""

from __future__ import annotations

import sys

import pytest

from oscbench import catalog, ops

PART = "'throwaway_parts:{}'"


@pytest.mark.parametrize(
    ("key", "name", "expected"),
    [
        ("measures", "NoAfter", "whose class NoAfter lacks what it must have: after"),
        ("measures", "Costs", "roles['three']: unknown key \"costs\"; allowed: rank, cost, of_machine"),
        ("measures", "Costs", 'did you mean "cost"?'),
        ("measures", "HighRank", "roles['three']: rank: got 'high'; wanted: a number"),
        ("task", "NoInputs", "the task does not say what its inputs are: AttributeError"),
        (
            "task",
            "MisspeltConfig",
            "task: throwaway_parts:MisspeltConfig: its Config takes no settings: PydanticUserError: `MisspeltSettings` is not fully defined",
        ),
        (
            "task",
            "DictConfig",
            "task: throwaway_parts:DictConfig: its Config is <class 'dict'>; wanted: a class of settings",
        ),
        ("task", "NumberForLabel", "whose class NumberForLabel has label = 5; needs a text that people read"),
        ("task", "WordForVersion", "has version = 'a'; needs a whole number"),
        (
            "task",
            "WordForMetric",
            "has metric = 'acc'; needs a Metric of texts: name, label, unit, direction",
        ),
        ("task", "NumberForUnit", "needs a Metric of texts"),
        ("mechanisms", "NoTraits", "has traits = None; needs a Traits"),
        ("mechanisms", "EmptyLabel", "has label = ' '; needs a text that people read"),
    ],
)
def test_a_broken_part_is_refused_in_one_line(oscbench, tiny, key, name, expected):
    named = PART.format(name)
    ended = oscbench("validate", tiny(**{key: named if key == "task" else f"[{named}]"}))
    assert (ended.code, ended.out) == (2, "")
    assert expected in ended.err
    assert ended.err.count("\n") == 1


def test_roles_that_no_report_will_read_are_told(oscbench, tiny):
    """A report runs nobody's code, and `module:Class` is in no folder that it could read."""
    ended = oscbench("validate", tiny(measures=f"[params, {PART.format('WithRole')}]"))
    assert ended.code == 0
    assert "reports read no roles of throwaway_parts:WithRole" in ended.err
    assert "roles" not in oscbench("validate", tiny(measures=f"[params, {PART.format('Gives')}]")).err


@pytest.fixture
def beside(tmp_path, monkeypatch):
    """Write a file of a kind beside those of the package."""
    usual, written = catalog._folder, []

    def write(kind, name, text):
        import importlib

        folder, package = tmp_path / kind, importlib.import_module(f"oscbench.{kind}")
        folder.mkdir()
        if kind in catalog.KINDS:
            for path in usual(kind).glob("*.py"):
                (folder / path.name).symlink_to(path)
            monkeypatch.setattr(catalog, "_folder", lambda asked: folder if asked == kind else usual(asked))
        (folder / f"{name}.py").write_text(text)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
        written.append(f"oscbench.{kind}.{name}")

    yield write
    for name in written:
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("kind", "text", "expected", "other"),
    [
        (
            "mechanisms",
            "def broken(:\n",
            'broken: oscbench/mechanisms/mine.py: got "mine", which cannot be imported',
            "softmax",
        ),
        (
            "mechanisms",
            "class Mine:\n    mix = 1\n\nmechanism = Mine\n",
            'broken: oscbench/mechanisms/mine.py: got "mine", whose class Mine has label = None',
            "softmax",
        ),
        ("tasks", '"""Mine."""\n', "the last line must name the class, as in `task = MyTask`", "digits"),
        ("tasks", "raise RuntimeError('boom')\n", "RuntimeError: boom", "digits"),
        (
            "measures",
            "from oscbench.measures import Measure\n\n\nclass Mine(Measure):\n    pass\n\n\nmeasure = Mine\n",
            "whose class Mine lacks what it must have: after",
            "params",
        ),
        (
            "measures",
            '"""Mine."""\n'
            "from oscbench.measures.params import Params\n\n\nclass Mine(Params):\n"
            "    roles = {'mine': {'rank': 1 + 2}}\n\n\nmeasure = Mine\n",
            "broken: roles: not plain literals",
            "params",
        ),
    ],
)
def test_a_list_shows_what_is_broken_and_goes_on(oscbench, beside, monkeypatch, kind, text, expected, other):
    monkeypatch.setenv("COLUMNS", "1000")
    beside(kind, "mine", text)
    ended = oscbench("list", kind)
    assert (ended.code, ended.err) == (0, "")
    rows = {line.split()[0]: line for line in ended.out.splitlines() if line.strip()}
    assert expected in rows["mine"]
    assert "broken" not in rows[other]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("raise RuntimeError('boom')\nop = OP\n", "oscbench/ops/mine: RuntimeError: boom"),
        ("OTHER = 3\nop = OTHER\n", "oscbench/ops/mine: op is an int; wanted: an Op, as in `op = OP`"),
    ],
)
def test_an_op_that_is_broken_costs_no_other_op(oscbench, beside, monkeypatch, text, expected):
    monkeypatch.setenv("COLUMNS", "1000")
    beside("ops", "mine", text)
    ended = oscbench("list", "backends")
    assert ended.code == 0
    assert f"broken: {expected}" in ended.out
    assert "softmax_attention" in ops.op_names()
    with pytest.raises(ValueError, match='op "mine" is broken'):
        ops.op_of("mine")

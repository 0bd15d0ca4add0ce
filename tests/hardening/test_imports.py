"""A suite from elsewhere runs no code that nobody has allowed, and code that was allowed cannot end the command."""

from __future__ import annotations

import sys

import pytest
from command_line import end, start

from oscbench import catalog
from oscbench.catalog import UnknownNameError

MODULE = """
import pathlib
pathlib.Path(__file__).with_name("ran").touch()
from oscbench.mechanisms.softmax import Softmax

class Mine(Softmax):
    pass

mechanism = Mine
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of somebody else's on the path, and no permission to import it."""
    monkeypatch.delenv(catalog.ALLOWED)
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "mine.py").write_text(MODULE)
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "elsewhere"]:
        del sys.modules[name]


@pytest.mark.parametrize("name", ["elsewhere.mine:Mine", "elsewhere.mine"])
@pytest.mark.parametrize(
    ("key", "line", "kind"),
    [
        ("mechanisms", "[{}]", "mechanisms"),
        ("task", "{}", "tasks"),
        ("measures", "[{}]", "measures"),
        ("model", "{{name: '{}'}}", "backbones"),
        ("match", "{{reference: '{}'}}", "mechanisms"),
    ],
)
def test_no_module_is_imported_that_nobody_has_allowed(oscbench, tiny, package, name, key, line, kind):
    suite = tiny(**{key: line.format(f"{name}" if key in ("model", "match") else f"'{name}'")})
    for command in ("validate", "run"):
        ended = oscbench(command, suite)
        assert (ended.code, ended.out) == (2, "")
        assert (
            "allow it with OSCBENCH_ALLOW_IMPORTS=1, or with --allow-imports or allow_imports where there is one"
            in ended.err
        )
        assert ended.err.count("\n") == 1
    with pytest.raises(UnknownNameError, match="would import a module and run its code"):
        catalog.docstring(kind, name)
    assert not (package / "ran").exists()


def test_the_option_and_the_variable_allow_it(oscbench, tiny, package, monkeypatch):
    suite = tiny(mechanisms="['elsewhere.mine']")
    monkeypatch.setenv(catalog.ALLOWED, "0")
    assert oscbench("validate", suite).code == 2
    assert oscbench("validate", suite, "--allow-imports").out.endswith("1 cell, no mistakes\n")
    assert (package / "ran").exists()
    monkeypatch.setenv(catalog.ALLOWED, "1")
    assert oscbench("validate", suite).code == 0


@pytest.mark.parametrize("name", ["elsewhere.mine:Mine", "elsewhere.mine"])
def test_a_module_and_its_class_are_one_thing(package, monkeypatch, name):
    monkeypatch.setenv(catalog.ALLOWED, "1")
    assert catalog.load("mechanisms", name).__name__ == "Mine"


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("import sys; sys.exit('bye')", "SystemExit: bye"),
        ("raise BaseException('gone')", "BaseException: gone"),
        ("raise GeneratorExit", "mechanisms: GeneratorExit"),
        ("pass", "the last line must name the class"),
    ],
)
def test_a_module_that_would_end_the_command_is_one_line(oscbench, tiny, package, ending, expected):
    (package / "mine.py").write_text(ending)
    ended = oscbench("validate", tiny(mechanisms="['elsewhere.mine']"), "--allow-imports")
    assert (ended.code, ended.out) == (2, "")
    assert expected in ended.err
    assert ended.err.count("\n") == 1
    assert "Traceback" not in ended.err


def test_cells_of_an_allowed_module_run(tiny, package, tmp_path):
    suite = tiny(mechanisms="['elsewhere.mine']")
    code, _, err = end(start("run", suite, "--allow-imports", cwd=tmp_path, folders=[tmp_path]))
    assert code == 0, err
    assert "1 ok" in err

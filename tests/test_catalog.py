"""A name is found because its file is there, an installed package says so, or it is a path to a class."""

from __future__ import annotations

import sys

import pytest

from oscbench import catalog
from oscbench.catalog import UnknownNameError


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package in a folder of its own that adds a mechanism by entry point."""
    (tmp_path / "oscillating.py").write_text(
        '"""Lazy attention.\n\nIdea:\n    Nobody listens.\n"""\n'
        "from oscbench.mechanisms.softmax import Softmax\n\n\nclass Lazy(Softmax):\n    label = 'lazy'\n"
    )
    metadata = tmp_path / "oscillating-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: oscillating\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[oscbench.mechanisms]\nlazy = oscillating:Lazy\nbroken = oscillating:Nothing\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    catalog._entry_points.cache_clear()
    yield
    catalog._entry_points.cache_clear()
    sys.modules.pop("oscillating", None)


def test_names_are_the_files_of_the_folder():
    assert {"softmax", "rope", "kope", "torus", "ssa", "fixed_query"} <= set(catalog.names("mechanisms"))
    assert "digits" in catalog.names("tasks")
    assert "vision" in catalog.names("backbones")
    assert not any(name.startswith("_") for kind in catalog.KINDS for name in catalog.names(kind))


@pytest.mark.parametrize("kind", catalog.KINDS)
def test_every_name_loads(kind):
    for name in catalog.names(kind):
        assert isinstance(catalog.load(kind, name), type)
        assert catalog.docstring(kind, name)


def test_path_to_a_class_is_a_name():
    from oscbench.mechanisms.kope import KoPE

    assert catalog.load("mechanisms", "oscbench.mechanisms.kope:KoPE") is KoPE
    assert catalog.docstring("mechanisms", "oscbench.mechanisms.kope:KoPE") == catalog.docstring(
        "mechanisms", "kope"
    )


def test_entry_point_of_an_installed_package_is_a_name(installed):
    assert "lazy" in catalog.names("mechanisms")
    assert catalog.load("mechanisms", "lazy").label == "lazy"
    assert catalog.section(catalog.docstring("mechanisms", "lazy"), "Idea") == "Nobody listens."
    with pytest.raises(UnknownNameError, match="cannot be imported as one of the mechanisms: AttributeError"):
        catalog.load("mechanisms", "broken")


def test_a_name_that_two_lay_claim_to_is_refused(installed, tmp_path):
    points = tmp_path / "oscillating-1.0.dist-info" / "entry_points.txt"
    points.write_text("[oscbench.mechanisms]\nkope = oscillating:Lazy\n")
    with pytest.raises(
        UnknownNameError,
        match='got "kope", which is a name of oscbench and of oscillating:Lazy; rename the entry point',
    ):
        catalog.load("mechanisms", "kope")
    assert catalog.load("mechanisms", "rope").label == "RoPE"


def test_entry_point_runs(installed, tmp_path, tiny):
    from command_line import records, run

    assert run(tiny(mechanisms="[lazy]"), tmp_path / "results") == 0
    (record,) = records(tmp_path / "results").values()
    assert (record.status, record.card.label, record.card.idea) == ("ok", "lazy", "Nobody listens.")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("kopee", 'got "kopee"; did you mean "kope"?'),
        ("zzz", "there are: akorn, fixed_query, kope"),
        ("", "there are:"),
        ("_rotary", "there are:"),
        ("../tasks/digits", "there are:"),
        ("nowhere:Class", "No module named 'nowhere'"),
        ("os:nothing", "has no attribute 'nothing'"),
        ("os:getcwd", "not a class with `mix`"),
        (":x", "cannot be imported"),
        (".x:y", "cannot be imported"),
        ("oscbench.tasks.digits:Digits", "not a class with `mix`"),
    ],
)
def test_unknown_name_is_one_line_with_the_nearest_match(name, expected):
    with pytest.raises(UnknownNameError) as caught:
        catalog.load("mechanisms", name)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("def broken(:\n", "SyntaxError"),
        ("", "the last line must name the class"),
        ("x = 1\nprint\n", "the last line must name the class"),
        ("raise RuntimeError('first\\nsecond')\n", "RuntimeError: first"),
        ("mechanism = 3\n", "names an int and not a class"),
    ],
)
def test_broken_file_is_one_line(tmp_path, monkeypatch, content, expected):
    import oscbench.mechanisms

    (tmp_path / "throwaway.py").write_text(content)
    monkeypatch.setattr(catalog, "_folder", lambda kind: tmp_path)
    monkeypatch.setattr(oscbench.mechanisms, "__path__", [str(tmp_path)])
    try:
        with pytest.raises(UnknownNameError) as caught:
            catalog.load("mechanisms", "throwaway")
    finally:
        sys.modules.pop("oscbench.mechanisms.throwaway", None)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)

"""A mechanism of one's own in three commands, and the worked example of CONTRIBUTING.md as it stands there."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import oscbench
from oscbench import catalog, scaffold
from oscbench.errors import UserError
from oscbench.mechanisms import Mechanism
from oscbench.scaffold import EXAMPLE, EXAMPLES, new_part

ROOT = Path(__file__).parents[1]


def test_contributing_shows_the_file_that_is_written() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    shown = re.search(r"```python\n# oscbench/mechanisms/decay.py\n(.*?)```", text, re.DOTALL)
    assert shown is not None
    assert shown[1] == EXAMPLE.read_text(encoding="utf-8")


def test_in_the_clone_that_is_imported_it_joins_the_mechanisms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = tmp_path / "oscbench" / "mechanisms"
    clone.mkdir(parents=True)
    (clone / "__init__.py").touch()
    path, named = new_part("mechanism", "elsewhere_first", here=tmp_path)
    assert (path, named) == (tmp_path / "elsewhere_first.py", "elsewhere_first:ElsewhereFirst")
    monkeypatch.setattr(scaffold, "__file__", str(tmp_path / "oscbench" / "scaffold" / "__init__.py"))
    path, named = new_part("mechanism", "near_first", here=tmp_path)
    assert (path, named) == (clone / "near_first.py", "near_first")


def test_a_file_in_the_way_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    for folder, said in (("taken", "taken: is a file, not a folder"), ("taken/deeper", "is no folder")):
        with pytest.raises(UserError, match=said):
            new_part("mechanism", "near_first", folder=tmp_path / folder, here=tmp_path)


def test_elsewhere_it_is_a_module_that_a_suite_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, named = new_part("mechanism", "near_first", here=tmp_path)
    assert named == "near_first:NearFirst"
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    spec = importlib.util.spec_from_file_location("near_first", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert issubclass(module.mechanism, Mechanism)
    assert module.NearFirst.label == "near first"
    assert module.NearFirst.Config.__name__ == "NearFirstConfig"
    assert "decay" not in path.read_text(encoding="utf-8").split("from __future__")[1].lower()
    import oscbench.nn

    monkeypatch.setattr(catalog, "load", lambda kind, name: module.NearFirst)
    tokens = torch.randn(2, 7, 16)
    assert oscbench.nn.Encoder("near_first", 16, 2, 1, seed=0)(tokens).shape == tokens.shape


def test_three_commands_train_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As CONTRIBUTING.md has them, outside a clone, by a command that, as the installed one, does not look where it stands."""
    monkeypatch.chdir(tmp_path)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}

    def command(*words: str) -> str:
        code = "from oscbench.cli import main; main()"
        found = subprocess.run(
            [sys.executable, "-P", "-c", code, *words],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        assert found.returncode == 0, found.stderr
        return found.stdout

    assert command("new", "mechanism", "elsewhere", "--to", "below").endswith(" --allow-imports in below\n")
    assert "heard_in_a_test:HeardInATest" in command("new", "mechanism", "heard_in_a_test")
    sets = [
        "mechanisms=[{name: 'heard_in_a_test:HeardInATest', variant: mine}]",
        "train.epochs=1",
        "seeds=1",
        "floors=false",
    ]
    options = [part for text in sets for part in ("--set", text)]
    command("run", "smoke", "--allow-imports", "--jobs", "1", *options)
    table = oscbench.load(tmp_path / "results")
    assert list(table["status"]) == ["ok"]
    assert list(table["variant"]) == ["mine"]


def test_a_task_and_a_measure_of_ones_own_run_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for kind, name, named in (
        ("task", "my_copy", "my_copy:MyCopy"),
        ("measure", "my_norm", "my_norm:MyNorm"),
    ):
        path, said = new_part(kind, name)
        assert said == named
        text = path.read_text(encoding="utf-8")
        assert EXAMPLES[kind].replace("_", " ") not in text.lower()
        assert text.startswith(f'"""{name.replace("_", " ").capitalize()}: ')
    (tmp_path / "mine.yaml").write_text(
        "task: {name: 'my_copy:MyCopy', delay: 2, length: 12, train_examples: 400}\n"
        "model: {width: 32, heads: 2, layers: 1}\nmatch: {by: none}\nmechanisms: [{name: rope, position: own}]\n"
        "train: {steps: 300, batch_size: 50, learning_rate: 1e-2}\nseeds: 1\nmeasures: [params, 'my_norm:MyNorm']\n"
    )
    code = "from oscbench.cli import main; main()"
    ran = subprocess.run(
        [sys.executable, "-P", "-c", code, "run", "mine.yaml", "--allow-imports", "--jobs", "1"],
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    table = oscbench.load(tmp_path / "results").set_index("mechanism")
    assert table.loc["rope", "value"] > 0.9 > 0.3 > table.loc["chance", "value"]
    assert table.loc["rope", "my_norm_end"] != table.loc["rope", "my_norm_start"]


def test_mistakes_between_a_new_tasks_settings_are_said_before_anything_runs(tmp_path: Path) -> None:
    path, _ = new_part("task", "my_copy", here=tmp_path)
    spec = importlib.util.spec_from_file_location("my_copy_of_a_test", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.raises(ValueError, match="delay: must be below length 4, got 4"):
        module.task.describe(module.MyCopyConfig(delay=4, length=4))


@pytest.mark.parametrize("name", ["Near", "near-first", "", "1st", "a b"])
def test_what_cannot_be_a_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="lower-case letters"):
        new_part("mechanism", name, here=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("class", "is a word of Python"),
        ("torch", "is an installed module"),
        ("math", "is an installed module"),
    ],
)
def test_a_name_that_no_import_would_lead_to_is_refused(name: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=expected):
        new_part("mechanism", name, here=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("kind", "name"), [("measure", "findings"), ("task", "batch"), ("mechanism", "mixed")]
)
def test_a_name_that_would_hide_what_the_file_uses_is_refused(kind: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="would hide what its file uses itself"):
        new_part(kind, name, here=tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_example_may_keep_its_name_and_a_folder_may_not_hide_a_file(tmp_path: Path) -> None:
    for kind, name in EXAMPLES.items():
        path, _ = new_part(kind, name, here=tmp_path)
        assert path.is_file()
    (tmp_path / "support").mkdir()
    with pytest.raises(UserError, match=r'"support" is a folder in .*, which would hide the file'):
        new_part("task", "support", here=tmp_path)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    path, _ = new_part("mechanism", "near_first", here=tmp_path)
    path.write_text("mine")
    with pytest.raises(UserError, match="is there already"):
        new_part("mechanism", "near_first", here=tmp_path)
    assert path.read_text() == "mine"
    with pytest.raises(UserError, match='"kope" is there already'):
        new_part("mechanism", "kope", here=tmp_path)


def test_a_mechanism_is_held_to_the_laws_by_a_command(oscbench):
    kept = oscbench("check", "softmax")
    assert kept.code == 0
    assert kept.out.count(" yes") == 10
    begun = oscbench("new", "mechanism", "mine")
    assert "next: oscbench check mine:Mine --allow-imports, then put" in begun.out
    assert oscbench("check", "mine:Mine", "--allow-imports").code == 0
    broken = oscbench("check", "lawless_mechanisms:Undercounts", "--allow-imports")
    assert broken.code == 1
    assert "by default: PyTorch counts" in " ".join(broken.out.split())
    for given, told in (
        (("softmaxx",), 'check: got "softmaxx"; did you mean "softmax"?'),
        (("kope", "--set", "gamm=1"), '--set: gamm: unknown key "gamm"; did you mean "gamma"?'),
        (("kope", "--set", "gamma"), "--set gamma: write it as key=value"),
    ):
        wrong = oscbench("check", *given)
        assert (wrong.code, wrong.out) == (2, "")
        assert told in wrong.err

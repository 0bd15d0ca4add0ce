"""What Python users call: lazily imported, and the same as the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import oscbench
from oscbench.errors import UserError


def test_importing_loads_neither_torch_nor_pandas() -> None:
    code = "import sys, oscbench; assert not {'torch', 'pandas', 'numpy'} & set(sys.modules); print(sorted(dir(oscbench)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "build_model" in found.stdout


def test_every_public_name_is_there() -> None:
    for name in oscbench.__all__:
        assert getattr(oscbench, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        oscbench.nothing  # noqa: B018


def test_run_and_load_give_one_row_a_cell(tmp_path: Path) -> None:
    options = {"only": ["mechanism=softmax", "seed=0"], "jobs": 1}
    overrides = {"train.epochs": 1, "measures": ["params"]}
    table = oscbench.run("smoke", results=tmp_path, overrides=overrides, **options)
    assert list(table["mechanism"]) == ["softmax"]
    assert list(table["status"]) == ["ok"]
    again = oscbench.load(tmp_path)
    assert list(again["identity"]) == list(table["identity"])
    with pytest.raises(UserError, match="no such results folder"):
        oscbench.load(tmp_path / "elsewhere")
    other = oscbench.run("smoke", results=tmp_path, overrides=overrides | {"train.epochs": 2}, **options)
    assert set(other["suite"]).isdisjoint(table["suite"]), "rows of what ran, and of no other overrides"
    assert len(oscbench.load(tmp_path)) == 2


def test_overrides_may_be_numbers_of_numpy_paths_and_ranges(tmp_path: Path) -> None:
    overrides = {
        "train.epochs": np.int64(1),
        "train.learning_rate": np.float64(1e-3),
        "seeds": range(2),
        "measures": ("params",),
    }
    options = {"only": ["mechanism=softmax", "seed=0"], "jobs": 1}
    assert list(oscbench.run("smoke", results=tmp_path, overrides=overrides, **options)["status"]) == ["ok"]
    with pytest.raises(UserError, match=r"task\.path: .*nowhere"):
        oscbench.run("language_small", overrides={"task.path": Path("nowhere")})
    for jobs in (0, -1):
        with pytest.raises(UserError, match=f"jobs: got {jobs}; a whole number from 1 on"):
            oscbench.run("smoke", jobs=jobs)


def test_a_script_needs_no_guard_of_its_main(tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text(
        "import oscbench\n"
        "made = oscbench.run('smoke', results='results', only=['mechanism=softmax', 'seed=0'],\n"
        "                    overrides={'train.epochs': 1, 'measures': ['params']})\n"
        "print('ran', list(made['status']))\n"
    )
    root = str(Path(oscbench.__file__).parents[1])
    ran = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=True,
        env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    assert ran.stdout.count("ran ['ok']") == 1
    assert "smoke[" in ran.stdout + ran.stderr


def test_a_model_is_that_of_a_cell() -> None:
    model = oscbench.build_model(
        "kope", "digits", settings={"gamma": 0.1}, model={"width": 32, "heads": 2, "layers": 2}
    )
    again = oscbench.build_model(
        "kope", "digits", settings={"gamma": 0.1}, model={"width": 32, "heads": 2, "layers": 2}
    )
    images = torch.zeros(3, 1, 8, 8)
    assert model(images).prediction.shape == (3, 10)
    assert torch.equal(model(images).prediction, again(images).prediction)
    with pytest.raises(ValueError, match='did you mean "kope"'):
        oscbench.build_model("kop", "digits")
    with pytest.raises(ValueError, match=r'^model\.widthh: unknown key "widthh"; did you mean "width"\?$'):
        oscbench.build_model("kope", "digits", model={"widthh": 32})
    with pytest.raises(ValueError, match=r"^settings\.gamma: got 3; "):
        oscbench.build_model("kope", "digits", settings={"gamma": 3})
    alone, both = (
        oscbench.build_model("torus", "digits", model={"position": position})
        for position in ("own", "learned+own")
    )
    assert sum(p.numel() for p in both.parameters()) > sum(p.numel() for p in alone.parameters())
    with pytest.raises(
        ValueError, match=r'^model\.position: softmax cannot have "learned\+own"; did you mean "learned"'
    ):
        oscbench.build_model("softmax", "digits", model={"position": "learned+own"})


def test_one_name_is_as_good_as_a_list_of_one() -> None:
    reference = Path(__file__).parents[1] / "results" / "reference" / "cpu"
    assert set(oscbench.load(reference, "vision_small")["suite"]) == {"vision_small"}
    pair = "kope:default,softmax:default"
    assert oscbench.compare(reference, pair, "vision_small").equals(
        oscbench.compare(reference, [pair], ["vision_small"])
    )
    with pytest.raises(UserError, match='--keep: got "all_of_it"'):
        oscbench.run("smoke", keep="all_of_it")


def test_compare_gives_one_row_a_comparison() -> None:
    reference = Path(__file__).parents[1] / "results" / "reference" / "cpu"
    table = oscbench.compare(reference, ["kope:default,softmax:default"], ["vision_small"])
    pair = ("kope:default", "softmax:default")
    assert oscbench.compare(reference, [pair], ["vision_small"]).equals(table), "names may stand apart"
    with pytest.raises(ValueError, match=r"none of oscbench\.compare's"):
        oscbench.plot.forest(oscbench.load(reference, ["vision_small"]))
    (row,) = table.to_dict("records")
    assert (row["treatment"], row["baseline"], row["n"]) == ("kope:default", "softmax:default", 8)
    assert row["low"] < row["difference"] < row["high"]
    whole = oscbench.compare(reference, ["kope:default,softmax:default"], ["training_efficiency_digits"])
    assert list(whole["suite"]) == ["training_efficiency_digits"], "one row over all values of what varies"

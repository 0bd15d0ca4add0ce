"""Character language modelling on small files that the tests make, and on the source that every Python carries."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from oscbench.errors import UserError
from oscbench.tasks.char_lm import CharLM, CharLMConfig


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_bytes(bytes(range(250)) * 40)
    return path


def test_parts_are_consecutive_and_hold_every_byte(text: Path) -> None:
    task = CharLM(CharLMConfig(path=str(text), length=16))
    assert [len(task.splits[name]) for name in ("train", "validation", "test")] == [9000, 500, 500]
    assert torch.cat(list(task.splits.values())).numpy().tobytes() == text.read_bytes()


def test_targets_are_the_next_bytes_and_windows_come_from_the_generator(text: Path) -> None:
    task = CharLM(CharLMConfig(path=str(text), length=16, windows=10))
    batches = list(task.training_batches(4, torch.Generator().manual_seed(0), torch.Generator()))
    assert [len(batch.inputs) for batch in batches] == [4, 4, 2]
    assert torch.equal(batches[0].inputs[:, 1:], batches[0].targets[:, :-1])
    again = next(iter(task.training_batches(4, torch.Generator().manual_seed(0), torch.Generator())))
    assert torch.equal(batches[0].inputs, again.inputs)


def test_evaluation_windows_do_not_overlap(text: Path) -> None:
    task = CharLM(CharLMConfig(path=str(text), length=16, evaluation_windows=8))
    rows = torch.cat([batch.inputs for batch in task.batches("test", 4)])
    assert rows.shape == (8, 16)
    assert len({tuple(row.tolist()) for row in rows}) == 8


def test_uniform_prediction_costs_eight_bits(text: Path) -> None:
    task = CharLM(CharLMConfig(path=str(text), length=16))
    batch = next(task.batches("test", 8))
    scores = task.scores(torch.zeros(*batch.inputs.shape, 256), batch)
    assert scores.mean().item() == pytest.approx(8.0)
    assert task.loss(torch.zeros(*batch.inputs.shape, 256), batch).item() == pytest.approx(8 * math.log(2))


def test_python_carries_megabytes_of_code() -> None:
    task = CharLM(CharLMConfig())
    assert sum(len(part) for part in task.splits.values()) > 5_000_000


def test_folder_of_text_is_read_in_a_fixed_order(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_bytes(b"b" * 400)
    (tmp_path / "a.txt").write_bytes(b"a" * 400)
    task = CharLM(CharLMConfig(path=str(tmp_path), length=4))
    assert task.splits["train"][0].item() == ord("a")
    assert task.splits["test"][-1].item() == ord("b")


def test_missing_and_short_files_are_told_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"task\.path: .*nowhere\.txt: no such file or folder"):
        CharLM.describe(CharLMConfig(path=str(tmp_path / "nowhere.txt")))
    short = tmp_path / "short.txt"
    short.write_bytes(b"x" * 50)
    with pytest.raises(UserError, match="a context needs 129"):
        CharLM(CharLMConfig(path=str(short)))
    with pytest.raises(UserError, match=r"has no \.txt file"):
        CharLM(CharLMConfig(path=_empty(tmp_path)))


def _empty(tmp_path: Path) -> str:
    folder = tmp_path / "empty"
    folder.mkdir()
    return str(folder)

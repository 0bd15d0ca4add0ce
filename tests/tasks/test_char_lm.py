"""Character language modelling on small files that the tests make, and on the source that every Python carries."""

from __future__ import annotations

import hashlib
import math
import os
from pathlib import Path

import pytest
import torch

from oscbench.data import KNOWN, Known, add
from oscbench.data.known import KnownFile
from oscbench.errors import UserError
from oscbench.mechanisms.softmax import Softmax
from oscbench.models.backbones.sequence import Sequence, SequenceConfig
from oscbench.settings import spelled
from oscbench.tasks import LengthError
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


def test_the_last_tenth_is_validation_and_test_at_once_where_asked(text: Path) -> None:
    task = CharLM(CharLMConfig(path=str(text), length=16, split="90-10", evaluation_windows=10_000))
    assert [len(task.splits[name]) for name in ("train", "validation", "test")] == [9000, 1000, 1000]
    scored = torch.cat([batch.targets.flatten() for batch in task.batches("test", 64)])
    assert scored.numpy().tolist() == list(text.read_bytes()[9001 : 9001 + 62 * 16])
    spelling = spelled(CharLMConfig(path="x"))
    assert "split" not in spelling


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


def test_a_folder_of_ones_own_is_read_whole_whatever_its_folders_are_called(tmp_path: Path) -> None:
    """Tests are left out of Python's own library alone."""
    (tmp_path / "test").mkdir()
    (tmp_path / "a.txt").write_text("a" * 300)
    (tmp_path / "test" / "b.txt").write_text("b" * 700)
    task = CharLM(CharLMConfig(path=str(tmp_path), length=16))
    assert sum(len(part) for part in task.splits.values()) == 1001


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


def test_cut_off_enwik8_is_refused_before_anything_runs(tmp_path: Path) -> None:
    cut_off = tmp_path / "enwik8"
    cut_off.write_bytes(b"x" * 5000)
    with pytest.raises(UserError, match=r"has 5,000 bytes, enwik8 has 100,000,000: truncated"):
        CharLM.describe(CharLMConfig(path=str(cut_off)))


def test_another_text_of_the_size_of_enwik8_is_refused_by_its_checksum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = hashlib.sha256(b"<mediawiki" * 500).hexdigest()
    published = Known("enwik8", "a stand-in", (KnownFile("enwik8", 5000, right),))
    monkeypatch.setitem(KNOWN, "enwik8", published)
    there = tmp_path / "enwik8"
    there.write_bytes(b"x" * 5000)
    refused = (
        rf"task\.path: .*enwik8: its SHA-256 is .*{right}; bring it again, or give another text another name"
    )
    with pytest.raises(UserError, match=refused):
        CharLM.describe(CharLMConfig(path=str(there), length=16))
    there.unlink()
    there.write_bytes(b"<mediawiki" * 500)
    assert CharLM(CharLMConfig(path=str(there), length=16)).splits["train"][0].item() == ord("<")


@pytest.mark.parametrize("name", ["enwik8.gz", "enwik8.zip", "text.txt.bz2", "TEXT.ZIP", "text.tar.xz"])
def test_an_archive_is_no_text(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(bytes(range(250)) * 40)
    with pytest.raises(UserError, match=rf"task\.path: .*{name}: is an archive; unpack it first"):
        CharLM.describe(CharLMConfig(path=str(tmp_path / name), length=16))


def test_a_link_that_leads_nowhere_is_told_before_anything_runs(text: Path) -> None:
    (text.parent / "a.txt").symlink_to(text.parent / "gone")
    with pytest.raises(
        UserError, match=r"task\.path: .*a\.txt: cannot be read \(No such file .*remove it"
    ) as told:
        CharLM.describe(CharLMConfig(path=str(text.parent), length=16))
    assert "\n" not in str(told.value)


def test_folders_and_pipes_are_no_files_of_a_text(text: Path) -> None:
    (text.parent / "x.txt").mkdir()
    os.mkfifo(text.parent / "y.txt")
    task = CharLM(CharLMConfig(path=str(text.parent), length=16))
    assert sum(len(part) for part in task.splits.values()) == text.stat().st_size


def test_file_that_cannot_be_read_is_told_in_a_line(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(UserError, match=r"corpus\.txt: cannot be read \(Permission denied\)"):
        CharLM(CharLMConfig(path=str(text), length=16))


def test_name_of_a_data_set_means_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSCBENCH_DATA", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "enwik8").write_bytes(b"a file of that name is written ./enwik8")
    with pytest.raises(
        UserError, match=r"not in the data store .*oscbench data add enwik8 --from PATH"
    ) as told:
        CharLM.describe(CharLMConfig(path="enwik8"))
    assert "\n" not in str(told.value)
    with pytest.raises(UserError, match=r'enwik9: neither a stored.*did you mean "enwik8"\?'):
        CharLM.describe(CharLMConfig(path="enwik9"))


def test_stored_text_is_held_to_its_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSCBENCH_DATA", str(tmp_path / "store"))
    small = KnownFile("enwik8", 5000)
    monkeypatch.setitem(KNOWN, "enwik8", Known("enwik8", "a stand-in", (small,)))
    source = tmp_path / "download.txt"
    source.write_bytes(bytes(range(250)) * 20)
    add("enwik8", source)
    task = CharLM(CharLMConfig(path="enwik8", length=16))
    assert torch.cat(list(task.splits.values())).numpy().tobytes() == source.read_bytes()
    stored = next((tmp_path / "store" / "files").rglob("enwik8"))
    stored.chmod(0o644)
    stored.write_bytes(b"\xff" + source.read_bytes()[1:])
    with pytest.raises(UserError, match=r"enwik8: .*its SHA-256 is .*, on record"):
        CharLM.describe(CharLMConfig(path="enwik8", length=16))


def test_longer_windows_hold_the_same_text(text: Path) -> None:
    task = CharLM(CharLMConfig(path=str(text), length=16))
    longer = task.at_length(4)
    assert longer.inputs.length == 64
    assert next(longer.batches("test", 8)).inputs.shape[1] == 64
    assert task.inputs.length == 16
    assert longer.data_hash() == task.data_hash()
    with pytest.raises(
        LengthError, match="validation part has 500 bytes, a context 100 times as long needs 1,601"
    ):
        task.at_length(100)


def test_record_says_whose_bytes_they_are() -> None:
    assert CharLM.headline(CharLMConfig())[0] == "bytes of Python source"
    assert CharLM.headline(CharLMConfig(path="enwik8"))[0] == "bytes of enwik8"


def test_validation_and_test_may_be_scored_in_longer_contexts_than_training(text: Path) -> None:
    task = CharLM(CharLMConfig(path=str(text), length=16, evaluation_length=64, evaluation_windows=8))
    trained = next(iter(task.training_batches(4, torch.Generator().manual_seed(0), torch.Generator())))
    assert trained.inputs.shape == (4, 16)
    (batch,) = task.batches("test", 1000)
    assert batch.inputs.shape[1] == 64
    assert torch.equal(batch.inputs[:, 1:], batch.targets[:, :-1])
    plain = CharLM(CharLMConfig(path=str(text), length=64, evaluation_windows=8))
    assert torch.equal(batch.inputs, next(iter(plain.batches("test", 1000))).inputs)
    assert next(iter(task.at_length(2).batches("test", 1000))).inputs.shape[1] == 32
    assert task.headline(task.config)[0].endswith("in contexts of 64 after training in 16")


def test_without_another_context_a_spec_spells_none() -> None:
    assert "evaluation_length" not in spelled(CharLMConfig())


def test_learned_positions_refuse_a_longer_context_before_anything_runs() -> None:
    inputs = CharLM.describe(CharLMConfig(length=16, evaluation_length=64))
    config = SequenceConfig(width=16, heads=2, layers=1, position="learned")
    with pytest.raises(ValueError, match="learned positions reach 16 tokens, a sequence has 64 where it is"):
        Sequence(config, inputs, Softmax, Softmax.Config(), hidden=None, seed=0)


def test_a_part_too_short_for_the_longer_context_names_that_setting(text: Path) -> None:
    size = text.stat().st_size
    with pytest.raises(UserError, match=r"set task\.evaluation_length lower"):
        CharLM.describe(CharLMConfig(path=str(text), length=16, evaluation_length=size // 10))

"""Images with captions of one's own: tables and tar files give the same pairs, splits keep an image together, and mistakes are one line."""

from __future__ import annotations

import io
import json
import math
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import one_hot

from oscbench import catalog
from oscbench.errors import UserError
from oscbench.models.backbones.dual import Dual, DualConfig
from oscbench.models.trunk import Output
from oscbench.tasks.captioned_images import (
    CaptionedImages,
    CaptionedImagesConfig,
    _recall,
    found_pairs,
    read_pairs,
    split_of,
)
from oscbench.tasks.support.images.captioned import captioned

CPU = torch.device("cpu")
COUNT = 240
SMALL = {"size": 8, "words": 6, "vocabulary": 200, "gallery": 10}


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSCBENCH_DATA", str(tmp_path / "store"))
    found_pairs.cache_clear()
    read_pairs.cache_clear()


def picture(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (10, 8), (2 * number % 256, 100 + number // 128, 50)).save(buffer, "PNG")
    return buffer.getvalue()


def caption(number: int) -> str:
    """Words that all stand in training, put together as nowhere else."""
    return f"Shade {' '.join(f'{number:03d}')} of red"


def table(folder: Path, header: str = "path,caption", count: int = COUNT) -> Path:
    """A table of a picture a line, each of its own shade of red."""
    (folder / "images").mkdir(parents=True)
    lines = [header]
    for number in range(count):
        (folder / "images" / f"{number:04d}.png").write_bytes(picture(number))
        lines.append(f'images/{number:04d}.png,"{caption(number)}"')
    path = folder / "pairs.csv"
    path.write_text("\n".join(lines))
    return path


def shards(folder: Path) -> Path:
    """The same in two tar files."""
    folder.mkdir()
    for shard in range(2):
        with tarfile.open(folder / f"{shard:05d}.tar", "w") as tar:
            for number in range(shard, COUNT, 2):
                text = caption(number)
                told = (
                    ("txt", text.encode()) if number % 3 else ("json", json.dumps({"caption": text}).encode())
                )
                for suffix, content in (told, ("png", picture(number))):
                    member = tarfile.TarInfo(f"{number:04d}.{suffix}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return folder


def made(path: Path, **settings: Any) -> CaptionedImages:
    found_pairs.cache_clear()
    read_pairs.cache_clear()
    return CaptionedImages(CaptionedImagesConfig.model_validate({**SMALL, "path": str(path), **settings}))


def test_tables_and_tar_files_give_the_same_images_and_captions(tmp_path: Path) -> None:
    one, other = (captioned(path, "task.path") for path in (table(tmp_path / "t"), shards(tmp_path / "s")))
    assert sorted(pair.caption for pair in one) == sorted(pair.caption for pair in other)
    by_caption = {pair.caption: pair for pair in other}
    for pair in one[:5]:
        with pair.picture.open() as mine, by_caption[pair.caption].picture.open() as theirs:
            assert mine.convert("RGB").tobytes() == theirs.convert("RGB").tobytes()


@pytest.mark.parametrize("header", ["filepath,title", "Image,TEXT", "\ufeffpath,caption"])
def test_columns_are_found_by_their_names(tmp_path: Path, header: str) -> None:
    assert len(captioned(table(tmp_path / "t", header), "task.path")) == COUNT


def test_splits_share_no_image_and_hold_all_pairs(tmp_path: Path) -> None:
    task = made(table(tmp_path / "t"), gallery=1000)
    names = {split: {pair.name for pair in pairs} for split, pairs in task.pairs.items()}
    assert sum(map(len, names.values())) == len(set.union(*names.values())) == COUNT
    assert len(names["train"]) > 190
    assert all(split_of(name) == split for split, some in names.items() for name in some)


def test_reading_anew_for_every_batch_gives_what_is_kept_in_memory(tmp_path: Path) -> None:
    path = table(tmp_path / "t")
    kept, read = made(path), made(path, stored=False)
    for split in ("validation", "test"):
        for one, other in zip(kept.batches(split, 4), read.batches(split, 4), strict=True):
            assert torch.equal(one.inputs, other.inputs)
            assert torch.equal(one.targets, other.targets)
    generators = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    batches = list(kept.training_batches(32, *generators))
    assert [len(batch.targets) for batch in batches] == [32] * (kept.num_training_examples // 32)
    again = next(read.training_batches(32, *(torch.Generator().manual_seed(seed) for seed in (0, 1))))
    assert torch.equal(again.inputs, batches[0].inputs)
    assert kept.data_hash() == made(path).data_hash() != read.data_hash()
    assert read.data_hash() == made(path, stored=False).data_hash()


class Sees(torch.nn.Module):
    """Knows the number of a shade from either side."""

    def __init__(self, task: CaptionedImages) -> None:
        super().__init__()
        self.task = task

    def forward(self, rows: Tensor) -> Output:
        pixels = self.task.inputs.pixels
        red, green = ((rows[:, at] * 64 + 127.5).round().long() for at in (0, pixels // 3))
        seen = red // 2 + 128 * (green - 100)
        ids = rows[:, pixels:].long()
        places = (self.task.captions["test"] == ids[:, None]).all(2).int().argmax(1)
        numbers = torch.tensor(
            [int("".join(self.task.pairs["test"][p].caption.split()[1:4])) for p in places.tolist()]
        )
        return Output(torch.stack((one_hot(seen, 256), one_hot(numbers, 256)), 1).float())


def test_retrieval_is_in_a_gallery_of_distinct_captions(tmp_path: Path) -> None:
    path = table(tmp_path / "t")
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines + [line.replace("Shade", "SHADE") for line in lines[1:]]))
    task = made(path, gallery=5)
    assert len(task.pairs["test"]) == len({pair.caption.lower() for pair in task.pairs["test"]})
    assert 2 <= len(task.pairs["test"]) <= 5
    chance = task.evaluate(task.floor("chance"), "test", CPU)
    count = len(task.pairs["test"])
    assert chance["recall_at_1"].value == pytest.approx(1 / count)
    assert chance["recall_at_1_of_5"].value == pytest.approx(min(1.0, 5 / count))
    assert set(task.evaluate(task.floor("chance"), "validation", CPU)) == {"recall_at_1"}


def test_a_model_that_knows_finds_every_caption_and_image(tmp_path: Path) -> None:
    task = made(table(tmp_path / "t"))
    found = task.evaluate(Sees(task), "test", CPU)
    assert {score.value for score in found.values()} == {1.0}


def test_two_towers_learn_pairs_of_ones_own(tmp_path: Path) -> None:
    task = made(table(tmp_path / "t"))
    softmax = catalog.load("mechanisms", "softmax")
    config = DualConfig(width=16, heads=2, layers=1, patch=4, text_width=16, text_heads=2)
    model = Dual(config, task.inputs, softmax, softmax.Config(), hidden=None, seed=0)
    batch = next(task.training_batches(16, *(torch.Generator().manual_seed(seed) for seed in (0, 1))))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        loss = task.loss(model(batch.inputs).prediction, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def refused(path: Path, **settings: Any) -> str:
    found_pairs.cache_clear()
    read_pairs.cache_clear()
    with pytest.raises(UserError) as caught:
        CaptionedImages.describe(
            CaptionedImagesConfig.model_validate({**SMALL, "path": str(path), **settings})
        )
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_captions_longer_than_the_text_tower_are_refused_or_cut(tmp_path: Path) -> None:
    path = table(tmp_path / "t")
    told = refused(path, words=4)
    assert "its caption has 6 words, the text tower takes 4" in told
    assert "task.cut=true" in told
    assert made(path, words=4, cut=True).captions["train"].shape[1] == 4


def test_what_is_no_table_of_pairs_is_one_line(tmp_path: Path) -> None:
    path = table(tmp_path / "t")
    text = path.read_text()
    for changed, expected in (
        (text.replace("path,caption", "path,words"), "names no column caption or title or text"),
        (text.replace("path,caption", "file,caption"), "names no column path or filepath or image"),
        (text.replace("images/0003.png", "images/gone.png"), "line 5: images/gone.png: no such file"),
        (text.replace(f'"{caption(3)}"', ""), "line 5: needs a path and a caption"),
        (text.split("\n")[0], "holds no image with a caption"),
        ("\n".join(text.split("\n")[:4]), "3 pairs leave"),
    ):
        path.write_text(changed)
        assert expected in refused(path)
    path.write_bytes(b"path,caption\n\xff\xfe,x\n")
    assert "cannot be read as a table" in refused(path)
    assert "is no table and no folder of tar files" in refused(tmp_path / "t" / "images" / "0001.png")
    with pytest.raises(UserError, match=r"task\.path: not given"):
        CaptionedImages.describe(CaptionedImagesConfig())


def test_what_is_no_tar_file_of_pairs_is_one_line(tmp_path: Path) -> None:
    folder = shards(tmp_path / "s")
    (folder / "00001.tar").write_bytes(b"no tar file")
    assert "00001.tar: cannot be read as a tar file" in refused(folder)
    with tarfile.open(folder / "00001.tar", "w") as tar:
        member = tarfile.TarInfo("alone.png")
        member.size = len(picture(1))
        tar.addfile(member, io.BytesIO(picture(1)))
    assert "alone has an image and no .txt or .json" in refused(folder)
    with tarfile.open(folder / "00001.tar", "w") as tar:
        for name, content in (("a.png", picture(1)), ("a.json", b'{"words": 1}')):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    assert "a.json: holds no caption" in refused(folder)


def test_captions_that_the_text_tower_reads_alike_are_one_in_a_gallery(tmp_path: Path) -> None:
    """Cut to so many words, or with unknown ones, different captions are the same to a model, which then cannot find its own."""
    path = table(tmp_path / "t", count=600)
    for settings in ({"words": 3, "cut": True}, {"vocabulary": 10}):
        task = made(path, gallery=100, **settings)
        assert 6 <= len(task.pairs["test"]) < 25
        for split in ("validation", "test"):
            assert len(task.captions[split].unique(dim=0)) == len(task.captions[split])
        found = task.evaluate(Reads(task), "test", CPU)
        assert {score.value for score in found.values()} == {1.0}


class Reads(torch.nn.Module):
    """Knows what each image's caption says to the text tower, and no more."""

    def __init__(self, task: CaptionedImages) -> None:
        super().__init__()
        self.task = task

    def forward(self, rows: Tensor) -> Output:
        ids = rows[:, self.task.inputs.pixels :].long()
        told = (self.task.captions["test"] == ids[:, None]).all(2).float()
        return Output(torch.stack((told, told), 1))


def test_a_gallery_that_any_answer_finds_its_way_in_is_refused(tmp_path: Path) -> None:
    path = table(tmp_path / "t")
    path.write_text(re.sub(r'"Shade . . (.) of red"', r'"Shade \1"', path.read_text()))
    assert "different captions in " in refused(path, words=1, cut=True)
    assert "bring captions that tell at least 6 images apart" in refused(path, words=1, cut=True)


def test_a_model_that_says_no_number_finds_nothing() -> None:
    similar = torch.eye(10)
    assert _recall(similar, 1).value == 1.0
    similar[3, 7] = torch.nan
    assert math.isnan(_recall(similar, 1).value)

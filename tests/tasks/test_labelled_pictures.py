"""Labelled photographs: CamVid's and ADE20K's layouts on made files, scaled with their labels, and told in a line where they are wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import records, run
from PIL import Image

from oscbench.data.known import ade20k_mistake, camvid_mistake
from oscbench.errors import UserError
from oscbench.tasks import Batch
from oscbench.tasks.ade20k import Ade20k, Ade20kConfig
from oscbench.tasks.camvid import CLASSES, CamVid, CamVidConfig
from oscbench.tasks.support.images.labelled_pictures import Labelling, decoded_with_labels
from oscbench.tasks.support.in_memory import mixed
from oscbench.tasks.support.segments.segmentation import IGNORED

COUNTS = {"train": 6, "val": 2, "test": 3}


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSCBENCH_DATA", str(tmp_path / "store"))


def write(image: Path, label: Path, labels: np.ndarray) -> None:
    """A picture whose red channel tells its labels, and the labels."""
    image.parent.mkdir(parents=True, exist_ok=True)
    label.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((*labels.shape, 3), dtype=np.uint8)
    pixels[..., 0] = 10 * labels
    pixels[..., 2] = 99
    Image.fromarray(pixels).save(image)
    Image.fromarray(labels).save(label)


@pytest.fixture
def streets(tmp_path: Path) -> Path:
    """CamVid's layout: 16 × 12 pixels in blocks of 2, so that half the size loses nothing."""
    random = np.random.default_rng(0)
    for split, count in COUNTS.items():
        for number in range(count):
            blocks = random.integers(0, 12, (6, 8)).astype(np.uint8)
            labels = blocks.repeat(2, 0).repeat(2, 1)
            write(
                tmp_path / "camvid" / split / f"{number}.png",
                tmp_path / "camvid" / f"{split}annot" / f"{number}.png",
                labels,
            )
    return tmp_path / "camvid"


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """ADE20K's layout: labels 0 to 150, pictures of two shapes."""
    random = np.random.default_rng(0)
    root = tmp_path / "ADEChallengeData2016"
    for split, count in (("training", 20), ("validation", 3)):
        for number in range(count):
            shape = (12, 8) if number % 2 else (8, 16)
            labels = random.integers(0, 151, shape).astype(np.uint8)
            image, label = (
                root / "images" / split / f"{number:03}.jpg",
                root / "annotations" / split / f"{number:03}.png",
            )
            write(image, label, labels)
    return root


def camvid(folder: Path, **settings: object) -> CamVid:
    return CamVid(CamVidConfig.model_validate({"path": str(folder), "height": 6, "width": 8, **settings}))


def stored_places(count: int) -> list[int]:
    """Which stored picture stands at each place of a split, whose order is mixed."""
    return [int(one) for one in mixed(Batch(torch.arange(count), torch.arange(count))).targets]


def test_streets_are_scaled_with_their_labels_and_void_counts_nowhere(streets: Path) -> None:
    task = camvid(streets)
    assert [len(task.splits[split].inputs) for split in ("train", "validation", "test")] == [6, 2, 3]
    assert task.inputs == type(task.inputs)(3, 6, 8, 11)
    for place, number in enumerate(stored_places(3)):
        small = np.asarray(Image.open(streets / "testannot" / f"{number}.png"))[::2, ::2]
        expected = np.where(small == 11, IGNORED, small)
        assert np.array_equal(task.splits["test"].targets[place].numpy(), expected)
        assert np.array_equal(task.splits["test"].inputs[place, 0].numpy(), 10 * small)
    assert task.headline(task.config)[0] == "CamVid, 8 × 6"
    whole = camvid(streets, height=12, width=16)
    assert np.array_equal(
        whole.splits["test"].targets[:, ::2, ::2].numpy(), task.splits["test"].targets.numpy()
    )


def test_batches_are_normalised_and_augmented_with_their_labels(streets: Path) -> None:
    task = camvid(streets, height=12, width=16, crop_area=0.3)
    batch = next(task.batches("test", 3))
    assert batch.targets.dtype == torch.int64
    order, augmentation = torch.Generator().manual_seed(0), torch.Generator().manual_seed(1)
    (augmented,) = task.training_batches(6, order, augmentation)
    red = augmented.inputs[:, 0] * task.spread[0, 0] + task.mean[0, 0]
    known = augmented.targets != IGNORED
    told = torch.where(known, augmented.targets, 11)
    # Between blocks an enlarged picture is blurred; inside, red is ten times the label of that very pixel.
    near = (red / 10 - told).abs() < 0.2
    assert 0.4 < float(near.float().mean()) < 1.0
    plain = camvid(streets, height=12, width=16, crop_area=1.0)
    order, augmentation = torch.Generator().manual_seed(0), torch.Generator().manual_seed(1)
    (mirrored,) = plain.training_batches(6, order, augmentation)
    red = mirrored.inputs[:, 0] * plain.spread[0, 0] + plain.mean[0, 0]
    told = torch.where(mirrored.targets == IGNORED, 11, mirrored.targets)
    assert torch.allclose(red, 10.0 * told, atol=1e-2)
    order, augmentation = torch.Generator().manual_seed(0), torch.Generator().manual_seed(1)
    stored = camvid(streets, height=12, width=16, crop_area=1.0, flip=False)
    (same,) = stored.training_batches(6, order, augmentation)
    assert not torch.equal(same.targets, mirrored.targets)


def test_floors_of_streets_know_places(streets: Path) -> None:
    task = camvid(streets)
    assert set(task.floors(task.config)) == {"chance", "place", "window", "window_place"}
    for name in task.floors(task.config):
        found = task.evaluate(task.floor(name), "test", torch.device("cpu"))
        assert 0.0 <= found["miou"].value <= 1.0
    # The label is written into the red channel of each block, so that a pixel's neighbourhood tells a good part of it.
    window, place = (
        task.evaluate(task.floor(n), "train", torch.device("cpu"))["pixel_accuracy"]
        for n in ("window", "place")
    )
    assert window.value > 0.3
    assert place.value > 0.2


def test_other_is_void_and_classes_are_renumbered_once(scenes: Path) -> None:
    task = Ade20k(Ade20kConfig(path=str(scenes), size=8))
    assert [len(task.splits[split].inputs) for split in ("train", "validation", "test")] == [18, 2, 3]
    assert task.inputs.num_classes == len(task.classes) == 150
    labels = np.asarray(Image.open(scenes / "annotations" / "validation" / "000.png")).astype(int)
    middle = labels[:, 4:12]
    first, second = (stored_places(3).index(number) for number in (0, 1))
    assert np.array_equal(
        task.splits["test"].targets[first].numpy(), np.where(middle == 0, IGNORED, middle - 1)
    )
    tall = np.asarray(Image.open(scenes / "annotations" / "validation" / "001.png")).astype(int)[2:10]
    assert np.array_equal(task.splits["test"].targets[second].numpy(), np.where(tall == 0, IGNORED, tall - 1))
    assert task.metric_named("iou_17").label == "test IoU of 17"


def spoil(folder: Path, what: str) -> None:
    label = folder / "trainannot" / "3.png"
    if what == "range":
        Image.fromarray(np.full((12, 16), 12, dtype=np.uint8)).save(label)
    elif what == "size":
        Image.fromarray(np.zeros((12, 15), dtype=np.uint8)).save(label)
    elif what == "palette":
        Image.fromarray(np.zeros((12, 16), dtype=np.uint8)).convert("P").save(label)
    elif what == "colours":
        Image.fromarray(np.zeros((12, 16, 3), dtype=np.uint8)).save(label)
    elif what == "damaged":
        label.write_bytes(label.read_bytes()[:40])
    elif what == "missing":
        label.unlink()
    elif what == "empty":
        for path in (folder / "train").iterdir():
            path.unlink()
    elif what == "void":
        for path in (folder / "valannot").iterdir():
            Image.fromarray(np.full((12, 16), 11, dtype=np.uint8)).save(path)


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("range", "trainannot/3.png: a label of 12; allowed: 0 to 10, and 11 for void"),
        ("size", "trainannot/3.png: 15 × 12 pixels, its image 3.png has 16 × 12"),
        ("palette", "trainannot/3.png: a picture in colours (mode P), needs one channel of class numbers"),
        ("colours", "trainannot/3.png: a picture in colours (mode RGB), needs one channel of class numbers"),
        ("damaged", "trainannot/3.png: cannot be read as an image"),
        ("missing", "trainannot/3.png is not there"),
        ("empty", "train/ holds no image"),
        ("void", "valannot: every pixel of every label picture is void"),
    ],
)
def test_what_is_wrong_is_told_in_a_line_that_names_the_file(streets: Path, what: str, expected: str) -> None:
    spoil(streets, what)
    with pytest.raises(UserError) as caught:
        camvid(streets)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_folders_are_told_from_others_before_they_are_stored(streets: Path, scenes: Path) -> None:
    assert camvid_mistake(streets) is None
    assert ade20k_mistake(scenes) is None
    assert camvid_mistake(scenes) == "train/ holds no image (.jpg, .png)"
    assert ade20k_mistake(streets) == "images/training/ holds no image (.jpg, .png)"


def test_pixels_are_taken_from_the_middle_of_what_they_cover(tmp_path: Path) -> None:
    labels = np.arange(9, dtype=np.uint8).reshape(1, 9).repeat(9, 0)
    write(tmp_path / "a.png", tmp_path / "b.png", labels)
    _, found = decoded_with_labels([(tmp_path / "a.png", tmp_path / "b.png")], (3, 3), Labelling(9, 0, 255))
    assert found[0, 0].tolist() == [1, 4, 7]


def test_a_cell_on_streets_runs_and_says_which_classes_it_never_saw(
    tiny, tmp_path: Path, streets: Path
) -> None:
    for split in COUNTS:
        for path in (streets / f"{split}annot").iterdir():
            labels = np.asarray(Image.open(path)) % 3
            write(streets / split / path.name, path, labels.astype(np.uint8))
    suite = tiny(
        task=f"{{name: camvid, path: '{streets}', height: 6, width: 8}}",
        model="{width: 16, heads: 2, layers: 1, patch: 2}",
        train="{steps: 3, batch_size: 4}",
        mechanisms="[softmax, rope]",
        measures="[params, flops, health]",
    )
    assert run(suite, tmp_path / "results") == 0
    found = records(tmp_path / "results")
    for record in found.values():
        assert record.status == "ok"
        assert record.metric == "miou"
        left_out = record.measures["miou"].details.get("never_seen", [])
        seen = [name for name in CLASSES if f"iou_{name}" in record.measures]
        assert sorted([*left_out, *seen]) == sorted(CLASSES)
        assert record.measures["miou"].n == len(seen)
        assert record.measures["validation_miou"].value is not None


def test_floors_and_models_answer_the_same_question(streets: Path) -> None:
    task = camvid(streets)
    batch = Batch(*(getattr(next(task.batches("test", 2)), part) for part in ("inputs", "targets")))
    floor = task.floor("chance")(batch.inputs).prediction
    assert floor.shape == (2, 11, 6, 8)

"""CIFAR-10 and folders of photographs, from small files that the tests write: what is read, what is drawn, what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from oscbench.data import add
from oscbench.data.known import CIFAR10_CLASSES
from oscbench.errors import UserError
from oscbench.tasks import Batch, cifar10
from oscbench.tasks.cifar10 import Cifar10, Cifar10Config
from oscbench.tasks.image_folder import ImageFolder, ImageFolderConfig
from oscbench.tasks.support.images.stored import channel_statistics, cropped
from oscbench.tasks.support.in_memory import mixed


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSCBENCH_DATA", str(tmp_path / "store"))


def cifar_rows(part: int, count: int = 20) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(part)
    return generator.integers(0, 256, (count, 3072), dtype=np.uint8), np.arange(count) % 10


NAMES = (*(f"data_batch_{part}" for part in range(1, 6)), "test_batch")


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for part, name in enumerate(NAMES):
        images, classes = cifar_rows(part)
        rows = np.concatenate((classes[:, None].astype(np.uint8), images), axis=1)
        (folder / f"{name}.bin").write_bytes(rows.tobytes())
    return folder


@pytest.fixture
def pickled(tmp_path: Path) -> Path:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for part, name in enumerate(NAMES):
        images, classes = cifar_rows(part)
        # As Python 2 wrote them: names are bytes, and so they are read.
        batch = {
            b"data": images,
            b"labels": classes.tolist(),
            b"batch_label": name.encode(),
            b"filenames": [b"x"] * 20,
        }
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    return folder


def test_both_forms_are_the_same_images(binary: Path, pickled: Path) -> None:
    one, two = Cifar10(Cifar10Config(path=str(binary))), Cifar10(Cifar10Config(path=str(pickled)))
    assert one.data_hash() == two.data_hash()
    images, classes = cifar_rows(5)
    expected = mixed(Batch(torch.from_numpy(images.reshape(20, 3, 32, 32)), torch.from_numpy(classes)))
    assert torch.equal(one.splits["test"].inputs, expected.inputs)
    assert torch.equal(one.splits["test"].targets, expected.targets)
    above = Cifar10(Cifar10Config(path=str(binary.parent)))
    assert above.data_hash() == one.data_hash()


@pytest.fixture
def as_images(tmp_path: Path) -> Path:
    """Twenty training and two test images of each class, one grey among them."""
    place = tmp_path / "cifar10"
    for split, count in (("train", 20), ("test", 2)):
        for label, name in enumerate(CIFAR10_CLASSES):
            folder = place / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                image = picture(100 * label + index, 32, 32)
                (image.convert("L") if index == 1 else image).save(folder / f"{index:04}.jpg")
    return place


def test_images_in_folders_are_cifar_too_and_the_label_says_jpeg(as_images: Path, tmp_path: Path) -> None:
    config = Cifar10Config(path=str(as_images))
    task = Cifar10(config)
    assert {split: len(batch.targets) for split, batch in task.splits.items()} == {
        "train": 180,
        "validation": 20,
        "test": 20,
    }
    stored_order = torch.arange(20)
    places = mixed(Batch(stored_order, stored_order)).targets
    assert task.splits["test"].targets.tolist() == [place // 2 for place in places.tolist()]
    with Image.open(as_images / "test" / "bird" / "0000.jpg") as opened:
        expected = torch.from_numpy(np.asarray(opened).copy())
    assert torch.equal(task.splits["test"].inputs[places == 4][0].permute(1, 2, 0), expected)
    assert task.headline(config)[0] == "CIFAR-10 (JPEG)"
    add("cifar10_jpeg", as_images)
    stored = Cifar10Config(path="cifar10_jpeg")
    assert Cifar10(stored).data_hash() == task.data_hash()
    assert Cifar10.headline(stored)[0] == "CIFAR-10 (JPEG)"
    assert Cifar10.headline(Cifar10Config())[0] == "CIFAR-10"


def test_what_measures_look_at_first_is_of_several_classes(as_images: Path) -> None:
    """Files in folders stand class by class, and a probe of the first images was of one class alone."""
    task = Cifar10(Cifar10Config(path=str(as_images)))
    for split in ("validation", "test"):
        first = task.splits[split].targets[:10]
        assert len(first.unique()) > 5, "stored, the first ten are of five classes"


def test_images_of_cifar_are_decoded_once(as_images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Cifar10Config(path=str(as_images))
    first = Cifar10(config)
    monkeypatch.setattr(cifar10, "decoded", lambda *_, **__: pytest.fail("decoded again"))
    assert Cifar10(config).data_hash() == first.data_hash()


def test_bad_images_of_cifar_are_told_in_a_line(as_images: Path, tmp_path: Path) -> None:
    def describe() -> object:
        return Cifar10.describe(Cifar10Config(path=str(as_images)))

    refused(
        lambda: Cifar10.describe(Cifar10Config(path="cifar10_jpeg")),
        "cifar10_jpeg: not in the data store .* oscbench data add cifar10_jpeg --from PATH",
    )
    picture(0, 32, 31).save(as_images / "train" / "dog" / "0003.jpg")
    refused(
        lambda: Cifar10(Cifar10Config(path=str(as_images))), r"dog/0003\.jpg: 32 × 31 pixels, needs 32 × 32"
    )
    picture(0, 32, 32).save(as_images / "train" / "dog" / "0003.jpg")
    for image in (as_images / "test" / "ship").glob("*"):
        image.unlink()
    refused(lambda: Cifar10(Cifar10Config(path=str(as_images))), r"test/ship: no image in it")
    (as_images / "test" / "ship").rmdir()
    refused(describe, r"test/ship/ is not there; give a folder with train/CLASS")
    refused(lambda: add("cifar10_jpeg", as_images), r"test/ship/ is not there")
    (as_images / "test" / "ship").mkdir()
    (as_images / "train" / "zebra").mkdir()
    refused(describe, r"train/zebra/ is none of the classes airplane")


def test_both_forms_can_be_stored_and_are_then_the_default(
    binary: Path, pickled: Path, tmp_path: Path
) -> None:
    for folder in (binary, pickled):
        add("cifar10", folder)
        assert Cifar10(Cifar10Config()).data_hash() == Cifar10(Cifar10Config(path=str(folder))).data_hash()
    (pickled / "data_batch_4").unlink()
    refused(
        lambda: add("cifar10", pickled),
        r"cifar-10-batches-py: neither data_batch_4 nor data_batch_4\.bin is there",
    )
    refused(lambda: add("cifar10", binary / "test_batch.bin"), "must be a folder")
    refused(lambda: add("imagenet100", tmp_path), "train/ holds 0 classes, not 100")
    for split, count in (("train", 100), ("val", 99)):
        for number in range(count):
            (tmp_path / split / f"n{number:03}").mkdir(parents=True)
    refused(lambda: add("imagenet100", tmp_path), "val/n099/ is not there")


def test_old_modules_of_arrays_are_read_and_nothing_else_is_run(pickled: Path, tmp_path: Path) -> None:
    path = pickled / "data_batch_2"
    raw = path.read_bytes()
    assert b"numpy._core.multiarray" in raw
    path.write_bytes(raw.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    Cifar10(Cifar10Config(path=str(pickled)))

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return (Path.touch, (tmp_path / "was_run",))

    path.write_bytes(pickle.dumps({b"data": Evil(), b"labels": [0]}, protocol=2))
    with pytest.raises(
        UserError, match=r"data_batch_2: not a batch of CIFAR-10 \(it names .*, which no array needs\)"
    ):
        Cifar10(Cifar10Config(path=str(pickled)))
    assert not (tmp_path / "was_run").exists()


def test_a_tenth_of_each_class_is_held_back_and_shares_are_nested(binary: Path) -> None:
    whole = Cifar10(Cifar10Config(path=str(binary)))
    sizes = {split: len(batch.targets) for split, batch in whole.splits.items()}
    assert sizes == {"train": 90, "validation": 10, "test": 20}
    assert torch.bincount(whole.splits["validation"].targets).tolist() == [1] * 10
    half = Cifar10(Cifar10Config(path=str(binary), fraction=0.5))
    fewer = Cifar10(Cifar10Config(path=str(binary), fraction=0.25))
    assert torch.equal(half.splits["validation"].inputs, whole.splits["validation"].inputs)
    rows = [
        {image.numpy().tobytes() for image in task.splits["train"].inputs} for task in (fewer, half, whole)
    ]
    assert rows[0] < rows[1] < rows[2]
    assert len(rows[1]) == 50
    held = {image.numpy().tobytes() for image in whole.splits["validation"].inputs}
    assert not held & rows[2]


def test_draws_hold_back_other_images_and_leave_the_test(binary: Path) -> None:
    def rows(batch: Batch) -> set[bytes]:
        return {image.numpy().tobytes() for image in batch.inputs}

    each = Cifar10Config(path=str(binary), draw="per_seed")
    fixed = Cifar10(Cifar10Config(path=str(binary)))
    zero, five = Cifar10.for_seed(each, 0), Cifar10.for_seed(each, 5)
    assert zero.data_hash() == fixed.data_hash()
    assert rows(five.splits["validation"]) != rows(fixed.splits["validation"])
    assert torch.equal(five.splits["test"].inputs, fixed.splits["test"].inputs)
    assert torch.bincount(five.splits["validation"].targets).tolist() == [1] * 10
    assert not rows(five.splits["validation"]) & rows(five.splits["train"])


def test_batches_are_normalised_and_drawn_from_their_generators(binary: Path) -> None:
    task = Cifar10(Cifar10Config(path=str(binary), shift=0, flip=False))
    plain = torch.cat([batch.inputs for batch in task.training_batches(32, *_generators())])
    assert plain.mean((0, 2, 3)).abs().max() < 1e-4
    assert (plain.std((0, 2, 3)) - 1).abs().max() < 1e-3
    moving = Cifar10(Cifar10Config(path=str(binary), crop_area=0.5))
    one, two = (next(moving.training_batches(32, *_generators())) for _ in range(2))
    assert torch.equal(one.inputs, two.inputs)
    other = next(
        moving.training_batches(32, torch.Generator().manual_seed(0), torch.Generator().manual_seed(2))
    )
    assert torch.equal(one.targets, other.targets)
    assert not torch.equal(one.inputs, other.inputs)
    fixed = [next(moving.batches("test", 8)).inputs for _ in range(2)]
    assert torch.equal(*fixed)


def test_flips_mirror_about_half_of_the_images(binary: Path) -> None:
    task = Cifar10(Cifar10Config(path=str(binary), shift=0))
    plain = Cifar10(Cifar10Config(path=str(binary), shift=0, flip=False))
    one, two = (next(given.training_batches(90, *_generators())).inputs for given in (task, plain))
    kept = (one == two).flatten(1).all(1)
    mirrored = (one == two.flip(-1)).flatten(1).all(1)
    assert bool((kept ^ mirrored).all())
    assert 25 < int(mirrored.sum()) < 65


def test_crops_enlarge_a_part_and_keep_their_bounds() -> None:
    ramp = torch.linspace(0, 1, 64).expand(500, 1, 64, 64)
    found = cropped(ramp, 0.3, torch.Generator().manual_seed(0))
    assert found.shape == ramp.shape
    widths = found[:, 0, 0, -1] - found[:, 0, 0, 0]
    heights = cropped(ramp.mT, 0.3, torch.Generator().manual_seed(0))
    area = widths * (heights[:, 0, -1, 0] - heights[:, 0, 0, 0])
    assert 0.27 < area.min() < 0.36
    assert area.max() <= 1.0
    assert found.min() >= 0
    assert found.max() <= 1
    assert cropped(ramp, 1.0, torch.Generator()) is ramp


def test_channel_statistics_are_those_of_the_whole() -> None:
    images = torch.randint(
        0, 256, (1500, 3, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    mean, spread = channel_statistics(images)
    assert torch.allclose(mean[0, :, 0, 0], images.double().mean((0, 2, 3)).float())
    assert torch.allclose(spread[0, :, 0, 0], images.double().std((0, 2, 3), correction=0).float())


def _generators() -> tuple[torch.Generator, torch.Generator]:
    return torch.Generator().manual_seed(0), torch.Generator().manual_seed(1)


def refused(call: object, match: str) -> None:
    with pytest.raises(UserError, match=match) as caught:
        call()  # type: ignore[operator]
    assert "\n" not in str(caught.value)


def test_bad_cifar_is_told_in_a_line(binary: Path, pickled: Path, tmp_path: Path) -> None:
    refused(
        lambda: Cifar10.describe(Cifar10Config()),
        "cifar10: not in the data store .* oscbench data add cifar10 --from PATH",
    )
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(
        lambda: Cifar10.describe(Cifar10Config(path=str(empty))), r"empty/data_batch_1: no such file; give"
    )
    whole = (binary / "data_batch_3.bin").read_bytes()
    for content, said in (
        (whole[:-5], "61,455 bytes are no whole number of images of 3073"),
        (b"", "0 bytes"),
        (b"\x0b" + whole[1:], "a class of 11"),
    ):
        (binary / "data_batch_3.bin").write_bytes(content)
        refused(
            lambda: Cifar10(Cifar10Config(path=str(binary))),
            rf"data_batch_3\.bin: not a batch .*{said}.*bring it again",
        )
    (binary / "data_batch_3.bin").unlink()
    refused(lambda: Cifar10.describe(Cifar10Config(path=str(binary))), r"data_batch_3\.bin: no such file")
    images, classes = cifar_rows(0)
    good = pickle.dumps({b"data": images, b"labels": classes.tolist()}, protocol=2)
    for content, said in (
        (good[: len(good) // 2], "not a batch of CIFAR-10"),
        (pickle.dumps({b"data": images}), "labels"),
        (pickle.dumps({b"data": images[:3], b"labels": classes.tolist()}, protocol=2), "beside 20 labels"),
        (pickle.dumps({b"data": images.astype(float), b"labels": [1]}, protocol=2), "no table of bytes"),
        (pickle.dumps([1, 2]), "not a batch of CIFAR-10"),
        (b"<html>404</html>", "not a batch of CIFAR-10"),
    ):
        (pickled / "test_batch").write_bytes(content)
        refused(lambda: Cifar10(Cifar10Config(path=str(pickled))), rf"test_batch: .*{said}")


def picture(seed: int, width: int, height: int) -> Image.Image:
    generator = np.random.default_rng(seed)
    return Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Three classes; ten training and four test images each, of several shapes, forms and colour modes."""
    place = tmp_path / "photographs"
    for split, count in (("train", 10), ("val", 4)):
        for label, name in enumerate(("ant", "bee", "cat")):
            folder = place / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                image = picture(100 * label + index, 20 + index, 26 - index)
                if index == 1:
                    image = image.convert("L")
                if index == 2:
                    image.convert("RGBA").save(folder / f"{index}.png")
                else:
                    image.save(folder / f"{index}.JPEG")
            (folder / "notes.txt").write_text("no image")
    return place


def test_folders_become_squares_and_classes(photographs: Path) -> None:
    config = ImageFolderConfig(path=str(photographs), size=16)
    task = ImageFolder(config)
    assert task.inputs.num_classes == 3
    assert {split: tuple(batch.inputs.shape) for split, batch in task.splits.items()} == {
        "train": (27, 3, 16, 16),
        "validation": (3, 3, 16, 16),
        "test": (12, 3, 16, 16),
    }
    places = mixed(Batch(torch.arange(12), torch.arange(12))).targets
    assert task.splits["test"].targets.tolist() == [place // 4 for place in places.tolist()]
    with Image.open(photographs / "val" / "bee" / "3.JPEG") as opened:
        assert opened.size == (23, 23)
        expected = np.asarray(opened.convert("RGB").resize((16, 16), Image.Resampling.BICUBIC))
    assert torch.equal(
        task.splits["test"].inputs[places == 4 + 3][0].permute(1, 2, 0), torch.from_numpy(expected.copy())
    )
    assert ImageFolder(config).data_hash() == task.data_hash()
    assert task.headline(config)[0] == "photographs of photographs, 16 pixels"


def test_the_middle_is_kept(tmp_path: Path) -> None:
    image = np.zeros((10, 30, 3), dtype=np.uint8)
    image[:, 10:20] = 200
    for split in ("train", "test"):
        for name in ("one", "two"):
            folder = tmp_path / "wide" / split / name
            folder.mkdir(parents=True)
            for index in range(3):
                Image.fromarray(image).save(folder / f"{index}.png")
    task = ImageFolder(ImageFolderConfig(path=str(tmp_path / "wide"), size=10))
    assert (task.splits["test"].inputs == 200).all()


def test_fewer_classes_by_number_and_by_list(photographs: Path, tmp_path: Path) -> None:
    chosen = tmp_path / "chosen.txt"
    chosen.write_text("cat a cat\n\nant an ant\n")
    task = ImageFolder(ImageFolderConfig(path=str(photographs), size=8, class_list=str(chosen)))
    whole = ImageFolder(ImageFolderConfig(path=str(photographs), size=8))
    assert task.inputs.num_classes == 2
    cats = [
        one.splits["test"].inputs[one.splits["test"].targets == label].unique(dim=0)
        for one, label in ((task, 0), (whole, 2))
    ]
    assert torch.equal(*cats)
    assert task.splits["test"].targets.bincount().tolist() == [4, 4]
    two = ImageFolder(ImageFolderConfig(path=str(photographs), size=8, classes=2))
    of_two = whole.splits["test"].inputs[whole.splits["test"].targets < 2]
    assert torch.equal(two.splits["test"].inputs.unique(dim=0), of_two.unique(dim=0))


def test_bad_folders_and_images_are_told_in_a_line(photographs: Path, tmp_path: Path) -> None:
    def describe(**settings: object) -> object:
        given = {"path": str(photographs), "size": 8, **settings}
        return lambda: ImageFolder.describe(ImageFolderConfig.model_validate(given))

    refused(describe(path=None), r"task\.path: not given; give a folder with train/CLASS")
    refused(describe(path=str(tmp_path / "nowhere" / "at")), "no such file or folder")
    refused(describe(path=str(photographs / "val")), r"val/train: no such folder")
    refused(describe(classes=5), r"task\.classes: got 5; .* has 3 of them")
    refused(describe(class_list=str(tmp_path / "none.txt")), r"task\.class_list: .*none\.txt: cannot be read")
    (tmp_path / "wrong.txt").write_text("dog\n")
    refused(describe(class_list=str(tmp_path / "wrong.txt")), '"dog" is none of the 3 classes')

    def load() -> object:
        return ImageFolder(ImageFolderConfig(path=str(photographs), size=8))

    damaged = photographs / "train" / "bee" / "3.JPEG"
    whole = damaged.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"not an image"):
        damaged.write_bytes(content)
        refused(load, r"bee/3\.JPEG: cannot be read as an image \(.+\); bring it again, or remove it")
    damaged.write_bytes(whole)
    for image in (photographs / "val" / "cat").glob("*.*"):
        image.unlink()
    refused(load, r"val/cat: no image in it")
    (photographs / "val").rename(photographs / "other")
    refused(load, "none of val, validation, test is there")


def test_without_pillow_the_remedy_is_told(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    refused(
        lambda: ImageFolder.describe(ImageFolderConfig(path=str(photographs))),
        r"pip install \"oscbench\[images\]\"",
    )


@pytest.mark.filterwarnings("default")  # the library's own, from pickling to name its caches
def test_saved_data_sets_are_read_like_folders(photographs: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    features = datasets.Features(
        {
            "picture": datasets.Image(),
            "kind": datasets.ClassLabel(names=["ant", "bee", "cat"]),
            "note": datasets.Value("string"),
        }
    )

    def part(split: str) -> object:
        rows = [
            (str(path), path.parent.name)
            for path in sorted((photographs / split).rglob("*.*"))
            if path.suffix != ".txt"
        ]
        table = {
            "picture": [row[0] for row in rows],
            "kind": [row[1] for row in rows],
            "note": ["x"] * len(rows),
        }
        return datasets.Dataset.from_dict(table, features=features)

    place = tmp_path / "saved"
    datasets.DatasetDict({"train": part("train"), "validation": part("val")}).save_to_disk(str(place))
    saved = ImageFolder(ImageFolderConfig(path=str(place), size=8))
    assert saved.data_hash() == ImageFolder(ImageFolderConfig(path=str(photographs), size=8)).data_hash()


def test_a_saved_data_set_without_the_package_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    (tmp_path / "dataset_dict.json").write_text("{}")
    refused(
        lambda: ImageFolder.describe(ImageFolderConfig(path=str(tmp_path))),
        r"pip install \"oscbench\[hub\]\"",
    )

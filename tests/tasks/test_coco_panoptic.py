"""COCO's panoptic layout on made files: ids in colours, things, stuff, crowds and void; wrong files are named in a line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from oscbench.data import add
from oscbench.errors import UserError
from oscbench.tasks import Batch
from oscbench.tasks.coco_panoptic import CocoPanoptic, CocoPanopticConfig
from oscbench.tasks.support.in_memory import mixed
from oscbench.tasks.support.segments.panoptic import INSTANCES, VOID, crowd_of, segments_of

CPU = torch.device("cpu")
CATEGORIES = [
    {"id": 1, "name": "person", "isthing": 1},
    {"id": 200, "name": "rug", "isthing": 0},
    {"id": 18, "name": "dog", "isthing": 1},
]
IDS = {"first": 66_051, "second": 5, "rug": 70_000, "crowd": 9, "dog": 16_777_215}
SEGMENTS = [
    {"id": IDS["first"], "category_id": 1, "iscrowd": 0, "area": 8},
    {"id": IDS["rug"], "category_id": 200, "iscrowd": 0, "area": 12},
    {"id": IDS["second"], "category_id": 1, "iscrowd": 0, "area": 8},
    {"id": IDS["crowd"], "category_id": 1, "iscrowd": 1, "area": 4},
    {"id": IDS["dog"], "category_id": 18, "iscrowd": 0, "area": 4},
]
MEANS = {
    0: VOID,
    IDS["first"]: 0,
    IDS["second"]: 1,
    IDS["rug"]: INSTANCES,
    IDS["dog"]: 2 * INSTANCES,
    IDS["crowd"]: crowd_of(0),
}


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSCBENCH_DATA", str(tmp_path / "store"))


def colours(ids: np.ndarray) -> np.ndarray:
    return np.stack((ids % 256, ids // 256 % 256, ids // 65_536), axis=-1).astype(np.uint8)


def drawn(number: int) -> np.ndarray:
    """Ids of 8 × 12 pixels in blocks of 2, so that half the size loses nothing; all are there, and void."""
    blocks = np.array([*MEANS] * 4)
    return np.random.default_rng(number).permutation(blocks).reshape(4, 6).repeat(2, 0).repeat(2, 1)


def write(root: Path, split: str, ids: list[np.ndarray]) -> None:
    """Images whose red channel tells the place of each id, with label pictures and their list."""
    pictures = root / "annotations" / f"panoptic_{split}"
    for folder in (root / split, pictures):
        folder.mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for number, one in enumerate(ids):
        red = np.searchsorted(sorted(MEANS), one).astype(np.uint8) * 30
        Image.fromarray(np.stack((red, red * 0, red * 0 + 99), axis=-1)).save(
            root / split / f"{number:03}.png"
        )
        Image.fromarray(colours(one)).save(pictures / f"{number:03}.png")
        images.append({"id": 900 - number, "file_name": f"{number:03}.png", "height": 8, "width": 12})
        annotations.append(
            {"image_id": 900 - number, "file_name": f"{number:03}.png", "segments_info": SEGMENTS}
        )
    content = {"images": images, "annotations": annotations, "categories": CATEGORIES}
    listed(root, split).write_text(json.dumps(content))


def listed(root: Path, split: str) -> Path:
    return root / "annotations" / f"panoptic_{split}.json"


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    for split, count, first in (("train2017", 5, 0), ("val2017", 3, 50)):
        write(tmp_path / "coco", split, [drawn(first + number) for number in range(count)])
    return tmp_path / "coco"


def coco(folder: Path, size: int = 4, **settings: Any) -> CocoPanoptic:
    return CocoPanoptic(CocoPanopticConfig(path=str(folder), size=size, **settings))


def test_ids_are_read_from_colours_and_become_classes_and_instances(photographs: Path) -> None:
    task = coco(photographs)
    assert {split: len(part.inputs) for split, part in task.splits.items()} == {
        "train": 4,
        "validation": 1,
        "test": 3,
    }
    assert (task.classes, task.stuff) == (("person", "rug", "dog"), {1})
    assert (task.inputs.num_classes, task.headline(task.config)[0]) == (
        3,
        "COCO panoptic segmentation, whole images at 4 × 4",
    )
    order = [int(one) for one in mixed(Batch(torch.arange(3), torch.arange(3))).targets]
    for place, number in enumerate(order):
        ids = drawn(50 + number)[1::2][:, [1, 4, 7, 10]]
        expected = np.vectorize(MEANS.__getitem__)(ids)
        assert np.array_equal(task.splits["test"].targets[place].numpy(), expected)
    # COCO's archives have the label pictures beside the lists; some unpack them beside the images.
    moved = photographs / "panoptic_val2017"
    (photographs / "annotations" / "panoptic_val2017").rename(moved)
    again = coco(photographs).splits["test"]
    assert torch.equal(again.targets, task.splits["test"].targets)


def answered(targets: Tensor, classes: int, crowded: bool) -> Tensor:
    """A prediction of what is there; or one whose query for the first person takes crowds and void, too."""
    wanted, truth = segments_of(targets)
    if crowded:
        truth[:, 0] += ((targets == VOID) | (targets == crowd_of(0))).flatten(1)
    scores = torch.full((*wanted.shape, classes + 1), -20.0).scatter(2, wanted[..., None], 20.0)
    return torch.cat((scores, 40.0 * truth - 20.0), dim=2)


def test_crowds_and_void_cost_nothing_and_train_nothing(photographs: Path) -> None:
    task = coco(photographs, size=12)
    batch = next(task.batches("test", 3))
    right = answered(batch.targets, 3, crowded=False)
    assert {name: score.value for name, score in task.scored([(right, batch)]).items()} == dict.fromkeys(
        ("pq", "sq", "rq", "pq_things", "pq_stuff"), 1.0
    )
    # Who takes void as well is right; crowds are taken out of no union, but are nobody's that was missed.
    found = task.scored([(answered(batch.targets, 3, crowded=True), batch)])
    assert found["pq_stuff"].value == 1.0
    assert 0.5 < found["pq_things"].value < 1.0
    targets = torch.where(batch.targets == crowd_of(0), VOID, batch.targets)
    assert task.loss(right, batch).item() == task.loss(right, Batch(batch.inputs, targets)).item()
    # A query for the crowd alone is excused, and one of another class is not.
    crowd = 40.0 * (batch.targets == crowd_of(0)).flatten(1).float() - 20.0
    for name, expected in ((0, 1.0), (2, (1.0 + 3 / 4.5) / 2)):
        scores = torch.full((3, 1, 4), -20.0)
        scores[..., name] = 20.0
        more = torch.cat((right, torch.cat((scores, crowd[:, None]), dim=2)), dim=1)
        assert task.scored([(more, batch)])["pq_things"].value == pytest.approx(expected)


def test_batches_are_cropped_with_their_labels_and_trained_on(photographs: Path) -> None:
    task = coco(photographs, size=12, crop_area=0.5)
    streams = [torch.Generator().manual_seed(number) for number in (0, 1)]
    (batch,) = task.training_batches(4, *streams)
    red = (batch.inputs[:, 0] * task.spread[0, 0] + task.mean[0, 0]) / 30
    places = {means: place for place, means in enumerate(MEANS[one] for one in sorted(MEANS))}
    told = torch.tensor([places[int(one)] for one in batch.targets.flatten()]).view_as(red)
    assert float(((red - told).abs() < 0.2).float().mean()) > 0.4
    prediction = torch.zeros(4, 6, 4 + 144, requires_grad=True)
    task.loss(prediction, batch).backward()
    assert prediction.grad is not None
    assert bool(prediction.grad.isfinite().all())


def test_the_floor_is_the_stuff_that_there_is_most_of(photographs: Path) -> None:
    task = coco(photographs, size=12)
    found = task.evaluate(task.floor("chance"), "test", CPU)
    assert found["pq_things"].value == 0.0
    assert found["pq_stuff"].value < 0.5
    rug = torch.full_like(task.splits["test"].targets, INSTANCES)
    rug[:, 0] = VOID
    task.splits["test"] = Batch(task.splits["test"].inputs, rug)
    assert task.evaluate(task.floor("chance"), "test", CPU)["pq"].value == 1.0
    task.stuff = frozenset()
    assert task.evaluate(task.floor("chance"), "test", CPU)["pq"].value == 0.0


def changed(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def segment(content: dict[str, Any]) -> dict[str, Any]:
    """One that several tests spoil."""
    found: dict[str, Any] = content["annotations"][1]["segments_info"][4]
    return found


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda c: segment(c).update(category_id=77),
         f"annotation 001.png: segment {IDS['dog']}: category_id 77 is none of its 3 categories (1 to 200)"),
        (lambda c: segment(c).update(id=5), "annotation 001.png: segment 5 is there twice"),
        (lambda c: segment(c).update(iscrowd="no"), f"annotation 001.png: segment {IDS['dog']}: iscrowd is 'no'; needs a whole number"),
        (lambda c: c["annotations"][1].pop("segments_info"), 'annotation 001.png: has no list of objects "segments_info"'),
        (lambda c: c["annotations"][1].update(image_id=3), "annotation 001.png: image_id 3 is none of its images"),
        (lambda c: c["annotations"].clear(), "no image is annotated"),
        (lambda c: c.pop("annotations"), 'has no list of objects "annotations"'),
        (lambda c: c["categories"].clear(), "0 categories; allowed: 1 to 256"),
        (lambda c: c["categories"][1].pop("isthing"), "category 200: has no isthing; needs a whole number"),
        (lambda c: c["categories"][1].update(isthing=2), "category 200: isthing is 2; allowed: 0, 1"),
        (lambda c: c["categories"][1].update(id=18), "category 18 is there twice"),
        (
            lambda c: c["annotations"][0].update(segments_info=[{"id": n, "category_id": 1} for n in range(1, 130)]),
            "annotation 000.png: segment 129: more things of category 1 than 128 in an image",
        ),
    ],
)  # fmt: skip
def test_a_wrong_list_is_told_in_a_line(
    photographs: Path, change: Callable[[dict[str, Any]], object], told: str
) -> None:
    path = listed(photographs, "val2017")
    changed(path, change)
    with pytest.raises(UserError) as error:
        coco(photographs)
    assert str(error.value) == f"task.path: {path}: {told}"


def test_wrong_files_are_told_in_a_line(photographs: Path) -> None:
    def refused() -> str:
        with pytest.raises(UserError) as error:
            coco(photographs)
        return str(error.value)

    picture = photographs / "annotations" / "panoptic_val2017" / "002.png"
    whole, ids = picture.read_bytes(), drawn(52)
    ids[0, 0] = 258
    Image.fromarray(colours(ids)).save(picture)
    assert refused() == f"task.path: {picture}: a segment of id 258 that its segments_info lacks"
    Image.fromarray(colours(drawn(52)[:6])).save(picture)
    assert refused() == f"task.path: {picture}: 12 × 6 pixels, its image 002.png has 12 × 8"
    Image.fromarray(drawn(52).astype(np.uint8)).save(picture)
    assert refused().startswith(f"task.path: {picture}: mode L, needs colours (mode RGB), which are ids")
    picture.write_bytes(whole[:40])
    assert refused().startswith(f"task.path: {picture}: cannot be read as an image")
    picture.unlink()
    assert refused() == f"task.path: {picture}: no such file; panoptic_val2017.json names it"
    picture.write_bytes(whole)
    image = photographs / "train2017" / "003.png"
    kept = image.read_bytes()
    image.unlink()
    assert refused() == f"task.path: {image}: no such file; panoptic_train2017.json names it"
    image.write_bytes(kept)
    training = listed(photographs, "train2017")
    changed(training, lambda content: content["categories"][0].update(isthing=0))
    assert refused() == f"task.path: {training}: its categories are not those of panoptic_val2017.json"
    training.write_text("{")
    assert refused().startswith(f"task.path: {training}: no JSON (")


def test_pictures_of_void_alone_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "coco"
    write(root, "train2017", [drawn(0), drawn(1)])
    write(root, "val2017", [np.zeros((8, 12), dtype=np.int64)])
    with pytest.raises(UserError, match="panoptic_val2017: every pixel of every label picture is void"):
        coco(root)
    write(root, "val2017", [drawn(2)])
    write(root, "train2017", [drawn(0)])
    with pytest.raises(UserError, match=r"train2017\.json: one annotated image; needs two"):
        coco(root)


def test_a_folder_is_filed_by_name_and_an_incomplete_one_is_not(photographs: Path) -> None:
    for wrong, told in (
        (photographs / "annotations" / "panoptic_val2017.json", "annotations/panoptic_val2017.json is not there"),
        (photographs / "annotations" / "panoptic_train2017", "annotations/panoptic_train2017/ holds no picture"),
        (photographs / "val2017", "val2017/ holds no picture"),
    ):  # fmt: skip
        away = wrong.with_name("away")
        wrong.rename(away)
        with pytest.raises(UserError) as error:
            add("coco_panoptic", photographs)
        assert told in str(error.value)
        with pytest.raises(UserError) as error:
            CocoPanoptic.describe(CocoPanopticConfig(path=str(photographs)))
        assert told in str(error.value)
        away.rename(wrong)
    add("coco_panoptic", photographs)
    assert CocoPanoptic(CocoPanopticConfig(size=4)).num_training_examples == 4

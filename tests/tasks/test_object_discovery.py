"""Object discovery: made scenes and their objects, floors as measured elsewhere, views without labels, stored scenes of every wrong form."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from oscbench import catalog
from oscbench.errors import UserError
from oscbench.models.backbones.views import Views, ViewsConfig
from oscbench.models.step import take_step
from oscbench.models.trunk import Output
from oscbench.ops.flops import flop_counter
from oscbench.tasks import Batch, stored_discovery
from oscbench.tasks.object_discovery import BlockDiscovery, BlocksConfig
from oscbench.tasks.scene_discovery import SceneDiscovery, SceneDiscoveryConfig
from oscbench.tasks.stored_discovery import StoredDiscovery, StoredDiscoveryConfig
from oscbench.tasks.support.scenes.tetrominoes import block_scenes, turned_shapes
from oscbench.tasks.support.segments.discovery import bright
from oscbench.tasks.support.segments.grouping import (
    clusters,
    foreground_ari,
    mean_best_overlap,
    patch_objects,
)

CPU = torch.device("cpu")
SMALL = {"train_scenes": 96, "validation_scenes": 8, "test_scenes": 64}


@pytest.fixture(autouse=True, scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSCBENCH_DATA", str(tmp_path_factory.mktemp("store")))
        yield


def blocks(**settings: Any) -> BlockDiscovery:
    return BlockDiscovery(BlocksConfig.model_validate({**SMALL, **settings}))


def views(task: Any, name: str = "softmax", **model: Any) -> Views:
    found = catalog.load("mechanisms", name)
    config = ViewsConfig(**{"width": 16, "heads": 2, "layers": 2, "head_width": 16, "embedding": 8, **model})
    return Views(config, task.inputs, found, found.Config(), hidden=None, seed=0)


def generators(seed: int = 0) -> tuple[torch.Generator, torch.Generator]:
    first, second = (torch.Generator().manual_seed(seed + k) for k in range(2))
    return first, second


class Knowing(torch.nn.Module):
    """Features of a patch that say which object it shows more of than of others; where two share it, one is lost."""

    def __init__(self, task: Any, split: str) -> None:
        super().__init__()
        self.maps = iter(task.splits[split].targets.split(10_000))

    def forward(self, images: Tensor) -> Output:
        known = patch_objects(next(self.maps).long(), 4, any_pixel=True)
        return Output(torch.nn.functional.one_hot(known + 1, 8).float())


def test_blocks_are_tetrominoes_that_do_not_overlap() -> None:
    shapes = turned_shapes()
    assert len(shapes) == 19
    assert set(shapes.sum((1, 2)).tolist()) == {4}
    made = block_scenes("test", 40, 32, 3, 4, 0.0)
    assert made["images"].dtype == torch.uint8
    wanted = {tuple(shape.flatten().tolist()) for shape in shapes}
    touching = 0
    for image, objects in zip(made["images"][:, 0], made["objects"], strict=True):
        for number in range(3):
            mask = objects == number
            rows, columns = (mask.any(axis).nonzero()[:, 0] for axis in (1, 0))
            seen = torch.zeros(4, 4, dtype=torch.bool)
            part = mask[rows[0] : rows[-1] + 1 : 4, columns[0] : columns[-1] + 1 : 4]
            seen[: part.shape[0], : part.shape[1]] = part
            assert tuple(seen.flatten().tolist()) in wanted
            assert int(mask.sum()) == 4 * 16
        # One grey for all three blocks, another for the ground.
        assert len(image[objects >= 0].unique()) == len(image[objects < 0].unique()) == 1
        wide = torch.nn.functional.pad(objects, (0, 1), value=-1)
        beside = (wide[:, :-1] >= 0) & (wide[:, 1:] >= 0) & (wide[:, :-1] != wide[:, 1:])
        touching += bool(beside.any())
    assert touching > 0


def test_scenes_hang_on_split_draw_and_number_alone() -> None:
    one, again, other = blocks(), blocks(test_scenes=32), blocks(draw=3)
    assert torch.equal(one.splits["test"].inputs[:32], again.splits["test"].inputs)
    assert torch.equal(one.splits["test"].inputs, other.splits["test"].inputs)
    for split in ("train", "validation"):
        assert not torch.equal(one.splits[split].inputs, other.splits[split].inputs)
    assert len({float(one.splits[split].inputs.float().mean()) for split in one.splits}) == 3


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"cell": 9}, "cell 9: a block is up to 36 pixels long, size is 32; set cell to 8 or less"),
        ({"blocks": 9}, "blocks 9 of cell 4 cover 56% of a scene of size 32; at most 50%"),
        ({"crop_area": 0.0}, "greater than 0"),
        ({"objective": "dino"}, "'simclr' or 'coding_rate'"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        BlocksConfig.model_validate(settings)


@pytest.mark.parametrize("settings", [{"size": 30, "cell": 5}, {"floor_patch": 5}])
def test_a_floors_patch_that_does_not_divide_a_scene_is_refused_before_anything_runs(
    settings: dict[str, Any],
) -> None:
    config = BlocksConfig.model_validate({"blocks": 2, **settings})
    with pytest.raises(
        UserError, match=r"task\.floor_patch: \d does not divide scenes of 3. × 3. pixels; set it"
    ):
        BlockDiscovery.describe(config)


def test_features_that_are_no_numbers_are_no_clusters() -> None:
    task = BlockDiscovery(BlocksConfig(train_scenes=4, validation_scenes=3, test_scenes=3))

    class Broken(torch.nn.Module):
        def forward(self, images: Tensor) -> Output:
            return Output(torch.full((len(images), 64, 4), torch.nan))

    for split in ("validation", "test"):
        found = task.evaluate(Broken(), split, torch.device("cpu"))
        assert math.isnan(found["fg_ari"].value)


def test_floors_are_told_apart_and_stand_beside_every_model() -> None:
    """Places find blobs, brightness finds the ground; both together find blocks that touch no other, which is most of them."""
    task = blocks(test_scenes=192)
    found = {
        name: task.evaluate(task.floor(name), "test", CPU) for name in BlockDiscovery.floors(task.config)
    }
    values = {name: {score: one.value for score, one in scores.items()} for name, scores in found.items()}
    assert set(values) == {"chance", "coordinates", "start_phases", "pixels", "bright_places"}
    for name in ("coordinates", "start_phases"):
        assert values[name]["fg_ari"] == pytest.approx(0.55, abs=0.05)
        assert values[name]["mbo"] < 0.25
        assert values[name]["ari"] < 0.05
    assert values["pixels"]["fg_ari"] < 0.05
    assert values["pixels"]["ari"] == pytest.approx(0.82, abs=0.05)
    assert max(values["chance"].values()) < 0.12
    assert values["bright_places"]["fg_ari"] == pytest.approx(0.87, abs=0.05)
    assert values["bright_places"]["mbo"] == pytest.approx(0.90, abs=0.05)
    for score in ("fg_ari", "mbo", "ari"):
        beside = found["pixels"][score].details["floors"]
        assert beside == {name: values[name][score] for name in ("coordinates", "bright_places")}
        assert found["pixels"][score].count == 192


def test_a_floor_of_places_is_the_mean_over_ways_to_break_ties() -> None:
    task = blocks(test_scenes=192)
    found = task.evaluate(task.floor("coordinates"), "test", CPU)["fg_ari"].value
    places = torch.cartesian_prod(torch.arange(8.0), torch.arange(8.0))
    untied = []
    for seed in range(8):
        jitter = 1e-4 * torch.randn(64, 2, generator=torch.Generator().manual_seed(seed))
        groups = clusters(places + jitter, 4).reshape(8, 8).repeat(4, 0).repeat(4, 1)
        maps = task.splits["test"].targets.numpy()
        untied.append(np.mean([foreground_ari(groups, objects) for objects in maps]))
    assert found == pytest.approx(np.mean(untied), abs=0.03)


@pytest.mark.parametrize("seed", range(3))
def test_the_threshold_of_brightness_is_otsus(seed: int) -> None:
    levels = torch.rand(5, 12, generator=torch.Generator().manual_seed(seed)) ** 2
    for row, found in zip(levels, bright(levels), strict=True):
        cuts = {}
        for cut in row.tolist():
            low, high = row[row <= cut].double(), row[row > cut].double()
            if len(high):
                cuts[cut] = len(low) * len(high) * float(low.mean() - high.mean()) ** 2
        assert found.tolist() == (row > max(cuts, key=lambda cut: cuts[cut])).tolist()
    assert not bright(torch.full((2, 6), 0.3)).any()


def test_who_knows_the_objects_finds_them_and_who_says_one_thing_finds_none() -> None:
    task = blocks()
    found = task.evaluate(Knowing(task, "test"), "test", CPU)
    assert {found[score].value for score in ("fg_ari", "mbo", "ari")} == {1.0}
    same = task.evaluate(Steady(), "test", CPU)
    assert same["fg_ari"].value == 0.0
    assert same["fg_ari_estimated"].value == 0.0
    assert set(found) == {a + b for a in ("fg_ari", "mbo", "ari") for b in ("", "_estimated")}
    assert set(task.evaluate(Steady(), "validation", CPU)) == {"fg_ari", "mbo", "ari"}
    assert task.metric_named("mbo_estimated").label == "test MBO, number of clusters by silhouette"


class Steady(torch.nn.Module):
    def forward(self, images: Tensor) -> Output:
        return Output(torch.ones(len(images), 64, 3))


def test_scenes_of_one_object_are_left_out_and_the_first_others_kept_to_be_looked_at() -> None:
    task = blocks()
    maps = task.splits["test"].targets.clone()
    maps[::2] = maps[::2].clamp_max(0)
    task.splits["test"] = Batch(task.splits["test"].inputs, maps)
    found = task.evaluate(Knowing(task, "test"), "test", CPU)
    assert found["fg_ari"].count == 32
    kept = found["fg_ari"].details["scenes"]
    assert kept["shape"] == [5, 1, 32, 32]
    assert set(kept) == {"shape", "images", "objects", "clusters"}


def test_training_sees_no_label_and_two_different_views_by_private_streams() -> None:
    task = blocks()
    assert task.splits["train"].targets.tolist() == [0] * 96
    one, again = (list(task.training_batches(40, *generators())) for _ in range(2))
    assert [len(batch.inputs) for batch in one] == [40, 40, 16]
    for batch, same in zip(one, again, strict=True):
        assert torch.equal(batch.inputs, same.inputs)
        assert batch.inputs.shape[1:] == (2, 32, 32)
        assert not batch.targets.any()
        assert not torch.equal(batch.inputs[:, 0], batch.inputs[:, 1])
    other = next(iter(task.training_batches(40, generators()[0], generators(5)[1])))
    assert not torch.equal(other.inputs, one[0].inputs)
    fixed = [next(task.batches("test", 16)).inputs for _ in range(2)]
    assert torch.equal(*fixed)
    still = blocks(crop_area=1.0, flip=False, brightness=0.0, contrast=0.0)
    batch = next(still.batches("test", 8))
    whole, _ = still.objects("test", 8)
    assert torch.allclose(batch.inputs[:, :1], whole.inputs, atol=1e-5)
    assert torch.allclose(batch.inputs[:, 1:], whole.inputs, atol=1e-5)


def test_the_model_gives_patches_of_whole_images_and_embeddings_of_views() -> None:
    task = blocks()
    batch = next(task.batches("validation", 4))
    for name in ("softmax", "torus"):
        model = views(task, name, pool="max" if name == "torus" else "mean").eval()
        whole, maps = task.objects("validation", 4)
        assert model(whole.inputs).prediction.shape == (4, 64, model.trunk.output_width)
        assert maps.shape == (4, 32, 32)
        both = model(batch.inputs).prediction
        assert both.shape == (4, 2, 8)
        assert torch.allclose(both.norm(dim=-1), torch.ones(4, 2))
        first = model(torch.cat((batch.inputs[:, :1], batch.inputs[:, :1]), dim=1)).prediction
        assert torch.allclose(first[:, 0], both[:, 0], atol=1e-6)
        assert torch.allclose(first[:, 0], first[:, 1], atol=1e-6)
    softmax = views(task)
    with flop_counter() as counted:
        softmax(batch.inputs[:1])
    assert softmax.flops() == counted.get_total_flops()


@pytest.mark.parametrize("objective", ["simclr", "coding_rate"])
def test_the_loss_falls(objective: str) -> None:
    task = blocks(objective=objective)
    model = views(task).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    probe = next(task.batches("validation", 8))
    before = task.loss(model(probe.inputs).prediction, probe).item()
    for _ in range(4):
        for batch in task.training_batches(32, *generators()):
            take_step(model, task, batch, optimizer, 1.0)
    assert task.loss(model(probe.inputs).prediction, probe).item() < before


@pytest.mark.parametrize("kind", [BlockDiscovery, SceneDiscovery])
def test_a_student_learns_beside_its_teacher_whose_patches_are_clustered(kind: Any) -> None:
    taught = {"objective": "coding_rate", "teacher": 0.9, "local_views": 2, "local_size": 16}
    task = kind(kind.Config.model_validate({**SMALL, **taught}))
    model = views(task).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    probe = next(task.batches("validation", 8))
    before = task.loss(model(probe.inputs).prediction, probe).item()
    steps = -(-len(task.splits["train"].targets) // 32) * 4
    for epoch in range(4):
        for number, batch in enumerate(
            task.training_batches(32, *generators()), start=epoch * steps // 4 + 1
        ):
            take_step(model, task, batch, optimizer, 1.0)
            model.stepped(number, steps)
    assert task.loss(model(probe.inputs).prediction, probe).item() < before
    whole, _ = task.objects("test", 4)
    taught_features = model.teacher(whole.inputs)
    with model.as_evaluated():
        scores = task.evaluate(model, "test", CPU)
    model.eval()
    assert not torch.equal(model(whole.inputs).prediction, taught_features)
    model.finish()
    assert torch.equal(model(whole.inputs).prediction, taught_features)
    assert scores == task.evaluate(model, "test", CPU)


def test_measures_that_would_score_views_are_told_that_there_is_no_such_score() -> None:
    task = blocks()
    batch = next(task.batches("test", 4))
    with pytest.raises(UserError, match="scored on whole images"):
        task.count(torch.zeros(4, 2, 8), batch)


def test_digit_scenes_leave_overlaps_out() -> None:
    config = SceneDiscoveryConfig.model_validate(
        {**SMALL, "test_scenes": 24, "max_overlap": 0.9, "fraction": 0.5}
    )
    task = SceneDiscovery(config)
    maps = task.splits["test"].targets
    assert int(maps.min()) == -2
    assert {len(m[m >= 0].unique()) for m in maps} <= {1, 2, 3, 4}
    _, shown = task.objects("test", 24)
    assert int(shown.min()) == -1
    assert len(task.splits["train"].targets) == 48 or len(task.splits["train"].targets) <= 52
    found = task.evaluate(task.floor("coordinates"), "test", CPU)
    assert 0.2 < found["fg_ari"].value < 0.8
    with pytest.raises(ValidationError, match="min_digits"):
        SceneDiscoveryConfig(min_digits=1)


def written(folder: Path, **arrays: Any) -> Path:
    """A folder as AKOrN's script leaves it: images from 0 to 1, channels first, labels with 0 for the ground."""
    folder.mkdir(exist_ok=True)
    for split, count in (("train", 12), ("val", 6), ("test", 8)):
        made = block_scenes(split, count, 32, 3, 4, 0.05)
        held = {
            "images": made["images"].expand(-1, 3, -1, -1).numpy() / 255,
            "labels": (made["objects"] + 1).numpy().astype(np.uint8),
            **arrays,
        }
        np.savez_compressed(folder / f"made_{split}.npz", **{k: v for k, v in held.items() if v is not None})
    return folder


def test_stored_scenes_are_read_as_akorns_script_writes_them(tmp_path: Path) -> None:
    folder = written(tmp_path / "made")
    with np.load(folder / "made_test.npz") as held:
        labels = held["labels"].copy()
        labels[0, :4] = 255
        np.savez_compressed(folder / "made_test.npz", images=held["images"], labels=labels)
    config = StoredDiscoveryConfig(path=str(folder), validation_scenes=4)
    task = StoredDiscovery(config)
    assert StoredDiscovery.describe(config) == task.inputs
    assert (task.inputs.channels, task.inputs.height) == (3, 32)
    assert {split: len(part.targets) for split, part in task.splits.items()} == {
        "train": 12,
        "validation": 4,
        "test": 8,
    }
    made = block_scenes("test", 8, 32, 3, 4, 0.05)
    assert torch.equal(task.splits["test"].inputs[:, 1:2], made["images"])
    assert torch.equal(task.splits["test"].targets[1:].long(), made["objects"][1:].long())
    assert (task.splits["test"].targets[0, :4] == -2).all()
    assert set(task.evaluate(task.floor("pixels"), "test", CPU)) >= {"fg_ari", "mbo", "ari"}
    assert StoredDiscovery.headline(config)[0] == "object discovery in stored scenes"
    assert StoredDiscovery.headline(StoredDiscoveryConfig())[0] == "object discovery in Tetrominoes"
    squeezed = {"images": made["images"][:, 0].numpy(), "labels": made["objects"].numpy()}
    np.savez_compressed(folder / "made_test.npz", **squeezed)
    assert StoredDiscovery.describe(config).channels == 1
    with pytest.raises(UserError, match=r"images of 3 × 32 × 32|images of 1 × 32 × 32"):
        StoredDiscovery(config)


def opened(config: StoredDiscoveryConfig) -> StoredDiscovery:
    """As a run does: described first, and then read."""
    StoredDiscovery.describe(config)
    return StoredDiscovery(config)


def test_stored_scenes_are_cut_into_as_many_clusters_as_akorns_evaluation_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(tmp_path / "made")
    objects = np.array([[-1, 0], [1, 1]])
    known = StoredDiscovery(StoredDiscoveryConfig(path=str(folder)))
    assert known.num_clusters(objects) == 3
    assert StoredDiscovery(StoredDiscoveryConfig(path=str(folder), clusters=5)).num_clusters(objects) == 5
    monkeypatch.setitem(stored_discovery.CLUSTERS, str(folder), 11)
    assert known.num_clusters(objects) == 11
    assert stored_discovery.CLUSTERS.items() > {"tetrominoes": 4, "multi_dsprites": 7, "clevr6": 11}.items()
    with pytest.raises(ValidationError, match="clusters"):
        StoredDiscoveryConfig(clusters=1)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"labels": None}, r"made_test\.npz: no array `labels`, it has images"),
        ({"labels": np.zeros((8, 32, 32))}, "labels of type float64; needs whole numbers"),
        ({"labels": np.zeros((8, 16, 16), int)}, "needs a label for every pixel"),
        ({"labels": np.full((8, 32, 32), -7)}, "a label of -7; allowed: 0 for the ground"),
        # One that would come round to 4 in sixteen bits.
        ({"labels": np.full((8, 32, 32), 65_541)}, "a label of 65541; allowed: 0 for the ground, 1 to 32767"),
        ({"images": np.zeros((8, 32, 32, 3))}, "images of shape .*; needs"),
        ({"images": np.full((8, 3, 32, 32), 200.0)}, "from 200 to 200; needs bytes, or numbers from 0 to 1"),
    ],
)
def test_stored_scenes_of_another_layout_are_refused_in_a_line(
    tmp_path: Path, arrays: dict[str, Any], said: str
) -> None:
    folder = written(tmp_path / "made")
    with np.load(folder / "made_test.npz") as held:
        both = {"images": held["images"], "labels": held["labels"], **arrays}
    np.savez_compressed(folder / "made_test.npz", **{k: v for k, v in both.items() if v is not None})
    config = StoredDiscoveryConfig(path=str(folder))
    with pytest.raises(UserError, match=said) as caught:
        opened(config)
    assert "\n" not in str(caught.value)


def test_stored_scenes_that_are_not_there_are_missed_by_name(tmp_path: Path) -> None:
    config = StoredDiscoveryConfig(path=str(tmp_path))
    with pytest.raises(UserError, match=r"no file named \*_train\.npz; give the folder that AKOrN's"):
        StoredDiscovery.describe(config)
    for split in ("train", "val", "test"):
        (tmp_path / f"a_{split}.npz").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"a_test\.npz: cannot be read as \.npz"):
        StoredDiscovery.describe(config)
    (tmp_path / "b_train.npz").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"2 files named \*_train\.npz"):
        StoredDiscovery.describe(config)
    with pytest.raises(UserError, match=r"tetrominoes.*oscbench data add"):
        StoredDiscovery.describe(StoredDiscoveryConfig())


def test_mean_best_overlap_counts_ground_as_a_segment_like_any_other() -> None:
    objects = np.array([[0, 0, -1, -1], [1, 1, -1, -1]])
    assert mean_best_overlap(np.zeros((2, 4), int), objects) == pytest.approx(0.25)

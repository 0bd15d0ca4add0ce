"""Digit scenes: what is said of a scene is what is in it, scans never cross splits, and shares of training are nested."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from oscbench.suite.errors import explain
from oscbench.tasks.digit_scenes import DigitScenes, DigitScenesConfig
from oscbench.tasks.digits import Digits, DigitsConfig, digit_splits
from oscbench.tasks.support.scenes.composition import compose
from oscbench.tasks.support.scenes.digit_pairs import CHUNK, pair
from oscbench.tasks.support.training_subsets import training_rows

SMALL = {"train_scenes": 300, "validation_scenes": 40, "test_scenes": 60}
SHARES = (0.05, 0.1, 0.25, 0.5, 1.0)


@pytest.fixture(autouse=True)
def own_store(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSCBENCH_DATA", str(tmp_path_factory.getbasetemp() / "scenes-store"))


def made(**settings: object) -> DigitScenes:
    return DigitScenes(DigitScenesConfig.model_validate({**SMALL, **settings}))


def one_chunk(split: str = "test", **settings: object) -> dict[str, torch.Tensor]:
    config = DigitScenesConfig.model_validate(settings)
    return compose(digit_splits()[split], config, torch.Generator().manual_seed(0))


def test_targets_say_what_the_segments_show() -> None:
    which, count = made(), made(label="count", min_digits=2, max_digits=4)
    segments = which.segments("test")
    for classes, target in zip(segments["classes"].tolist(), which.splits["test"].targets, strict=True):
        assert set(target.nonzero()[:, 0].tolist()) == {digit for digit in classes if digit >= 0}
    classes = count.segments("test")["classes"]
    assert torch.equal((classes >= 0).sum(1) - 2, count.splits["test"].targets)
    assert count.inputs.num_classes == 3
    assert set(count.splits["train"].targets.tolist()) == {0, 1, 2}


def test_alone_and_without_noise_a_scene_is_its_scan_enlarged() -> None:
    plain = {"max_digits": 1, "look_alikes": 0, "clutter": 0, "noise": 0.0, "min_scale": 16, "max_scale": 16}
    found = one_chunk(**plain)
    scans = digit_splits()["test"]
    for image, classes in zip(found["images"][:20, 0], found["classes"][:20, 0], strict=True):
        ink = (image.float() - 16) / 208
        rows, columns = ink.nonzero().T
        assert rows.max() - rows.min() < 18  # 16, and half a scan's pixel of soft edge on either side
        assert columns.max() - columns.min() < 18
        candidates = torch.nn.functional.interpolate(
            scans.inputs[scans.targets == classes], scale_factor=2, mode="bilinear"
        )
        window = ink.unfold(0, 16, 1).unfold(1, 16, 1).flatten(0, 1).flatten(1)
        distance = torch.cdist(candidates.flatten(1), window)
        assert distance.min() < 1.5
        assert distance.min() < 0.3 * distance.median()


def test_upper_digits_hide_lower_ones_and_masks_keep_what_is_hidden() -> None:
    found = one_chunk(min_digits=3, size=24, max_overlap=1.0)
    masks, visible = found["masks"], found["visible"]
    assert torch.equal(masks.any(1), visible >= 0)
    assert torch.equal(masks[:, 0], visible == 0)
    for index in (1, 2):
        shown = visible == index
        assert not (shown & ~masks[:, index]).any()
        assert not (shown & masks[:, :index].any(1)).any()
    assert (masks.sum(1) > 1).any()


def test_overlap_is_bounded_where_there_is_room() -> None:
    def most_hidden(**settings: object) -> float:
        found = one_chunk(min_digits=3, **settings)
        shown = torch.stack([(found["visible"] == index).sum((1, 2)) for index in range(3)], 1)
        return float((1 - shown / found["masks"].sum((2, 3))).max())

    assert most_hidden(max_overlap=0.0) < 0.1  # soft edges
    assert most_hidden(max_overlap=1.0) > 0.6 > 0.4 > most_hidden(max_overlap=0.3) > 0.1


def test_digits_stay_inside_and_absent_ones_leave_no_trace() -> None:
    found = one_chunk(noise=0.0)
    assert torch.equal(found["classes"] >= 0, found["masks"].flatten(2).any(2))
    counts = (found["classes"] >= 0).sum(1)
    assert set(counts.tolist()) == {1, 2, 3}
    nothing = one_chunk(noise=0.0, look_alikes=0, clutter=0)
    outside = ~torch.nn.functional.max_pool2d(nothing["masks"].any(1).float()[:, None], 17, 1, 8).bool()
    assert (nothing["images"][outside] == 16).all()
    assert (found["images"] > 16).sum() > (nothing["images"] > 16).sum()


def test_look_alikes_have_a_digits_ink_in_other_places() -> None:
    from oscbench.tasks.support.scenes.composition import _exchanged, _quarter

    scans = digit_splits()["train"].inputs[:6].view(2, 3, 1, 8, 8)
    for shift in (1, 2, 3):
        moved = _exchanged(scans, torch.full((2, 3), shift))
        assert torch.equal(moved.flatten(2).sort(-1).values, scans.flatten(2).sort(-1).values)
        assert not torch.equal(moved, scans)
    opposite = _exchanged(scans, torch.full((2, 3), 2))
    assert torch.equal(opposite[..., :4, :4], scans[..., 4:, 4:])
    quarters = sum(_quarter(scans, torch.full((2, 3), which)) for which in range(4))
    assert torch.equal(quarters, scans)


def test_scenes_of_a_split_come_from_its_own_scans() -> None:
    """With every other split's scans blanked, a split's scenes stay as they are."""
    task = made()
    before = task.splits["test"].inputs
    assert {name: len(part.targets) for name, part in task.scenes.scans.items()} == {
        "train": 1047,
        "validation": 250,
        "test": 500,
    }
    for split in ("train", "validation"):
        task.scenes.scans[split].inputs.zero_()
    again = task.scenes.compose("test", "images")["images"]
    assert torch.equal(again, made().scenes.compose("test", "images")["images"])
    task.scenes.scans["test"].inputs.zero_()
    assert not torch.equal(task.scenes.compose("test", "images")["images"], again)
    assert before.shape == (60, 1, 40, 40)


def test_scenes_are_fixed_unlimited_and_begin_alike() -> None:
    torch.manual_seed(1)
    one = made()
    torch.manual_seed(2)
    assert one.data_hash() == made().data_hash()
    assert one.data_hash() != made(clutter=3).data_hash()
    longer = made(test_scenes=CHUNK + 5)
    assert len(longer.splits["test"].targets) == CHUNK + 5
    assert torch.equal(longer.splits["test"].inputs[:60], one.splits["test"].inputs)


def test_draws_compose_other_scenes_for_training_and_validation_alone() -> None:
    fixed, other = made(), made(draw=3)
    assert made(draw=0).data_hash() == fixed.data_hash()
    assert torch.equal(fixed.splits["test"].targets, other.splits["test"].targets)
    for split in ("train", "validation"):
        assert not torch.equal(fixed.splits[split].inputs, other.splits[split].inputs)
    # What there is to segment is drawn with the images.
    for split in ("train", "test"):
        classes = other.segments(split)["classes"]
        for row, target in zip(classes.tolist(), other.splits[split].targets, strict=True):
            assert set(target.nonzero()[:, 0].tolist()) == {digit for digit in row if digit >= 0}


@pytest.mark.parametrize("label", ["same", "larger_above"])
def test_relations_hold_in_half_of_the_scenes_and_are_what_the_segments_show(label: str) -> None:
    task = made(label=label, min_digits=2, max_digits=2, max_overlap=0.1, test_scenes=500)
    segments, answers = task.segments("test"), task.splits["test"].targets
    assert 0.4 < float(answers.float().mean()) < 0.6
    assert task.inputs.num_classes == 2
    one, two = segments["classes"].unbind(1)
    if label == "same":
        assert torch.equal((one == two).long(), answers)
        return
    assert torch.equal(one, two)
    # The box of a shape's ink: its side and its height.
    rows = segments["masks"].any(-1)
    top, bottom = rows.int().argmax(-1), 39 - rows.flip(-1).int().argmax(-1)
    tall, middle = bottom - top, (bottom + top) / 2
    clear = (tall[:, 0] - tall[:, 1]).abs() > 1
    assert int(clear.sum()) > 300
    above = (tall[:, 0] > tall[:, 1]) == (middle[:, 0] < middle[:, 1])
    assert float((above.long() == answers)[clear].float().mean()) > 0.97


@pytest.mark.parametrize("label", ["same", "larger_above"])
def test_ink_does_not_tell_a_relation(label: str) -> None:
    """Fails where an answer leaks into the histogram: 2,000 answers by chance lie within 50 ± 3.4 % in 998 of 1,000 tests."""
    task = made(label=label, min_digits=2, max_digits=2, train_scenes=2000, test_scenes=2000)
    bag = task.evaluate(task.floor("bag"), "test", torch.device("cpu"))["accuracy"]
    assert abs(bag.value - 0.5) < 0.034
    classes = task.segments("test")["classes"]
    yes = task.splits["test"].targets == 1
    shares = [torch.bincount(classes[rows].flatten(), minlength=10) / rows.sum() / 2 for rows in (yes, ~yes)]
    assert (shares[0] - shares[1]).abs().max() < 0.05


def test_ink_by_height_tells_who_is_larger_in_part_and_is_a_floor() -> None:
    """A larger digit has more ink; whether two are the same it does not tell."""
    for label, least, most in (("larger_above", 0.57, 0.68), ("same", 0.46, 0.54)):
        task = made(label=label, min_digits=2, max_digits=2, train_scenes=3000, test_scenes=2000)
        assert "rows" in task.floors(task.config)
        rows = task.evaluate(task.floor("rows"), "test", torch.device("cpu"))["accuracy"]
        assert least < rows.value < most, label
    assert "rows" not in made(label="which").floors(made(label="which").config)


def test_a_relation_with_the_two_scans_of_one_digit_never_shows_one_scan_twice() -> None:
    targets = torch.tensor([0, 0, 1, 1, 1])
    rows = pair(targets, "larger_above", torch.Generator().manual_seed(0))
    assert bool((rows[:, 0] != rows[:, 1]).all())
    assert torch.equal(targets[rows[:, 0]], targets[rows[:, 1]])


def test_inputs_are_normalised_by_the_training_scenes() -> None:
    task = made()
    spread, mean = torch.std_mean(task.splits["train"].inputs)
    assert mean.item() == pytest.approx(0.0, abs=1e-3)
    assert spread.item() == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("count", [40, 1047])
def test_shares_are_nested_balanced_and_keep_their_order(count: int) -> None:
    labels = torch.arange(count) % 7
    before: set[int] = set()
    for share in SHARES:
        rows = training_rows(labels, share)
        assert torch.equal(rows, rows.sort().values)
        assert before <= set(rows.tolist())
        before = set(rows.tolist())
        per_label = torch.bincount(labels[rows], minlength=7)
        assert per_label.min() >= 1
        assert (per_label - share * torch.bincount(labels)).abs().max() < 1
    assert torch.equal(training_rows(labels, 1.0), torch.arange(count))


def test_a_share_of_digits_or_scenes_changes_training_alone() -> None:
    whole, part = Digits(DigitsConfig()), Digits(DigitsConfig(fraction=0.1))
    assert whole.data_hash() == "d39ef2e6a57d779a", "published records were trained on these very tensors"
    assert part.data_hash() != whole.data_hash()
    assert part.num_training_examples == len(part.splits["train"].targets) == 110
    assert torch.bincount(part.splits["train"].targets).min() >= 10
    assert torch.equal(part.splits["test"].targets, whole.splits["test"].targets)
    scenes, few = made(), made(fraction=0.25)
    assert (
        few.num_training_examples == len(few.splits["train"].targets) == len(few.segments("train")["classes"])
    )
    assert abs(few.num_training_examples - 75) <= 3
    assert torch.equal(few.splits["train"].targets, scenes.splits["train"].targets[few.training_scenes])
    assert few.data_hash() == made(fraction=0.25).data_hash() != scenes.data_hash()


def test_a_scene_is_right_when_all_of_it_is() -> None:
    task = made()
    batch = next(task.batches("validation", 16))
    right = 2 * batch.targets - 1
    assert task.scores(right, batch).tolist() == [1.0] * 16
    wrong = right.clone()
    wrong[3, 5] *= -1
    assert task.scores(wrong, batch).tolist() == [float(index != 3) for index in range(16)]
    assert task.loss(100 * right, batch).item() == pytest.approx(0.0, abs=1e-6)
    count = made(label="count")
    batch = next(count.batches("validation", 16))
    assert count.scores(torch.nn.functional.one_hot(batch.targets, 3).float(), batch).tolist() == [1.0] * 16


def test_subsets_are_scenes_with_a_digit_and_of_a_count() -> None:
    task = made()
    batch = next(task.batches("test", 60))
    parts = task.subsets(batch)
    assert len(parts) == 10 + 3
    assert torch.equal(parts["digit_4"], batch.targets[:, 4] == 1)
    assert sum(int(parts[f"{kinds}_kinds"].sum()) for kinds in (1, 2, 3)) == 60
    assert all(part.shape == (60,) for part in parts.values())
    count = made(label="count")
    batch = next(count.batches("test", 60))
    parts = count.subsets(batch)
    assert list(parts) == ["1_digits", "2_digits", "3_digits"]
    assert sum(int(part.sum()) for part in parts.values()) == 60
    assert torch.equal(parts["2_digits"], batch.targets == 1)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"min_digits": 4}, "min_digits 4 is more than max_digits 3"),
        ({"max_scale": 50}, "max_scale 50 is more than size 40"),
        ({"label": "count", "min_digits": 3}, "there is nothing to count"),
        (
            {"label": "same"},
            "label same is about two digits; set min_digits and max_digits to 2, got 1 and 3",
        ),
        (
            {"label": "larger_above", "min_digits": 2, "max_digits": 2, "min_scale": 14},
            "set max_scale to 17 or more, got 16",
        ),
        ({"fraction": 0.0}, "task.fraction: got 0.0"),
        ({"label": "what"}, "allowed: which, count"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(settings: dict[str, object], expected: str) -> None:
    with pytest.raises(ValidationError) as caught:
        DigitScenesConfig.model_validate(settings)
    text = explain(caught.value, DigitScenesConfig, ("task",))
    assert expected in text
    assert "\n" not in text


def test_scenes_are_kept_between_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSCBENCH_DATA", str(tmp_path))
    first = made()
    monkeypatch.setattr("oscbench.tasks.support.scenes.composition.compose", None)
    assert made().data_hash() == first.data_hash()

"""Segmentation: intersection over union as scikit-learn has it, floors, and scenes whose labels are what they show."""

from __future__ import annotations

import base64
import zlib

import pytest
import torch
from sklearn.metrics import jaccard_score
from torch import Tensor

from oscbench.models.trunk import Output
from oscbench.tasks import Batch, LengthError
from oscbench.tasks.scene_segmentation import CLASSES, SceneSegmentation, SceneSegmentationConfig, labels_of
from oscbench.tasks.support.segments.pixel_floors import (
    most_frequent_at,
    most_frequent_pixel,
    place_features,
    window_logistic,
)
from oscbench.tasks.support.segments.segmentation import IGNORED, confusion, intersection_over_union

CPU = torch.device("cpu")
SMALL = {"train_scenes": 200, "validation_scenes": 20, "test_scenes": 40}


@pytest.fixture(autouse=True)
def own_store(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSCBENCH_DATA", str(tmp_path_factory.getbasetemp() / "segmentation-store"))


def made(**settings: object) -> SceneSegmentation:
    return SceneSegmentation(SceneSegmentationConfig.model_validate({**SMALL, **settings}))


def drawn(classes: int, seed: int, *shape: int) -> Tensor:
    return torch.randint(classes, shape, generator=torch.Generator().manual_seed(seed))


def logits(answers: Tensor, classes: int = 11) -> Tensor:
    """A prediction (B, classes, h, w) that answers so."""
    return torch.nn.functional.one_hot(answers, classes).permute(0, 3, 1, 2).float()


class Answers(torch.nn.Module):
    """A model that gives each image's answers, in the order of a split."""

    def __init__(self, answers: Tensor) -> None:
        super().__init__()
        self.answers, self.given = answers, 0

    def forward(self, inputs: Tensor) -> Output:
        first, self.given = self.given, (self.given + len(inputs)) % len(self.answers)
        return Output(logits(self.answers[first : first + len(inputs)]))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shown", [2, 7, 11])
def test_iou_is_the_librarys(seed: int, shown: int) -> None:
    """Of random labels, classes of which some are never seen, and with pixels that nobody labelled."""
    truth, answers = drawn(shown, seed, 3, 9, 7), drawn(shown, seed + 100, 3, 9, 7)
    hidden = drawn(3, seed + 200, 3, 9, 7) == 0
    truth[hidden] = IGNORED
    found = intersection_over_union(confusion(answers, truth, 11).double())
    there = sorted(set(truth[~hidden].tolist()) | set(answers[~hidden].tolist()))
    expected = jaccard_score(truth[~hidden], answers[~hidden], labels=there, average=None)
    assert torch.allclose(found[there], torch.tensor(expected), atol=1e-12)
    assert bool(found[[c for c in range(11) if c not in there]].isnan().all())


def test_the_mean_is_over_classes_of_all_pixels_and_no_mean_of_images() -> None:
    task = made()
    # Class 1 has 100 pixels in one image, all found, and 4 in the other, none found.
    truth, answers = torch.zeros(2, 32, 32, dtype=torch.int64), torch.zeros(2, 32, 32, dtype=torch.int64)
    truth[0, :10, :10] = answers[0, :10, :10] = 1
    truth[1, :2, :2] = 1
    task.splits["test"] = Batch(torch.zeros(2, 1, 32, 32, dtype=torch.uint8), truth.to(torch.uint8))
    found = task.evaluate(Answers(answers), "test", CPU, batch_size=1)
    background = (2 * 1024 - 104) / (2 * 1024 - 100)
    assert found["iou_digit_0"].value == pytest.approx(100 / 104)
    assert found["iou_background"].value == pytest.approx(background)
    assert found["miou"].value == pytest.approx((100 / 104 + background) / 2)
    assert found["miou_foreground"].value == pytest.approx(100 / 104)
    assert found["pixel_accuracy"].value == pytest.approx(1 - 4 / 2048)
    assert found["miou"].count == 2
    assert found["miou"].details == {"never_seen": [f"digit_{digit}" for digit in range(1, 10)]}
    assert "iou_digit_1" not in found
    again = task.evaluate(Answers(answers), "test", CPU, batch_size=2)
    assert again == found


def test_the_first_answers_are_kept_small_beside_image_and_truth() -> None:
    task = made(size=64)
    answers = drawn(11, 0, 40, 64, 64)
    found = task.evaluate(Answers(answers), "test", CPU)
    kept = found["pixel_accuracy"].details["examples"]
    assert kept["shape"] == [4, 1, 32, 32]
    assert (kept["classes"], kept["background"]) == (list(CLASSES), 0)
    test = task.splits["test"]
    for name, whole in (("images", test.inputs), ("truth", test.targets), ("answers", answers)):
        raw = zlib.decompress(base64.b64decode(kept[name]))
        assert raw == whole[:4, ..., ::2, ::2].to(torch.uint8).contiguous().numpy().tobytes()
    assert (
        "examples"
        not in task.evaluate(Answers(drawn(11, 0, 20, 64, 64)), "validation", CPU)["pixel_accuracy"].details
    )


def test_pixels_that_nobody_labelled_count_nowhere() -> None:
    task = made()
    batch = next(task.batches("test", 8))
    answers, void = batch.targets.clone(), batch.targets.clone()
    void[:, :, :16] = IGNORED
    answers[:, :, :16] = 5  # wrong, where nobody looks
    hidden = Batch(batch.inputs, void)
    found = task.scored([(logits(answers), hidden)])
    assert found["miou"].value == found["pixel_accuracy"].value == 1.0
    assert found["pixel_accuracy"].count == 8 * 32 * 16
    nothing = Batch(batch.inputs, torch.full_like(void, IGNORED))
    assert task.scored([(logits(answers), nothing)]) == {}


def test_loss_is_the_mean_over_labelled_pixels_and_nothing_where_there_are_none() -> None:
    task = made()
    batch = next(task.batches("test", 4))
    prediction = torch.randn(4, 11, 32, 32, generator=torch.Generator().manual_seed(0), requires_grad=True)
    targets = batch.targets.clone()
    targets[:, 20:] = IGNORED
    loss = task.loss(prediction, Batch(batch.inputs, targets))
    known = targets != IGNORED
    expected = -prediction.log_softmax(1).permute(0, 2, 3, 1)[known].gather(1, targets[known][:, None]).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    void = task.loss(prediction, Batch(batch.inputs, torch.full_like(targets, IGNORED)))
    (gradient,) = torch.autograd.grad(void, prediction)
    assert void.item() == 0.0
    assert bool((gradient == 0).all())


def test_labels_are_the_digits_that_pixels_show() -> None:
    task = made(max_digits=3, min_digits=3)
    parts = task.scenes.compose("test", "classes", "visible", "masks")
    labels = task.splits["test"].targets
    for scene in range(10):
        expected = torch.zeros(32, 32, dtype=torch.uint8)
        for digit in reversed(range(3)):  # the first is in front
            expected[parts["masks"][scene, digit]] = 1 + int(parts["classes"][scene, digit])
        assert torch.equal(labels[scene], expected)
    assert torch.equal(labels, labels_of(parts))
    assert task.inputs.num_classes == len(CLASSES) == 11
    batch = next(task.batches("train", 200))
    assert batch.inputs.mean().item() == pytest.approx(0.0, abs=1e-4)
    assert batch.inputs.std().item() == pytest.approx(1.0, abs=1e-3)


def test_draws_and_shares_leave_the_test_as_it_is() -> None:
    whole, other, few = made(), made(draw=4), made(fraction=0.25)
    for task in (other, few):
        assert torch.equal(task.splits["test"].inputs, whole.splits["test"].inputs)
        assert task.data_hash() != whole.data_hash()
    assert few.num_training_examples < 60
    assert torch.equal(few.splits["train"].targets, whole.splits["train"].targets[few.training_scenes])


def test_larger_scenes_are_as_bright_and_the_usual_ones_stay() -> None:
    task = made(min_digits=3)
    larger = task.at_size(48)
    assert (
        larger.splits["test"].inputs.shape == larger.splits["test"].targets[:, None].shape == (40, 1, 48, 48)
    )
    assert task.splits["test"].inputs.shape == (40, 1, 32, 32)
    assert (larger.mean, larger.spread) == (task.mean, task.spread)
    assert torch.equal(task.at_size(32).splits["test"].inputs, task.splits["test"].inputs)
    assert larger.evaluate(Answers(larger.splits["test"].targets.long()), "test", CPU)["miou"].value == 1.0
    with pytest.raises(LengthError, match="scenes of 12 pixels are smaller than a digit of 16"):
        task.at_size(12)


def test_larger_scenes_are_as_dense() -> None:
    """So many pixels of digits, of those so many hidden, and so many of clutter: else larger scenes are easier."""

    def shares(task: SceneSegmentation) -> dict[str, float]:
        parts = task.scenes.compose("test", "masks", "visible", "clutter")
        shown = (parts["visible"] >= 0).float()
        return {
            "digits": float(shown.mean()),
            "hidden": float(1 - shown.sum() / parts["masks"].sum()),
            "clutter": float(parts["clutter"].float().mean()),
        }

    task = made(test_scenes=1000)
    usual, larger = shares(task), shares(task.at_size(48))
    assert larger["digits"] == pytest.approx(usual["digits"], rel=0.05)
    assert larger["hidden"] == pytest.approx(usual["hidden"], rel=0.2)
    assert larger["clutter"] == pytest.approx(usual["clutter"], rel=0.05)
    bare = made(clutter=0, look_alikes=0).at_size(24)
    assert (bare.config.clutter, bare.config.look_alikes, bare.config.min_digits) == (0, 0, 1)


def test_floors_see_no_further_than_they_say() -> None:
    task = made(train_scenes=300)
    assert set(task.floors(task.config)) == {"chance", "window"}
    chance = task.evaluate(task.floor("chance"), "test", CPU)
    background = float((task.splits["test"].targets == 0).float().mean())
    assert chance["miou"].value == pytest.approx(background / chance["miou"].count)
    assert chance["miou_foreground"].value == 0.0
    window = task.evaluate(task.floor("window"), "test", CPU)
    assert chance["miou"].value < window["miou"].value < 0.3


def test_a_window_tells_what_lies_in_it_up_to_the_edges() -> None:
    """A pixel's class is that of the brightest pixel two to its right: within the window, and beyond the edge there is none."""
    images = torch.zeros(30, 1, 12, 12)
    places = torch.rand(images.shape, generator=torch.Generator().manual_seed(0)) < 0.3
    images[places] = 1.0
    targets = torch.zeros(30, 12, 12, dtype=torch.int64)
    targets[:, :, :-2] = images[:, 0, :, 2:].long()
    floor = window_logistic([Batch(images[:20], targets[:20])], 3, IGNORED)
    answers = floor(images[20:]).prediction.argmax(1)
    assert float((answers == targets[20:]).float().mean()) > 0.97
    far = torch.zeros_like(targets)
    far[:, :, :-3] = images[:, 0, :, 3:].long()
    blind = window_logistic([Batch(images[:20], far[:20])], 3, IGNORED)(images[20:]).prediction.argmax(1)
    assert float((blind == far[20:]).float().mean()) < 0.85


def test_window_and_place_together_tell_what_neither_tells_alone() -> None:
    """The class is that of the upper or lower half of what the brightness says: two of four, by both."""
    images = (torch.rand(40, 1, 8, 10, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    lower = (torch.arange(8) >= 4).long()[:, None]
    targets = 2 * images[:, 0].long() + lower
    train, truth = [Batch(images[:30], targets[:30])], targets[30:]
    shares = {}
    for placed in (False, True):
        answers = window_logistic(train, 4, IGNORED, placed=placed)(images[30:]).prediction.argmax(1)
        shares[placed] = float((answers == truth).float().mean())
        assert torch.equal(answers // 2, truth // 2), "the window tells of the brightness"
    assert shares[False] < 0.6
    assert shares[True] > 0.99
    # Places are shares of the image, so that what was fitted at one size holds at another.
    small, large = place_features(4, 6), place_features(12, 18)
    assert torch.allclose(large.view(12, 18, -1)[1::3, 1::3], small.view(4, 6, -1))
    assert small.shape[1] == 14


def test_the_most_frequent_class_everywhere_and_at_each_place() -> None:
    labels = torch.full((5, 4, 6), 2, dtype=torch.uint8)
    labels[:, :1] = 1
    labels[:3, 0, 0] = IGNORED
    labels[3, 0, 0] = labels[4, 0, 0] = 0
    labels[:, 3, 5] = IGNORED
    images = torch.zeros(2, 3, 4, 6)
    assert set(most_frequent_pixel(labels, 4, IGNORED)(images).prediction.argmax(1).unique().tolist()) == {2}
    at = most_frequent_at(labels, 4, IGNORED)(images).prediction.argmax(1)
    expected = labels[0].long()
    expected[0, 0] = expected[3, 5] = 0
    assert torch.equal(at, expected.expand(2, -1, -1))
    doubled = most_frequent_at(labels, 4, IGNORED)(torch.zeros(1, 3, 8, 12)).prediction.argmax(1)[0]
    assert torch.equal(doubled, expected.repeat_interleave(2, 0).repeat_interleave(2, 1))


def test_what_the_scores_are_called() -> None:
    task = made()
    names = {
        name: task.metric_named(name).label
        for name in ("miou", "miou_foreground", "pixel_accuracy", "iou_digit_3")
    }
    assert names == {
        "miou": "test mIoU",
        "miou_foreground": "test mIoU without background",
        "pixel_accuracy": "test pixels right",
        "iou_digit_3": "test IoU of digit 3",
    }

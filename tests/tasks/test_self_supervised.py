"""Training without labels: both losses by their literal equations, views, frozen features by literal votes, and settings that cannot be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from sklearn.neighbors import KNeighborsClassifier

from oscbench import catalog
from oscbench.data.known import CIFAR10_CLASSES
from oscbench.errors import UserError
from oscbench.models.backbones.views import Views, ViewsConfig
from oscbench.models.step import take_step
from oscbench.tasks import Batch
from oscbench.tasks.self_supervised import SelfSupervised, SelfSupervisedConfig
from oscbench.tasks.support.floors import logistic
from oscbench.tasks.support.self_supervision.objectives import (
    coding_rate_loss,
    simclr,
    taught_coding_rate_loss,
)
from oscbench.tasks.support.self_supervision.probes import (
    STRENGTHS,
    chosen_strength,
    linear_probe,
    nearest_neighbours,
)
from oscbench.tasks.support.self_supervision.views import ViewSettings, local_view_of, view_of

CPU = torch.device("cpu")


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(shape, generator=generator, dtype=torch.float64), dim=-1)


def literal_simclr(pairs: np.ndarray, temperature: float) -> float:
    """Each view against all others, by the sum that the paper writes."""
    views = pairs.reshape(-1, pairs.shape[-1])
    losses = []
    for i in range(len(views)):
        partner = i + 1 if i % 2 == 0 else i - 1
        others = [np.exp(views[i] @ views[k] / temperature) for k in range(len(views)) if k != i]
        losses.append(-np.log(np.exp(views[i] @ views[partner] / temperature) / sum(others)))
    return float(np.mean(losses))


def literal_coding_rate(pairs: np.ndarray, distortion: float, weight: float) -> float:
    count, _, channels = pairs.shape
    rates = []
    for view in range(2):
        z = pairs[:, view]
        matrix = np.eye(channels) + channels / (count * distortion) * z.T @ z
        rates.append(0.5 * np.log(np.linalg.eigvalsh(matrix)).sum())
    agreement = np.mean([pairs[b, 0] @ pairs[b, 1] for b in range(count)])
    return float(-weight * agreement - (channels + count) / (channels * count) * np.mean(rates))


@pytest.mark.parametrize(("count", "channels"), [(1, 3), (3, 5), (6, 4)])
def test_losses_are_their_equations_with_their_gradients(count: int, channels: int) -> None:
    pairs = unit(count, 2, channels, seed=count)
    assert simclr(pairs, 0.1).item() == pytest.approx(literal_simclr(pairs.numpy(), 0.1), abs=1e-12)
    for distortion, weight in ((0.05, 1.0), (0.5, 3.0)):
        expected = literal_coding_rate(pairs.numpy(), distortion, weight)
        assert coding_rate_loss(pairs, distortion, weight).item() == pytest.approx(expected, rel=1e-10)
    pairs.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: simclr(z, 0.3), (pairs,))
    assert torch.autograd.gradcheck(lambda z: coding_rate_loss(z, 0.2), (pairs,))


def literal_taught(views: np.ndarray, targets: np.ndarray, distortion: float, weight: float) -> float:
    """SimDINO's loss pair by pair: student's view v and teacher's view u, unless they are one view."""
    count, number, channels = views.shape
    pairs = [(v, u) for v in range(number) for u in range(2) if v != u]
    agreement = np.mean([np.mean([views[b, v] @ targets[b, u] for b in range(count)]) for v, u in pairs])
    rates = []
    for u in range(2):
        z = (views[:, u] + targets[:, u]) / 2
        matrix = np.eye(channels) + channels / (count * distortion) * z.T @ z
        rates.append(0.5 * np.log(np.linalg.eigvalsh(matrix)).sum())
    return float(-weight * agreement - (channels + count) / (channels * count) * np.mean(rates))


@pytest.mark.parametrize(("count", "views", "channels"), [(1, 2, 3), (3, 5, 5), (6, 12, 4)])
def test_the_loss_beside_a_teacher_is_its_equation_with_its_gradient(
    count: int, views: int, channels: int
) -> None:
    student, targets = unit(count, views, channels, seed=count), unit(count, 2, channels, seed=9)
    for distortion, weight in ((0.05, 1.0), (0.5, 3.0)):
        expected = literal_taught(student.numpy(), targets.numpy(), distortion, weight)
        found = taught_coding_rate_loss(student, targets, distortion, weight)
        assert found.item() == pytest.approx(expected, rel=1e-10)
    student.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: taught_coding_rate_loss(z, targets, 0.2), (student,))


def test_a_teacher_that_is_the_model_gives_the_loss_of_two_views() -> None:
    pairs = unit(5, 2, 4)
    alone, taught = coding_rate_loss(pairs, 0.1), taught_coding_rate_loss(pairs, pairs, 0.1)
    torch.testing.assert_close(alone, taught)


def test_losses_want_views_to_agree_and_images_to_differ() -> None:
    corners = torch.eye(4, dtype=torch.float64)
    good = torch.stack((corners, corners), dim=1)
    collapsed = corners[:1].expand(4, 4)
    collapsed = torch.stack((collapsed, collapsed), dim=1)
    crossed = torch.stack((corners, corners.roll(1, 0)), dim=1)
    for loss in (lambda z: simclr(z, 0.1), lambda z: coding_rate_loss(z, 0.05)):
        assert loss(good) < loss(collapsed)
        assert loss(good) < loss(crossed)


def test_a_view_changes_what_it_is_told_to_and_stays_in_range() -> None:
    images = torch.randint(0, 256, (8, 3, 16, 16), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    still = {"crop_area": 1.0, "flip": False, "brightness": 0.0, "contrast": 0.0}

    def seen(seed: int = 0, **settings: Any) -> torch.Tensor:
        wanted = ViewSettings.model_validate({**still, **settings})
        return view_of(images, wanted, torch.Generator().manual_seed(seed))

    grey = images.float().mean(1, keepdim=True).expand(images.shape)
    alike = [torch.allclose(a, b.float(), atol=1e-4) for a, b in zip(seen(), images, strict=True)]
    assert all(
        same or torch.allclose(view, plain, atol=1e-4)
        for same, view, plain in zip(alike, seen(), grey, strict=True)
    )
    assert sum(alike) > 0
    for change in ({"crop_area": 0.2}, {"flip": True}, {"brightness": 0.4}, {"contrast": 0.4}):
        one, again, other = seen(**change), seen(**change), seen(1, **change)
        assert torch.equal(one, again)
        assert not torch.equal(one, other)
        assert 0.0 <= float(one.min()) <= float(one.max()) <= 255.0


def test_smaller_views_show_smaller_parts_of_an_image() -> None:
    """On an image of a ramp the spread of a view is the share of the side that it shows."""
    ramp = torch.arange(64.0).expand(500, 1, 64, 64)
    still = {"flip": False, "brightness": 0.0, "contrast": 0.0, "crop_area": 0.4, "local_crop_area": 0.1}
    settings = ViewSettings.model_validate({**still, "local_views": 1, "local_size": 32})
    small = local_view_of(ramp, settings, torch.Generator().manual_seed(0))
    large = view_of(ramp, settings, torch.Generator().manual_seed(0))
    assert small.shape == (500, 1, 32, 32)
    assert large.shape == ramp.shape

    def sides(views: torch.Tensor) -> torch.Tensor:
        width = views.shape[-1]
        shown = (views[:, 0, 0, -1] - views[:, 0, 0, 0]) * width / (width - 1) / 64
        down = views.flatten(1).std(1)
        assert torch.all(down > 0)
        return shown

    # A side is √(area · ratio) with ratios from 3:4 to 4:3.
    assert float(sides(small).min()) > (0.1 * 0.75) ** 0.5 - 0.01
    assert float(sides(small).max()) < (0.4 * 4 / 3) ** 0.5 + 0.01
    assert float(sides(large).min()) > (0.4 * 0.75) ** 0.5 - 0.03
    assert torch.equal(small, local_view_of(ramp, settings, torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("seed", range(3))
def test_neighbours_vote_as_the_library_has_them_vote(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    known, asked = torch.randn(60, 5, generator=generator), torch.randn(30, 5, generator=generator)
    classes = torch.randint(4, (60,), generator=generator)
    library = KNeighborsClassifier(7, metric="cosine", weights=lambda distance: np.exp((1 - distance) / 0.07))
    expected = library.fit(known.double().numpy(), classes.numpy()).predict(asked.double().numpy())
    found = nearest_neighbours(known, classes, asked, 4, count=7)
    assert found.tolist() == expected.tolist()
    # More neighbours than there are known: all of them vote.
    assert len(nearest_neighbours(known[:3], classes[:3], asked, 4)) == 30


def test_a_linear_probe_finds_what_a_line_parts() -> None:
    rows = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    truth = (rows[:, 0] > 0.1).long() + 2 * (rows[:, 1] > 0).long()
    answers, strength = linear_probe(rows[:150], truth[:150], rows[150:], 4)
    assert float((answers == truth[150:]).float().mean()) > 0.85
    assert strength in STRENGTHS


def test_a_probe_is_as_strong_as_its_features_bear() -> None:
    """Many features that each tell little of noisy classes want a weak one, few that tell all a strong one."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(3, (700,), generator=generator)
    means = torch.randn(3, 400, generator=generator)
    many = 0.1 * means[truth] + torch.randn(700, 400, generator=generator)
    wrong = torch.rand(400, generator=generator) < 0.3
    classes = torch.where(wrong, torch.randint(3, (400,), generator=generator), truth[:400])
    known, asked = many[:400], many[400:]

    def right(answers: torch.Tensor) -> float:
        return float((answers == truth[400:]).float().mean())

    answers, strength = linear_probe(known, classes, asked, 3)
    assert strength <= 1e-2
    strong = logistic([Batch(known, classes)], lambda x: x, lambda y: y, 3)(asked).prediction.argmax(1)
    assert right(answers) > right(strong) + 0.02
    few = torch.randn(700, 2, generator=generator)
    line = (few[:, 0] + 0.1 * few[:, 1] > 0.02).long()
    assert chosen_strength(few, line) >= 1e-2
    # The choice looks at nothing but what is known, and where a class has one example or all have one, it is none.
    assert chosen_strength(known[:2], torch.tensor([0, 1])) == 1.0
    assert chosen_strength(known, torch.zeros(400, dtype=torch.int64)) == 1.0


def small(task: Any, **model: Any) -> Views:
    found = catalog.load("mechanisms", "softmax")
    config = ViewsConfig(**{"width": 16, "heads": 2, "layers": 1, "patch": 2, "embedding": 8, **model})
    return Views(config, task.inputs, found, found.Config(), hidden=None, seed=0)


@pytest.mark.parametrize("objective", ["simclr", "coding_rate"])
def test_digits_are_learned_without_a_label(objective: str) -> None:
    task = SelfSupervised(SelfSupervisedConfig(flip=False, crop_area=0.5, objective=objective))
    assert {split: len(part.targets) for split, part in task.splits.items()} == {
        "train": 1047,
        "validation": 250,
        "test": 500,
    }
    model = small(task).train()
    probe = next(task.batches("validation", 64))
    before = task.loss(model(probe.inputs).prediction, probe).item()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    streams = [torch.Generator().manual_seed(k) for k in range(2)]
    for batch in task.training_batches(64, *streams):
        assert not batch.targets.any()
        take_step(model, task, batch, optimizer, 1.0)
    assert task.loss(model(probe.inputs).prediction, probe).item() < before
    found = task.evaluate(model, "test", CPU)
    assert set(found) == {"knn_accuracy", "linear_accuracy"}
    assert found["knn_accuracy"].value > 0.3
    assert set(task.evaluate(model, "validation", CPU)) == {"knn_accuracy"}
    assert model.training


def test_a_student_learns_beside_its_teacher_from_smaller_views_too() -> None:
    config = SelfSupervisedConfig(
        flip=False, crop_area=0.5, objective="coding_rate", teacher=0.9, local_views=2, local_size=4
    )
    task = SelfSupervised(config)
    model = small(task).train()
    probe = next(task.batches("validation", 64))
    assert probe.inputs.shape == (64, 2 * 64 + 2 * 16)
    assert torch.equal(probe.inputs, next(task.batches("validation", 64)).inputs)
    plain = SelfSupervised(SelfSupervisedConfig(flip=False, crop_area=0.5, objective="coding_rate"))
    pair = next(plain.batches("validation", 64)).inputs
    assert torch.equal(probe.inputs[:, :128].view(pair.shape), pair), "the large views are drawn as ever"
    predicted = model(probe.inputs).prediction
    before = task.loss(predicted, probe).item()
    expected = taught_coding_rate_loss(predicted[:, :4], predicted[:, 4:], config.distortion)
    assert before == expected.item()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    streams = [torch.Generator().manual_seed(k) for k in range(2)]
    for step, batch in enumerate(task.training_batches(64, *streams)):
        take_step(model, task, batch, optimizer, 1.0)
        model.stepped(step + 1, 17)
    assert task.loss(model(probe.inputs).prediction, probe).item() < before
    model.finish()
    assert task.evaluate(model, "test", CPU)["knn_accuracy"].value > 0.3


def test_floors_are_raw_pixels_and_random_numbers() -> None:
    task = SelfSupervised(SelfSupervisedConfig(labelled=500))
    pixels = task.evaluate(task.floor("pixels"), "test", CPU)
    assert 0.9 < pixels["knn_accuracy"].value < 1.0
    assert 0.85 < pixels["linear_accuracy"].value < 1.0
    assert pixels["linear_accuracy"].details["strength"] in STRENGTHS
    chance = task.evaluate(task.floor("chance"), "test", CPU)
    assert abs(chance["knn_accuracy"].value - 0.1) < 0.06
    assert abs(chance["linear_accuracy"].value - 0.1) < 0.06
    labels = {name: task.metric_named(name).label for name in pixels}
    assert labels["linear_accuracy"] == "test accuracy of a linear probe"


def test_only_so_many_labelled_images_are_looked_at() -> None:
    task = SelfSupervised(SelfSupervisedConfig(labelled=100))
    features, classes = task._features(task.floor("pixels"), "train", CPU, 64, 100)
    assert (len(features), len(classes)) == (100, 100)
    whole, _ = task._features(task.floor("pixels"), "train", CPU, 256)
    assert torch.equal(whole[torch.arange(100) * 1047 // 100], features)
    # Photographs lie class by class: every class is among the few that are looked at.
    order = task.splits["train"].targets.argsort(stable=True)
    task.splits["train"] = Batch(task.splits["train"].inputs[order], task.splits["train"].targets[order])
    _, classes = task._features(task.floor("pixels"), "train", CPU, 64, 100)
    assert torch.bincount(classes, minlength=10).min() >= 9


def test_photographs_come_as_in_their_own_task(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSCBENCH_DATA", str(tmp_path / "store"))
    random = np.random.default_rng(0)
    for split, count in (("train", 10), ("test", 2)):
        for name in CIFAR10_CLASSES:
            folder = tmp_path / "cifar" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(
                    folder / f"{number}.jpg"
                )
    config = SelfSupervisedConfig(images="cifar10", path=str(tmp_path / "cifar"))
    task = SelfSupervised(config)
    assert (task.inputs.channels, task.inputs.height, task.num_classes) == (3, 32, 10)
    assert len(task.splits["train"].targets) == 90
    assert next(task.batches("validation", 4)).inputs.shape == (4, 6, 32, 32)
    assert SelfSupervised.headline(config)[0] == "self-supervised learning, CIFAR-10 (JPEG)"
    assert task.evaluate(small(task, patch=8), "test", CPU)["knn_accuracy"].count == 20


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"path": "here"}, "path here: digits come with scikit-learn and have no path"),
        ({"images": "cifar10", "size": 64}, "size 64: images of cifar10 have their own size"),
        ({"images": "imagenet"}, "'digits', 'cifar10' or 'image_folder'"),
        ({"temperature": 0.0}, "greater than 0"),
        ({"teacher": 0.9}, "teacher 0.9: objective simclr has none; allowed: objective coding_rate"),
        ({"objective": "coding_rate", "teacher": 1.0}, "less than 1"),
        ({"features": "student"}, "features student: no teacher"),
        ({"features": "both"}, "'teacher' or 'student'"),
        (
            {"objective": "coding_rate", "local_views": 2, "local_size": 4},
            "local_views 2: a student compares",
        ),
        (
            {"objective": "coding_rate", "teacher": 0.9, "local_views": 2},
            "local_views 2, local_size None: give both or neither",
        ),
        ({"local_size": 4}, "local_views 0, local_size 4: give both or neither"),
        (
            {
                "objective": "coding_rate",
                "teacher": 0.9,
                "local_views": 2,
                "local_size": 4,
                "local_crop_area": 0.5,
            },
            "local_crop_area 0.5 is more than crop_area 0.25",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        SelfSupervisedConfig.model_validate(settings)


def test_images_that_are_not_there_are_missed(tmp_path: Any) -> None:
    config = SelfSupervisedConfig(images="cifar10", path=str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="nowhere"):
        SelfSupervised.describe(config)

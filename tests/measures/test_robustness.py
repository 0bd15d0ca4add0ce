"""Changed images: what each change does to pixels, that an attack costs more than noise of its size, and calibration by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from measure_subjects import make_subject
from torch import nn

from oscbench import catalog
from oscbench.measures import Subject
from oscbench.measures.robustness import (
    Robustness,
    RobustnessConfig,
    _less_contrast,
    calibration_error,
    occluded,
)
from oscbench.models.backbones.sequence import Sequence, SequenceConfig
from oscbench.models.backbones.vision import Vision, VisionConfig
from oscbench.runner.training.loop import train
from oscbench.tasks.char_lm import CharLM, CharLMConfig
from oscbench.tasks.digits import Digits, DigitsConfig

CPU = torch.device("cpu")
RECIPE = {
    "epochs": 16,
    "batch_size": 64,
    "learning_rate": 5e-3,
    "weight_decay": 0.05,
    "warmup": 0.1,
    "beta2": 0.99,
    "clip": 1.0,
}


def seeded(number: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


@pytest.fixture(scope="module")
def trained() -> Subject:
    task, softmax = Digits(DigitsConfig(shift=0)), catalog.load("mechanisms", "softmax")
    config = VisionConfig(width=32, heads=2, layers=2, patch=2)
    model = Vision(config, task.inputs, softmax, softmax.Config(), hidden=None, seed=0)
    subject = Subject(model, task, next(task.batches("validation", 64)), CPU, 64)
    train(subject, RECIPE, 0, lambda done, total: None)
    return subject


@pytest.fixture(scope="module")
def found(trained: Subject) -> dict[str, float]:
    config = RobustnessConfig(
        noise=[0.05, 0.5], occlusion=[0.25, 0.75], contrast=[0.9, 0.05], pgd=[0.02, 0.2]
    )
    findings = Robustness(config).after(trained)
    assert all(entry.reason is None for entry in findings.measures.values())
    assert trained.model.training
    return {name: entry.value for name, entry in findings.measures.items()}


def test_worse_images_cost_accuracy(found: dict[str, float], trained: Subject) -> None:
    clean = trained.task.evaluate(trained.model, "test", CPU)["accuracy"].value
    assert clean > 0.8
    for kind, mild, strong in (
        ("noise", "0.05", "0.5"),
        ("occlusion", "0.25", "0.75"),
        ("contrast", "0.9", "0.05"),
        ("pgd", "0.02", "0.2"),
    ):
        assert clean + 0.02 > found[f"accuracy_{kind}_{mild}"] > found[f"accuracy_{kind}_{strong}"] + 0.05, (
            kind
        )


def test_an_attack_costs_more_than_noise_of_its_radius(trained: Subject, found: dict[str, float]) -> None:
    measured = Robustness(RobustnessConfig(noise=[0.2])).after(trained).measures["accuracy_noise_0.2"]
    assert found["accuracy_pgd_0.2"] < measured.value - 0.2
    assert measured.n == 500


def test_an_attack_is_held_against_the_same_images_unchanged(trained: Subject) -> None:
    measures = Robustness(RobustnessConfig(pgd=[0.02], attacked=60)).after(trained).measures
    whole, attacked = measures["accuracy_pgd_0"], measures["accuracy_pgd_0.02"]
    assert (whole.n, attacked.n) == (60, 60)
    (batch,) = trained.first_examples("test", 60)
    trained.model.eval()
    right = trained.model(batch.inputs).prediction.argmax(1) == batch.targets
    trained.model.train()
    assert whole.value == pytest.approx(float(right.float().mean()))
    assert whole.label.endswith("the images of the attack, unchanged")
    assert "accuracy_pgd_0" not in Robustness(RobustnessConfig(pgd=[])).after(trained).measures


def test_an_attack_stays_in_its_ball_and_in_the_range(trained: Subject) -> None:
    measure, batch = Robustness(RobustnessConfig()), next(trained.task.batches("test", 16))
    low, high = trained.task.input_range()
    inputs = measure._attacked(trained, batch, 0.1, low, high, seeded())
    assert (inputs - batch.inputs).abs().max() <= 0.1 * (high - low).item() + 1e-5
    assert (inputs - batch.inputs).abs().max() > 0.09 * (high - low).item()
    assert inputs.min() >= low.item()
    assert inputs.max() <= high.item()
    before = trained.task.loss(trained.model(batch.inputs).prediction, batch)
    assert trained.task.loss(trained.model(inputs).prediction, batch) > before + 0.1


def test_nothing_is_left_behind(trained: Subject) -> None:
    before = {key: value.clone() for key, value in trained.model.state_dict().items()}
    one = Robustness(RobustnessConfig()).after(trained).measures
    two = Robustness(RobustnessConfig()).after(trained).measures
    assert {name: entry.value for name, entry in one.items()} == {
        name: entry.value for name, entry in two.items()
    }
    assert all(torch.equal(value, before[key]) for key, value in trained.model.state_dict().items())
    assert one["accuracy_pgd_0.03"].label.endswith(
        "PGD, L∞ radius 0.03 of the range, 10 steps of 0.25 of the radius"
    )


def test_covered_patches_are_whole_and_as_many_as_asked_for() -> None:
    images = torch.rand(5, 2, 8, 8, generator=seeded()) + 1.0
    changed = occluded(images, 0.25, 2, seeded(1))
    covered = (changed == 0).all(1)
    patches = covered.unflatten(1, (4, 2)).unflatten(3, (4, 2))
    assert torch.equal(patches.any(-1).any(2), patches.all(-1).all(2))
    assert covered.flatten(1).sum(1).tolist() == [16] * 5
    assert torch.equal(
        changed[~covered[:, None].expand_as(images)], images[~covered[:, None].expand_as(images)]
    )
    assert len({tuple(row.flatten().tolist()) for row in covered}) > 1


def test_calibration_error_is_the_weighted_gap() -> None:
    confidence = torch.tensor([0.95, 0.95, 0.95, 0.95, 0.55, 0.55])
    right = torch.tensor([1.0, 1.0, 1.0, 0.0, 1.0, 0.0])
    expected = (4 * (0.95 - 0.75) + 2 * (0.55 - 0.5)) / 6
    assert calibration_error(confidence, right, 10) == pytest.approx(expected)
    assert calibration_error(torch.ones(3), torch.ones(3), 15) == pytest.approx(0.0)


def test_what_is_no_image_says_so(tmp_path: object) -> None:
    from pathlib import Path

    path = Path(str(tmp_path)) / "text.txt"
    path.write_bytes(bytes(range(97, 122)) * 100)
    task, softmax = CharLM(CharLMConfig(path=str(path), length=8)), catalog.load("mechanisms", "softmax")
    model: nn.Module = Sequence(
        SequenceConfig(width=16, heads=2, layers=1), task.inputs, softmax, softmax.Config(), hidden=8, seed=0
    )
    subject = Subject(model, task, next(task.batches("validation", 4)), CPU, 4)
    measures = Robustness(RobustnessConfig()).after(subject).measures
    assert {entry.reason for entry in measures.values()} == {"unavailable: inputs of this task are no images"}
    assert all(entry.value is None for entry in measures.values())


def counted(subject):
    """Asks of the task which splits were read, and counts the model's passes."""
    splits, passes, batches, forward = [], [], subject.task.batches, subject.model.forward

    def noted(split, size):
        splits.append(split)
        return batches(split, size)

    def called(*given, **named):
        passes.append(len(given[0]))
        return forward(*given, **named)

    subject.task.batches, subject.model.forward = noted, called
    return splits, passes


def test_less_contrast_halves_each_images_distance_from_its_own_mean() -> None:
    images = (
        torch.rand(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
        + torch.tensor([0.0, 1.0, 2.0])[:, None, None, None]
    )
    changed = _less_contrast(images, 0.5)
    mean = images.mean((-2, -1), keepdim=True)
    assert torch.allclose(changed.mean((-2, -1), keepdim=True), mean, atol=1e-6)
    assert torch.allclose(changed - mean, 0.5 * (images - mean), atol=1e-6)


def test_noise_is_a_share_of_the_range() -> None:
    subject = make_subject()
    low, high = subject.task.input_range()
    middle = ((low + high) / 2).expand(400, 1, 8, 8)
    batch = type(subject.probe)(middle, torch.zeros(400, dtype=torch.int64))
    change = Robustness(RobustnessConfig())._change(subject, "noise", 0.1, low, high)
    noise = change(batch, torch.Generator().manual_seed(0)) - middle
    assert float(noise.std()) == pytest.approx(0.1 * float(high - low), rel=0.02)


def test_an_attack_takes_its_steps_each_as_long_as_asked() -> None:
    subject = make_subject()
    low, high = subject.task.input_range()
    batch = next(subject.task.batches("test", 4))
    reach = 0.2 * float(high - low)
    ends = {}
    for steps in (0, 1, 2):
        config = RobustnessConfig().model_copy(update={"pgd_steps": steps, "pgd_step": 0.1})
        _, passes = counted(own := make_subject())
        ends[steps] = Robustness(config)._attacked(
            own, batch, 0.2, low, high, torch.Generator().manual_seed(0)
        )
        assert len(passes) == steps
    inside = (ends[0] - batch.inputs).abs() < 0.8 * reach  # no end of ball cuts these steps short
    inside &= (ends[0] > low + 0.2 * reach) & (ends[0] < high - 0.2 * reach)
    moved = (ends[1] - ends[0]).abs()[inside]
    assert moved[moved > 0] == pytest.approx(0.1 * reach, rel=1e-3)
    assert len(moved[moved > 0]) > 20


def test_only_the_test_split_is_read_and_as_much_of_it_as_asked() -> None:
    splits, _ = counted(subject := make_subject())
    config = RobustnessConfig(
        noise=[0.1], occlusion=[0.5], contrast=[0.5], pgd=[0.01], pgd_steps=1, examples=70, attacked=9
    )
    found = Robustness(config).after(subject).measures
    assert set(splits) == {"test"}
    assert {name: one.n for name, one in found.items()} == {
        "accuracy_noise_0.1": 70,
        "accuracy_occlusion_0.5": 70,
        "accuracy_contrast_0.5": 70,
        "accuracy_pgd_0": 9,
        "accuracy_pgd_0.01": 9,
        "calibration_error": 70,
    }


def test_calibration_of_a_model_is_that_of_its_likeliest_class():
    subject = make_subject()
    torch.manual_seed(0)
    with torch.no_grad():
        subject.model.head.weight.normal_(0, 1)
    config = RobustnessConfig(noise=[], occlusion=[], contrast=[], pgd=[], examples=100)
    found = Robustness(config).after(subject).measures["calibration_error"].value
    batch = next(subject.task.batches("test", 100))
    subject.model.eval()
    with torch.no_grad():
        chances = subject.model(batch.inputs).prediction.double().softmax(1)
    right = (chances.argmax(1) == batch.targets).double()
    assert found == pytest.approx(calibration_error(chances.amax(1), right, 15))


def changing(kind, strength):
    """What changes images so, and where they begin and end."""
    subject = make_subject()
    low, high = subject.task.input_range()
    return subject, low, high, Robustness(RobustnessConfig())._change(subject, kind, strength, low, high)


def test_noisy_images_stay_between_black_and_white():
    subject, low, high, noisy = changing("noise", 0.5)
    images = noisy(next(subject.task.batches("test", 32)), torch.Generator().manual_seed(0))
    assert bool((images >= low).all())
    assert bool((images <= high).all())


def test_what_is_covered_are_patches_of_the_model():
    subject, _, _, covering = changing("occlusion", 0.25)
    batch = replace(subject.probe, inputs=torch.ones(4, 1, 8, 8))
    covered = covering(batch, torch.Generator().manual_seed(0))[:, 0] == 0
    patches = covered.unflatten(1, (4, 2)).unflatten(3, (4, 2))  # its patches are 2 x 2
    assert torch.equal(patches.any(-1).any(2), patches.all(-1).all(2))
    assert covered.flatten(1).sum(1).tolist() == [16] * 4


def test_an_attack_starts_at_a_random_place_of_its_ball():
    subject = make_subject()
    low, high = subject.task.input_range()
    batch = next(subject.task.batches("test", 8))
    still = Robustness(RobustnessConfig().model_copy(update={"pgd_steps": 0}))
    one, two = (
        still._attacked(subject, batch, 0.2, low, high, torch.Generator().manual_seed(seed))
        for seed in (0, 1)
    )
    assert not torch.equal(one, batch.inputs)
    assert not torch.equal(one, two)

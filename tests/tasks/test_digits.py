"""The digits task: real scans, fixed splits, and randomness from private generators alone."""

from __future__ import annotations

import pytest
import torch

from oscbench.settings import spelled
from oscbench.tasks.digits import Digits, DigitsConfig, digit_splits, shifted
from oscbench.tasks.support.training_subsets import drawn, training_rows


@pytest.fixture(scope="module")
def digits() -> Digits:
    return Digits(DigitsConfig())


def generators(seed: int = 0) -> tuple[torch.Generator, torch.Generator]:
    return torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed + 100)


def test_splits_are_disjoint_stratified_and_large_enough(digits: Digits) -> None:
    sizes = {name: len(batch.targets) for name, batch in digits.splits.items()}
    assert sizes == {"train": 1047, "validation": 250, "test": 500}
    for batch in digits.splits.values():
        share = torch.bincount(batch.targets, minlength=10) / len(batch.targets)
        assert (share - 0.1).abs().max() < 0.02


def test_data_hash_is_fixed_and_sees_every_pixel(digits: Digits) -> None:
    again = Digits(DigitsConfig())
    assert digits.data_hash() == again.data_hash()
    again.splits["test"].inputs[3, 0, 4, 4] += 1e-6 + again.splits["test"].inputs[3, 0, 4, 4].abs() * 1e-6
    assert digits.data_hash() != again.data_hash()


def test_order_and_augmentation_come_from_the_generators_alone(digits: Digits) -> None:
    torch.manual_seed(1)
    first = list(digits.training_batches(64, *generators()))
    torch.manual_seed(2)
    second = list(digits.training_batches(64, *generators()))
    assert len(first) == 17
    assert sum(len(b.targets) for b in first) == 1047
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a.inputs, b.inputs)
        assert torch.equal(a.targets, b.targets)
    other = next(iter(digits.training_batches(64, *generators(1))))
    assert not torch.equal(first[0].targets, other.targets)


def test_shift_moves_whole_images_and_fills_with_background() -> None:
    images = torch.arange(1.0, 17.0).view(1, 1, 4, 4).expand(50, -1, -1, -1)
    moved = shifted(images, 1, -9.0, torch.Generator().manual_seed(0))
    seen = set()
    for image in moved[:, 0]:
        candidates = [
            (dy, dx)
            for dy in (-1, 0, 1)
            for dx in (-1, 0, 1)
            if torch.equal(image, _moved(images[0, 0], dy, dx))
        ]
        assert len(candidates) == 1
        seen.update(candidates)
    assert len(seen) == 9
    assert shifted(images, 0, -9.0, torch.Generator()) is images


def _moved(image: torch.Tensor, dy: int, dx: int) -> torch.Tensor:
    wide = torch.full((6, 6), -9.0)
    wide[1:5, 1:5] = image
    return wide[1 + dy : 5 + dy, 1 + dx : 5 + dx]


def test_scores_are_hits(digits: Digits) -> None:
    batch = next(digits.batches("test", 4))
    prediction = torch.nn.functional.one_hot(batch.targets, 10).float()
    assert digits.scores(prediction, batch).tolist() == [1, 1, 1, 1]
    assert digits.scores(-prediction, batch).tolist() == [0, 0, 0, 0]


def test_draws_part_training_and_validation_anew_and_leave_the_test() -> None:
    each = DigitsConfig(draw="per_seed")
    tasks = [Digits.for_seed(each, seed) for seed in (0, 1, 2)]
    fixed = Digits(DigitsConfig())
    assert tasks[0].data_hash() == fixed.data_hash()
    assert len({task.data_hash() for task in tasks}) == 3
    for task in tasks:
        assert {split: len(batch.targets) for split, batch in task.splits.items()} == {
            "train": 1047,
            "validation": 250,
            "test": 500,
        }
        assert torch.equal(task.splits["test"].targets, fixed.splits["test"].targets)
        # Normalised by other training scans, the test scans are the same up to that.
        ink = task.splits["test"].inputs - task.background
        known = fixed.splits["test"].inputs - fixed.background
        assert torch.allclose(ink / ink.max(), known / known.max(), atol=1e-5)
    assert "draw" not in spelled(DigitsConfig())


def test_shares_of_a_draw_are_its_own_and_nested() -> None:
    rows = [
        {image.numpy().tobytes() for image in digit_splits(3)["train"].inputs[kept]}
        for kept in (
            training_rows(digit_splits(3)["train"].targets, share, drawn("share", 3)) for share in (0.1, 0.4)
        )
    ]
    assert rows[0] < rows[1]
    fixed = training_rows(digit_splits(3)["train"].targets, 0.1)
    assert not torch.equal(fixed, training_rows(digit_splits(3)["train"].targets, 0.1, drawn("share", 3)))

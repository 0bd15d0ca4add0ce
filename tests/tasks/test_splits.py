"""What is fitted or normalised knows nothing of the test, and validation is validation."""

from __future__ import annotations

from dataclasses import replace

import torch
from measure_subjects import make_subject

from oscbench.runner.scores import scored
from oscbench.tasks.char_lm import CharLM, CharLMConfig
from oscbench.tasks.digits import Digits, DigitsConfig


def test_floors_are_fitted_without_the_test() -> None:
    task = Digits(DigitsConfig())
    wanted = task.floor("bag")(task.splits["test"].inputs).prediction
    held = dict(task.splits)
    task.splits = {"train": held["train"]}  # there is nothing else to look at
    assert torch.equal(task.floor("bag")(held["test"].inputs).prediction, wanted)


def test_digits_are_normalised_by_training_alone() -> None:
    splits = Digits(DigitsConfig()).splits
    assert abs(float(splits["train"].inputs.mean())) < 1e-5
    assert abs(float(splits["train"].inputs.std()) - 1) < 1e-5
    assert abs(float(splits["test"].inputs.mean())) > 1e-4


def test_scores_of_validation_are_those_of_the_validation_split() -> None:
    subject = make_subject()
    nothing = replace(
        subject.task.splits["test"], targets=torch.full_like(subject.task.splits["test"].targets, -1)
    )
    subject.task.splits = {**subject.task.splits, "test": nothing}  # of which no answer is right
    found = scored(subject.task, subject.model, subject.device)
    assert found["accuracy"].value == 0.0
    assert found["validation_accuracy"].value > 0.0
    assert (found["accuracy"].n, found["validation_accuracy"].n) == (500, 250)


def test_evaluation_windows_of_a_text_are_spread_over_it(tmp_path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(bytes(range(250)) * 40)
    task = CharLM(CharLMConfig(path=str(path), length=16, evaluation_windows=8))
    text = task.splits["test"]
    rows = torch.cat([batch.inputs for batch in task.batches("test", 64)])
    step = (len(text) - 1) // 16 // 8 * 16
    assert torch.equal(rows, torch.stack([text[i * step : i * step + 16] for i in range(8)]).long())
